# SPDX-License-Identifier: Apache-2.0
"""The checkpoints of one task or script, and how an ``amap`` finds the one that it resumes by."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from airflow_provider_async.core.carryover import Carryovers, carrying_on_by
from airflow_provider_async.core.checkpoint import Checkpoint
from airflow_provider_async.core.checks import check_name
from airflow_provider_async.core.cursor import CursorCheckpoint
from airflow_provider_async.core.hold import Hold
from airflow_provider_async.core.journal import Journal
from airflow_provider_async.core.keys import KeySet, hash_key, key_of, plain_key
from airflow_provider_async.core.stores import FileStore
from airflow_provider_async.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator
    from pathlib import Path
    from types import TracebackType

    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.values import JSON, CheckpointStore

__all__ = ["Checkpoints", "Resume", "current_checkpoints", "resumable", "resuming_by"]

T = TypeVar("T")
OneCheckpoint = TypeVar("OneCheckpoint", Checkpoint, CursorCheckpoint, Journal)

log = logging.getLogger(__name__)

#: What is done may be done again if the process ends without warning within so many seconds.
CHECKPOINT_SECONDS = 5.0

#: How much of that time a save may take before work waits for it.
_GRACE = 0.25

#: Work waits so long for a store that is away, and so does its end, if nothing sets narrower bounds: about as long as
#: Airflow's supervisor goes on without its API server.
PATIENCE_SECONDS = 60.0

#: How long saving may take at the end, however little patience there is.
_LAST_SAVE_SECONDS = 10.0

_current: ContextVar[Callable[[], Checkpoints] | None] = ContextVar("checkpoints", default=None)


@asynccontextmanager
async def resumable(folder: Path, *, attempt: int = 1) -> AsyncIterator[Checkpoints]:
    """
    Let every ``amap`` with ``resume`` in this block go on where it stopped when the block was left by an error.

    What has a ``cursor`` goes on where the block that ended before without an error has left it.

    :param folder: where checkpoints and cursors are kept, one script's alone; the checkpoints are removed from there
        when the block ends without an error.
    :param attempt: a number that grows from try to try, if an old one may still run.
    """
    carryovers = Carryovers(
        FileStore(folder / "cursors"),
        identity=str(folder),
        place=(datetime.now(UTC).isoformat(timespec="microseconds"),),
    )
    with carrying_on_by(lambda: carryovers):
        async with Checkpoints(FileStore(folder), identity=str(folder), attempt=attempt) as checkpoints:
            yield checkpoints
    await carryovers.commit()
    await checkpoints.remove()


@contextmanager
def resuming_by(find: Callable[[], Checkpoints]) -> Iterator[None]:
    """
    Let every ``amap`` with ``resume`` in this block resume by some checkpoints.

    :param find: returns them; asked when the first ``amap`` wants to know, so that nothing is done if none does.
    """
    token = _current.set(find)
    try:
        yield
    finally:
        _current.reset(token)


def current_checkpoints() -> Checkpoints | None:
    """Return those by which work in this block resumes, if there are any."""
    find = _current.get()
    return None if find is None else find()


class Checkpoints:
    """
    The checkpoints of one task, saved every few seconds while it runs, and when it ends.

    A save begins when three quarters of its time are over; if nothing is kept by the end of it, work waits. So no more
    has to be done again than what is done in that time, and what was in flight then.

    :param store: where they are kept.
    :param identity: what they belong to: a task instance, without the number of its try.
    :param attempt: the number of the try that is running, from 1.
    :param save_seconds: how much of the work, as its time, may not be saved yet.
    :param is_first: whether nothing can have been kept by earlier tries; what is there all the same is not looked at.
    :param fresh: whether, or for which names, what earlier tries have done is done again.
    :param patience_seconds: how long work waits for a store that fails, or that takes too long.
    """

    def __init__(
        self,
        store: CheckpointStore,
        *,
        identity: str,
        attempt: int,
        save_seconds: float = CHECKPOINT_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        is_first: bool = False,
        fresh: bool | Collection[str] = False,
    ) -> None:
        self._store = store
        self._identity = identity
        self._attempt = attempt
        self._save_seconds = save_seconds
        self._grace_seconds = save_seconds * _GRACE
        self._is_first = is_first
        self._fresh = fresh
        self._patience_seconds = patience_seconds
        self.hold = Hold(most_seconds=patience_seconds)
        self._checkpoints: dict[str, Checkpoint | CursorCheckpoint | Journal] = {}
        self._in_use: set[str] = set()
        self._saver: asyncio.Task[None] | None = None
        # All that was done by then is kept.
        self._kept_at = 0.0
        self._wake = asyncio.Event()
        self._ends = False
        self._failed: set[str] = set()

    async def __aenter__(self) -> Self:
        self._resuming = resuming_by(lambda: self)
        self._resuming.__enter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._resuming.__exit__(exc_type, exc, tb)
        await self.aclose()

    async def aclose(self) -> None:
        """Save what is not saved yet, for the last time, as soon as the store can be reached. That is bounded."""
        if self._saver is None:
            return
        self._ends = True
        self._wake.set()
        try:
            seconds = max(self._patience_seconds, _LAST_SAVE_SECONDS)
            await asyncio.wait([self._saver], timeout=seconds)
            if not self._saver.done():
                log.warning("checkpoints could not be saved within %g s", seconds)
                self._saver.cancel()
            elif self._saver.cancelled():
                await self._save_within_bounds()
        finally:
            self.hold.close()

    async def open(self, name: str, *, keeps_results: bool) -> Checkpoint:
        """
        Read the checkpoint of a piece of work.

        :param name: of the work; part of a key, so of letters, digits, ``_`` and ``-``.
        :param keeps_results: whether results are kept too.
        :raises CheckpointError: if another one of that name is at work.
        """
        checkpoint = Checkpoint(
            self._store, name, identity=self._identity, attempt=self._attempt, keeps_results=keeps_results
        )
        return await self._open(checkpoint, name)

    async def open_cursor(self, name: str) -> CursorCheckpoint:
        """
        Read the cursor of a piece of work that is done in order.

        :param name: of the work; part of a key, so of letters, digits, ``_`` and ``-``.
        :raises CheckpointError: if another one of that name is at work.
        """
        key = f"{name}.cursor"
        cursor = CursorCheckpoint(self._store, key, identity=self._identity, attempt=self._attempt)
        return await self._open(cursor, name)

    async def open_journal(self, name: str) -> Journal:
        """
        Read the journal of a piece of work that must not be done twice.

        :param name: of the work; part of a key, so of letters, digits, ``_`` and ``-``.
        :raises CheckpointError: if another one of that name is at work.
        """
        key = f"{name}.journal"
        journal = Journal(self._store, key, identity=self._identity, attempt=self._attempt)
        return await self._open(journal, name)

    async def _open(self, checkpoint: OneCheckpoint, name: str) -> OneCheckpoint:
        key = checkpoint.name
        if key in self._in_use:
            raise CheckpointError(f"resume={name!r} is used twice at once; give each a name of its own")
        self._in_use.add(key)
        try:
            if (opened := self._checkpoints.get(key)) is not None:
                checkpoint = cast("OneCheckpoint", opened)
            else:
                if not self._is_first:
                    await checkpoint.load(fresh=self._is_fresh(name))
                self._checkpoints[key] = checkpoint
        except BaseException:
            self._in_use.discard(key)
            raise
        if self._saver is None:
            loop = asyncio.get_running_loop()
            self._kept_at = loop.time()
            self._saver = loop.create_task(self._save_again_and_again(), name="checkpoints")
        return checkpoint

    def release(self, name: str) -> None:
        """Let another piece of work have a name."""
        self._in_use.discard(name)

    def save_soon(self) -> None:
        """Save all checkpoints now, in the background."""
        self._wake.set()

    async def save(self) -> None:
        """Save all checkpoints. A failure is logged, and made up for by the next time; until then, work waits."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        held_at = max(self._kept_at + self._save_seconds, began + self._grace_seconds)
        late = loop.call_at(held_at, self.hold.begin)
        try:
            # Of a copy: others may be opened meanwhile.
            for name, checkpoint in [*self._checkpoints.items()]:
                await self._save(name, checkpoint)
        finally:
            late.cancel()
        if self._failed:
            self.hold.begin()
        else:
            self._kept_at = began
            self.hold.end()

    async def _save(self, name: str, checkpoint: Checkpoint | CursorCheckpoint | Journal) -> None:
        try:
            await checkpoint.save()
        except Exception as error:  # noqa: BLE001 - whatever the store raises, the work goes on
            log.warning("checkpoint %r could not be saved, which is tried again: %s", name, error)
            self._failed.add(name)
        else:
            if name in self._failed:
                log.info("checkpoint %r is saved again", name)
                self._failed.discard(name)

    async def remove(self) -> None:
        """Remove all checkpoints, when what they are for has succeeded; in any event loop. A failure is logged."""
        for name, checkpoint in self._checkpoints.items():
            try:
                await checkpoint.remove()
            except Exception as error:  # noqa: BLE001 - whatever the store raises, the work is done
                log.warning("checkpoint %r could not be removed: %s", name, error)

    def _is_fresh(self, name: str) -> bool:
        return self._fresh if isinstance(self._fresh, bool) else name in self._fresh

    async def _save_again_and_again(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            is_over = False
            due_at = loop.time() + self._save_seconds - self._grace_seconds
            while not is_over:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due_at):
                        await self._wake.wait()
                self._wake.clear()
                due_at = loop.time() + self._save_seconds - self._grace_seconds
                # What is done while this saves needs another time.
                ends = self._ends
                await self.save()
                is_over = ends and not self.hold.is_on
                due_at = max(due_at, loop.time() + self._grace_seconds)
        except asyncio.CancelledError:
            # All tasks are ended because the one that these are for does not end: it may never come to save them.
            if not self._ends:
                await self._save_within_bounds()
            raise

    async def _save_within_bounds(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SAVE_SECONDS):
                await self.save()
                return
        log.warning("checkpoints could not be saved within %g s", _LAST_SAVE_SECONDS)


