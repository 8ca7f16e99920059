# SPDX-License-Identifier: Apache-2.0
"""Whoever wants to know how far the work of a task has come finds it here."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from contextvars import Context, ContextVar, Token, copy_context
from typing import TYPE_CHECKING, Protocol, Self

from airflow_provider_async.core.stage import Stage
from airflow_provider_async.core.work import LABEL_CHARACTERS, Failure, SlowItem, Work, newest, working_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from airflow_provider_async.core.slots import PoolStatistics

__all__ = ["Failure", "Monitor", "Observer", "SlowItem", "Stage", "Work", "working_on"]

log = logging.getLogger(__name__)

#: How often observers are told how far everything has come.
TICK_SECONDS = 1.0

#: No more stages than these, and no more names of pools, are told apart; what comes later is called "others".
MOST_STAGES = 50
MOST_POOLS = 20
OTHERS = "others"


class Observer:
    """What is told how far the work has come. One that raises an error is told nothing more."""

    def tick(self, monitor: Monitor) -> None:
        """Hear how far it is: about every second while there is work, and once after it."""

    def work_began(self, work: Work) -> None:
        """Hear that an ``amap`` is asked for its first result; called in the context of the one who asks."""

    def work_ended(self, work: Work) -> None:
        """Hear that the last call of an ``amap`` has ended."""

    def connection_opened(self, pool_name: str, seconds: float) -> None:
        """Hear that a pool has opened a connection, and how long that took."""

    def connection_closed(self, pool_name: str) -> None:
        """Hear that a pool has closed a connection."""

    def close(self, monitor: Monitor) -> None:
        """Hear that the monitor ends; called once, after a last tick."""


class _Pool(Protocol):
    name: str

    def statistics(self) -> PoolStatistics: ...


class Monitor:
    """
    What all works and pools of one task count, and those who are told.

    It is for one thread. In ``with monitor:`` it watches what begins in that block; what begins elsewhere is watched by
    one that each event loop has of its own, which only logs. It ticks while there is work, with no task and no thread.

    :param observers: whom it tells.
    :param clock: seconds, of which rates are made.
    :param wall_clock: seconds since 1970.
    """

    _token: Token[Monitor | None]

    def __init__(
        self,
        observers: Iterable[Observer] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.wall_clock = wall_clock
        self.started = wall_clock()
        self._observers = [*observers]
        self._roots: dict[str, Stage] = {}
        self._stage_count = 0
        self._pool_names: set[str] = set()
        self._open_pools: weakref.WeakSet[_Pool] = weakref.WeakSet()
        self._closed_pools: dict[str, PoolStatistics] = {}
        self.thread_id = threading.get_ident()
        # In what observers are told of ticks.
        self._context = Context()
        self._is_closed = False
        # The loop that will tick next. Not the timer, which would keep the loop from being collected.
        self._ticking_loop: weakref.ref[asyncio.AbstractEventLoop] | None = None

    @classmethod
    def current(cls) -> Monitor:
        """Return the monitor of this block, or else the running loop's own."""
        monitor = _current.get()
        # A context follows its task into asyncio.to_thread(); a loop that runs there has a monitor of its own.
        if monitor is not None and monitor.thread_id == threading.get_ident():
            return monitor
        loop = asyncio.get_running_loop()
        if (monitor := _of_loops.get(loop)) is None:
            from airflow_provider_async.core.summary import LogLines

            monitor = _of_loops[loop] = cls([LogLines()])
        return monitor

    def __enter__(self) -> Self:
        self.thread_id = threading.get_ident()
        self._token = _current.set(self)
        self._context = copy_context()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        self.close()

    def close(self) -> None:
        """Tell the observers a last time."""
        if not self._is_closed:
            self._is_closed = True
            self.tick()
            self._tell(lambda observer: observer.close(self))
            self._observers = []

    # What is watched.

    @property
    def stages(self) -> list[Stage]:
        """The stages in order of appearance, nested ones after the one that they belong to."""
        return [stage for outermost in self._roots.values() for stage in outermost.tree]

    @property
    def pools(self) -> dict[str, PoolStatistics]:
        """What the pools hold, by name; of those that are closed what they counted is kept."""
        pools: dict[str, PoolStatistics] = {}
        for pool in sorted(self._open_pools, key=lambda pool: pool.name):
            name = self._name_of(pool)
            pools[name] = pools[name].beside(pool.statistics()) if name in pools else pool.statistics()
        for name, closed in self._closed_pools.items():
            pools[name] = pools[name].after(closed) if name in pools else closed
        return pools

    @property
    def failures(self) -> list[Failure]:
        """The newest failures of all stages, the newest first."""
        return newest([failure for stage in self.stages for failure in stage.failures])[::-1]

    def begin(self, work: Work, now: float) -> None:
        """Count a work in, on its own behalf."""
        parent = work.parent
        work.stage = self._stage_of(work.label, parent.stage if parent and parent.monitor is self else None, now)
        work.stage.begin(work, now)
        self._tell(lambda observer: observer.work_began(work))
        self._tick_later()

    def end(self, work: Work, now: float) -> None:
        """Count a work out, on its own behalf."""
        work.stage.end(work, now)
        self._tell(lambda observer: observer.work_ended(work))

    def pool_opened(self, pool: _Pool) -> None:
        """Watch a pool, for as long as it is in use."""
        self._open_pools.add(pool)

    def pool_closed(self, pool: _Pool) -> None:
        """Keep of a pool what it counted."""
        self._open_pools.discard(pool)
        name, statistics = self._name_of(pool), pool.statistics()
        closed = self._closed_pools.get(name)
        self._closed_pools[name] = statistics if closed is None else statistics.after(closed)

    def connection_opened(self, pool_name: str, seconds: float) -> None:
        """Tell the observers of a connection that a pool opened, and how long that took."""
        self._tell(lambda observer: observer.connection_opened(pool_name, seconds))

    def connection_closed(self, pool_name: str) -> None:
        """Tell the observers of a connection that a pool closed."""
        self._tell(lambda observer: observer.connection_closed(pool_name))

    def tick(self) -> None:
        """Take the rates of this moment, and tell the observers."""
        now = self.clock()
        for stage in self.stages:
            stage.tick(now)
        self._tell(lambda observer: observer.tick(self))

    def _stage_of(self, label: str, parent: Stage | None, now: float) -> Stage:
        siblings = self._roots if parent is None else parent.children
        label = label[:LABEL_CHARACTERS]
        if (stage := siblings.get(label)) is None:
            if self._stage_count >= MOST_STAGES - 1:
                label, parent, siblings = OTHERS, None, self._roots
            if (stage := siblings.get(label)) is None:
                stage = siblings[label] = Stage(label, parent, now)
                self._stage_count += 1
        return stage

    def _name_of(self, pool: _Pool) -> str:
        name = pool.name[:LABEL_CHARACTERS]
        if name not in self._pool_names and len(self._pool_names) >= MOST_POOLS - 1:
            return OTHERS
        self._pool_names.add(name)
        return name

    def _tell(self, tell: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            try:
                tell(observer)
            except Exception:
                log.exception("%s failed and is told nothing more", type(observer).__name__)
                self._observers = [other for other in self._observers if other is not observer]

    # Time.

    def _tick_later(self) -> None:
        loop = asyncio.get_running_loop()
        if self._is_closed or (self._ticking_loop is not None and self._ticking_loop() is loop):
            return
        self._ticking_loop = weakref.ref(loop)
        loop.call_later(TICK_SECONDS, self._tick_again, context=self._context)

    def _tick_again(self) -> None:
        self._ticking_loop = None
        if not self._is_closed:
            self.tick()
            if any(stage.active for stage in self.stages):
                self._tick_later()


_current: ContextVar[Monitor | None] = ContextVar("monitor", default=None)

_of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Monitor] = weakref.WeakKeyDictionary()
