# SPDX-License-Identifier: Apache-2.0
"""The checkpoints of one task or script, and how an ``amap`` finds the one that it resumes by."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from airflow_provider_async.core.checkpoint import Checkpoint
from airflow_provider_async.core.keys import KeySet, hash_key, key_of
from airflow_provider_async.core.stores import FileStore
from airflow_provider_async.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from types import TracebackType

    from airflow_provider_async.core.checkpoint import JSON, CheckpointStore
    from airflow_provider_async.core.keys import Key

__all__ = ["Checkpoints", "Resume", "resumable"]

T = TypeVar("T")

log = logging.getLogger(__name__)

#: What is done may be done again if the process ends without warning within so many seconds.
CHECKPOINT_SECONDS = 5.0

_current: ContextVar[Checkpoints | None] = ContextVar("checkpoints", default=None)


@asynccontextmanager
async def resumable(folder: Path, *, attempt: int = 1) -> AsyncIterator[Checkpoints]:
    """
    Let every ``amap`` with ``resume`` in this block go on where it stopped when the block was left by an error.

    :param folder: where checkpoints are kept, one script's alone; removed from there when the block ends without an
        error.
    :param attempt: a number that grows from try to try, if an old one may still run.
    """
    async with Checkpoints(FileStore(folder), identity=str(folder), attempt=attempt) as checkpoints:
        yield checkpoints
    await checkpoints.remove()


class Checkpoints:
    """
    The checkpoints of one task, saved every few seconds while it runs, and when it ends.

    :param store: where they are kept.
    :param identity: what they belong to: a task instance, without the number of its try.
    :param attempt: the number of the try that is running, from 1.
    :param save_seconds: how often they are saved.
    """

    def __init__(
        self, store: CheckpointStore, *, identity: str, attempt: int, save_seconds: float = CHECKPOINT_SECONDS
    ) -> None:
        self._store = store
        self._identity = identity
        self._attempt = attempt
        self._save_seconds = save_seconds
        self._checkpoints: dict[str, Checkpoint] = {}
        self._in_use: set[str] = set()
        self._saver: asyncio.Task[None]
        self._failed: set[str] = set()

    async def __aenter__(self) -> Self:
        self._token = _current.set(self)
        self._saver = asyncio.get_running_loop().create_task(self._save_again_and_again(), name="checkpoints")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        self._saver.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._saver
        await self.save()

    async def open(self, name: str, *, keeps_results: bool) -> Checkpoint:
        """
        Read the checkpoint of a piece of work.

        :param name: of the work; part of a key, so of letters, digits, ``_`` and ``-``.
        :param keeps_results: whether results are kept too.
        :raises CheckpointError: if another one of that name is at work.
        """
        if name in self._in_use:
            raise CheckpointError(f"resume={name!r} is used twice at once; give each a name of its own")
        self._in_use.add(name)
        try:
            checkpoint = self._checkpoints.get(name)
            if checkpoint is None:
                checkpoint = Checkpoint(
                    self._store, name, identity=self._identity, attempt=self._attempt, keeps_results=keeps_results
                )
                await checkpoint.load()
                self._checkpoints[name] = checkpoint
        except BaseException:
            self._in_use.discard(name)
            raise
        return checkpoint

    def release(self, name: str) -> None:
        """Let another piece of work have a name."""
        self._in_use.discard(name)

    async def save(self) -> None:
        """Save all checkpoints. A failure is logged, and made up for by the next time."""
        # Of a copy: others may be opened meanwhile.
        for name, checkpoint in [*self._checkpoints.items()]:
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
        """Remove all checkpoints, when what they are for has succeeded. A failure is logged."""
        for name, checkpoint in self._checkpoints.items():
            try:
                await checkpoint.remove()
            except Exception as error:  # noqa: BLE001 - whatever the store raises, the work is done
                log.warning("checkpoint %r could not be removed: %s", name, error)

    async def _save_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self._save_seconds)
            await self.save()


class Resume(Generic[T]):
    """
    What an ``amap`` knows of earlier tries.

    :param name: of the work.
    :param key: makes a key of an item; by default the item is its own.
    :param keeps_results: whether results are kept too.
    """

    def __init__(self, name: str, *, key: Callable[[T], Key] | None, keeps_results: bool) -> None:
        if not name or not name.replace("_", "").replace("-", "").isalnum() or not name.isascii():
            raise ValueError(f"resume must be a name of letters, digits, '_' and '-', not {name!r}")
        self.name = name
        self.keeps_results = keeps_results
        self._key = key or key_of
        self._taken = KeySet()
        self._checkpoints: Checkpoints | None = None
        self._checkpoint: Checkpoint | None = None

    async def open(self) -> None:
        """
        Read what earlier tries have done.

        :raises CheckpointError: if another one of that name is at work.
        """
        checkpoints = _current.get()
        if checkpoints is None:
            log.info("resume=%r keeps nothing: this is no block of resumable()", self.name)
            return
        self._checkpoint = await checkpoints.open(self.name, keeps_results=self.keeps_results)
        self._checkpoints = checkpoints

    def take(self, item: T) -> tuple[int, bool]:
        """
        Return the key of an item, and whether an earlier try has done it.

        :raises CheckpointError: if another item of this run has the same key.
        :raises TypeError: if the item has no key.
        """
        key = self._key(item)
        hashed = hash_key(key)
        if not self._taken.add(hashed):
            raise CheckpointError(f"resume={self.name!r}: two items have the key {key!r}")
        return hashed, self._checkpoint is not None and hashed in self._checkpoint.done

    def result(self, hashed: int) -> JSON:
        """Return the kept result of an item that an earlier try has done."""
        assert self._checkpoint is not None  # noqa: S101 - take() has found it there
        return self._checkpoint.result(hashed)

    def acknowledge(self, hashed: int, value: object) -> None:
        """Count an item as done."""
        if self._checkpoint is not None:
            self._checkpoint.add(hashed, value)

    def close(self) -> None:
        """Let another piece of work have the name."""
        if self._checkpoints is not None:
            self._checkpoints.release(self.name)
            self._checkpoints = None
