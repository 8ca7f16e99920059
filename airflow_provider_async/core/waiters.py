# SPDX-License-Identifier: Apache-2.0
"""The queue in front of a pool: first come, first served, each for the same time at most."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_provider_async.core.work import working_on

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Waiter", "Waiters"]

T = TypeVar("T")


@dataclass(frozen=True)
class Waiter:
    """
    Who waits.

    :param name: the waiting task's name.
    :param since: when it began to wait, in seconds of the event loop's clock.
    """

    name: str
    since: float


class Waiters(Generic[T]):
    """
    Futures in the order in which they were asked for.

    :param timeout_seconds: how long each waits at most.
    :param timeout_error: makes the error of one whose time is up, from its waiter and the seconds that it waited.
    :ivar waits: how often somebody has waited, whatever came of it.
    :ivar wait_seconds: how long that took, all added up.
    """

    def __init__(self, timeout_seconds: float, timeout_error: Callable[[Waiter, float], Exception]) -> None:
        self._timeout_seconds = timeout_seconds
        self._timeout_error = timeout_error
        self.waits = 0
        self.wait_seconds = 0.0
        self._timer: asyncio.TimerHandle | None = None
        # An ordered dict gives up its first and any other entry in constant time, however many wait.
        self._queue: OrderedDict[asyncio.Future[T], Waiter] = OrderedDict()

    def __len__(self) -> int:
        return len(self._queue)

    def join(self) -> asyncio.Future[T]:
        """Queue up at the end; the future must be given to :meth:`leave` if it is not waited for to its end."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        future: asyncio.Future[T] = loop.create_future()
        self._queue[future] = Waiter(name=task.get_name() if task else "a caller", since=loop.time())
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_seconds, self._expire)
        return future

    def leave(self, future: asyncio.Future[T]) -> None:
        """Take a future out of the queue, if it is still there."""
        self._queue.pop(future, None)

    def count(self, seconds: float) -> None:
        """Count a wait that has ended, here and for the work that the running task belongs to."""
        self.waits += 1
        self.wait_seconds += seconds
        if (work := working_on.get()) is not None:
            work.lease_waits += 1
            work.lease_wait_seconds += seconds

    def serve(self, take: Callable[[], T | None]) -> None:
        """Give the first in the queue what ``take`` returns, and so on until it returns ``None``."""
        queue = self._queue
        while queue:
            future = next(iter(queue))
            if not future.done():
                if (result := take()) is None:
                    return
                future.set_result(result)
            del queue[future]

    def fail(self, error: Callable[[], Exception]) -> None:
        """Give everybody in the queue an error, to each one of their own."""
        for future in self._queue:
            if not future.done():
                future.set_exception(error())
        self._queue.clear()

    def stop(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        # All wait equally long, so the first in the queue is the first to be due, and one timer is enough.
        while self._queue:
            future, waiter = next(iter(self._queue.items()))
            due = waiter.since + self._timeout_seconds
            if due > now:
                self._timer = loop.call_at(due, self._expire)
                return
            if not future.done():
                future.set_exception(self._timeout_error(waiter, now - waiter.since))
            del self._queue[future]