class Resume(Generic[T]):
    """
    What an ``amap`` knows of earlier tries.

    :param name: of the work.
    :param key: makes a key of an item; by default the item is its own.
    :param keeps_results: whether results are kept too.
    """

    def __init__(self, name: str, *, key: Callable[[T], Key] | None, keeps_results: bool) -> None:
        self.name = check_name("resume", name)
        self.keeps_results = keeps_results
        self._key = key
        self._taken = KeySet()
        self._checkpoints: Checkpoints | None = None
        self._checkpoint: Checkpoint | None = None

    async def open(self) -> None:
        """
        Read what earlier tries have done.

        :raises CheckpointError: if another one of that name is at work.
        """
        if (checkpoints := current_checkpoints()) is None:
            log.info("resume=%r keeps nothing: this is neither a task nor a block of resumable()", self.name)
            return
        self._checkpoint = await checkpoints.open(self.name, keeps_results=self.keeps_results)
        self._checkpoints = checkpoints

    def take(self, item: T) -> tuple[int, bool]:
        """
        Return the key of an item, and whether an earlier try has done it.

        :raises CheckpointError: if another item of this run has the same key.
        :raises TypeError: if the item has no key.
        """
        key = key_of(item) if self._key is None else self._key(item)
        if type(key) is not str and self._key is not None:
            key = self._checked(key, item)
        hashed = hash_key(key)
        if not self._taken.add(hashed):
            raise CheckpointError(f"resume={self.name!r}: two items have the key {key!r}")
        return hashed, self._checkpoint is not None and hashed in self._checkpoint.done

    @staticmethod
    def _checked(made: object, item: T) -> Key:
        key = plain_key(made)
        if key is None:
            raise TypeError(f"key= must make a string, an integer or a tuple of these, not {made!r} of {item!r}")
        return key

    def result(self, hashed: int) -> JSON:
        """Return the kept result of an item that an earlier try has done."""
        assert self._checkpoint is not None  # noqa: S101 - take() has found it there
        return self._checkpoint.result(hashed)

    def acknowledge(self, hashed: int, value: object) -> None:
        """Count an item as done."""
        if self._checkpoint is not None:
            self._checkpoint.add(hashed, value)

    @property
    def is_held(self) -> bool:
        """Whether what is done cannot be kept, so that no more should be."""
        return self._checkpoints is not None and self._checkpoints.hold.is_on

    async def keep_up(self) -> None:
        """Wait while what is done cannot be kept."""
        if self._checkpoints is not None:
            await self._checkpoints.hold.wait()

    def close(self) -> None:
        """Let another piece of work have the name. What an error has ended is saved while others still clean up."""
        if self._checkpoints is not None:
            self._checkpoints.release(self.name)
            if sys.exception() is not None:
                self._checkpoints.save_soon()
            self._checkpoints = None
