# SPDX-License-Identifier: Apache-2.0
"""
What one run of a task leaves to the next ones, under the name that is given as ``cursor=``: one small value.

It has nothing to do with the cursor of ``resume=``, which lives from one try of a run to the next. Each run goes on
from what the newest run before it has left, and leaves a value of its own when it has succeeded. The values of several
runs are kept, each at its run's place: so an older run that comes late, or is done again, neither goes on from what a
newer one has left, nor does it replace that.
"""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_async.core.checks import check_name
from airflow_provider_async.core.envelope import Unusable, seal, unseal
from airflow_provider_async.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from airflow_provider_async.core.values import JSON, CheckpointStore

__all__ = ["Carryover", "Carryovers", "Place", "carrying_on_by", "current_carryovers"]

log = logging.getLogger(__name__)

#: A run's place among the runs of its task: texts that sort as the runs do.
Place: TypeAlias = "tuple[str, ...]"

#: A run that was to be done again after so many newer ones begins anew.
_MOST_RUNS = 10

#: Fits the smallest limit of the stores for a value, 64 KB as a JSON string.
_MOST_BYTES = 30_000

#: Two runs that end at once may each write what the other has not seen. Who is lost that way comes again.
_MOST_WRITES = 3

_current: ContextVar[Callable[[], Carryovers] | None] = ContextVar("carryovers", default=None)


@contextmanager
def carrying_on_by(find: Callable[[], Carryovers]) -> Iterator[None]:
    """
    Let all work with ``cursor`` in this block go on where the run before this one has ended.

    :param find: returns what was left; asked when the first piece of work wants to know.
    """
    token = _current.set(find)
    try:
        yield
    finally:
        _current.reset(token)


def current_carryovers() -> Carryovers | None:
    """Return what work in this block goes on from, if there is anything."""
    find = _current.get()
    return None if find is None else find()


class Carryover:
    """
    What the runs of one piece of work leave to each other.

    :param store: where it is kept.
    :param name: of the work; a key of the store.
    :param identity: what the work belongs to, such as a task, whatever its run.
    :param place: of the run that is at work.
    :ivar value: what the newest run before this one has left, or what this one is going to leave; ``None`` if there is
        nothing.
    """

    def __init__(self, store: CheckpointStore, name: str, *, identity: str, place: Place) -> None:
        self.name = name
        self.value: dict[str, JSON] | None = None
        self._store = store
        self._owner = hashlib.blake2b(f"{identity}\0{name}\0carryover".encode(), digest_size=8).hexdigest()
        self._place = place
        self._unsaved: dict[str, JSON] | None = None

    async def load(self, *, fresh: bool = False) -> None:
        """
        Read what the newest run before this one has left. What is torn is left alone, with a warning.

        :param fresh: begin anew all the same.
        """
        left = [value for place, value in await self._read() if place < self._place]
        self.value = left[-1] if left else None
        if fresh and left:
            log.info("cursor %r begins anew, as asked for", self.name)
            self.value = None

    def set(self, value: dict[str, JSON]) -> None:
        """
        Note what is to be left to later runs; :meth:`commit` keeps it.

        :param value: small.
        :raises CheckpointError: if it is too large to be kept.
        """
        size = len(json.dumps(value))
        if size > _MOST_BYTES:
            raise CheckpointError(f"the cursor {self.name!r} is too large to be kept: {size} bytes as JSON")
        self.value = self._unsaved = value

    async def commit(self) -> None:
        """
        Keep what is to be left, at this run's place: the work has succeeded. In any event loop.

        :raises Exception: what the store raises.
        """
        if (value := self._unsaved) is None:
            return
        for _ in range(_MOST_WRITES):
            others = [one for one in await self._read() if one[0] != self._place]
            kept = _newest([*others, (self._place, value)])
            if (self._place, value) not in kept:
                log.info("cursor %r is not kept: %d newer runs have left theirs", self.name, len(kept))
                break
            await self._store.set(self._key, seal({"runs": [[[*place], one] for place, one in kept]}, self._owner))
            if (self._place, value) in await self._read():
                break
        self._unsaved = None

    async def _read(self) -> list[tuple[Place, dict[str, JSON]]]:
        """Return the values that runs have left, in the order of the runs."""
        text = await self._store.get(self._key)
        if text is None:
            return []
        try:
            return _runs(unseal(text, self._owner))
        except Unusable as reason:
            log.warning("cursor %r is not used: %s", self.name, reason)
            return []

    @property
    def _key(self) -> str:
        return f"{self.name}.cursor"


def _runs(content: dict[str, JSON]) -> list[tuple[Place, dict[str, JSON]]]:
    runs = content.get("runs")
    if not isinstance(runs, list):
        raise Unusable("it is torn")
    found: list[tuple[Place, dict[str, JSON]]] = []
    for run in runs:
        match run:
            case [[*place], dict(value)] if all(isinstance(part, str) for part in place):
                found.append((tuple(map(str, place)), value))
            case _:
                raise Unusable("it is torn")
    return sorted(found, key=lambda one: one[0])


def _newest(runs: list[tuple[Place, dict[str, JSON]]]) -> list[tuple[Place, dict[str, JSON]]]:
    """Return as many of the newest as are kept, in the order of the runs."""
    kept: list[tuple[Place, dict[str, JSON]]] = []
    size = 0
    for run in sorted(runs, key=lambda one: one[0], reverse=True)[:_MOST_RUNS]:
        size += len(json.dumps(run))
        if kept and size > 2 * _MOST_BYTES:
            break
        kept.insert(0, run)
    return kept


class Carryovers:
    """
    All that one run of a task goes on from, and leaves.

    :param store: where it is kept.
    :param identity: what it belongs to: a task, whatever its run.
    :param place: of the run among the task's runs.
    :param fresh: whether, or for which names, the run begins anew.
    """

    def __init__(
        self, store: CheckpointStore, *, identity: str, place: Place, fresh: bool | Collection[str] = False
    ) -> None:
        self._store = store
        self._identity = identity
        self._place = place
        self._fresh = fresh
        self._opened: dict[str, Carryover] = {}
        self._in_use: set[str] = set()

    async def open(self, name: str) -> Carryover:
        """
        Read what the run before this one has left.

        :param name: of the cursor.
        :raises CheckpointError: if other work of this run uses it at the moment.
        :raises ValueError: if that is no name.
        """
        check_name("cursor", name)
        if name in self._in_use:
            raise CheckpointError(f"cursor={name!r} is used twice at once; give each a name of its own")
        self._in_use.add(name)
        try:
            if name not in self._opened:
                carryover = Carryover(self._store, name, identity=self._identity, place=self._place)
                await carryover.load(fresh=self._fresh if isinstance(self._fresh, bool) else name in self._fresh)
                self._opened[name] = carryover
        except BaseException:
            self._in_use.discard(name)
            raise
        return self._opened[name]

    def release(self, name: str) -> None:
        """Let other work of this run use a cursor, which then goes on from where this work has ended."""
        self._in_use.discard(name)

    async def commit(self) -> None:
        """Keep all that is to be left: the run has succeeded. A failure is logged: the next run does more again."""
        for name, carryover in self._opened.items():
            try:
                await carryover.commit()
            except Exception as error:  # noqa: BLE001 - whatever the store raises, the work is done
                log.warning("cursor %r could not be kept, so the next run begins where this one did: %s", name, error)
