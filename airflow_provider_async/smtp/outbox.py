# SPDX-License-Identifier: Apache-2.0
"""What waits to be sent: now, or later."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_async.smtp.throttle import Throttle

__all__ = ["Outbox"]

T = TypeVar("T")


class Outbox(Generic[T]):
    """
    A queue from which connections take what they send, as fast as the throttle lets them.

    :param throttle: the limits of the pool.
    :param low: when fewer than this are ready, more are asked for.
    :param room: set when there is room for more.
    :param admit: given what was to be sent later, when its time has come; by default that is ready then.
    :ivar in_flight: how many are taken and not finished.
    :ivar is_closed: whether nothing more is given out.
    :ivar is_complete: whether nothing more will be put in, but for what is sent again.
    """

    def __init__(
        self, throttle: Throttle, *, low: int, room: asyncio.Event, admit: Callable[[T], None] | None = None
    ) -> None:
        self.in_flight = 0
        self.is_closed = False
        self.is_complete = False
        self._room = room
        self._admit = admit or self.put
        self._throttle = throttle
        self._low = low
        self._ready: deque[T] = deque()
        self._later: list[tuple[float, int, T]] = []
        self._numbers = itertools.count()
        self._coming = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    @property
    def ready(self) -> int:
        """How many could be taken now."""
        return len(self._ready)

    @property
    def later(self) -> int:
        """How many wait for their time."""
        return len(self._later)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to be taken any more."""
        return self.is_closed or (self.is_complete and not self._ready and not self._later and not self.in_flight)

    def put(self, item: T) -> None:
        """Add something that can be sent now."""
        self._ready.append(item)
        self._wake_one_if_needed()

    def hold(self) -> None:
        """Count something as taken that will be put in by :meth:`release`."""
        self.in_flight += 1

    def release(self, item: T) -> None:
        """Add something that was held."""
        self.in_flight -= 1
        self.put(item)

    def put_back(self, item: T, *, at: float) -> None:
        """
        Add something that was taken, to be sent again.

        :param at: not before then, in seconds of the loop.
        """
        if at <= asyncio.get_running_loop().time():
            self._ready.appendleft(item)
            self._wake_one_if_needed()
        else:
            heapq.heappush(self._later, (at, next(self._numbers), item))
            self._wake_at(at)

    def take(self) -> T | None:
        """Return what is to be sent next; ``None`` if there is nothing, or if it is not yet time."""
        if not self._ready or self.is_closed:
            return None
        if (seconds := self._throttle.seconds_left) > 0:
            self._wake_at(asyncio.get_running_loop().time() + seconds)
            return None
        self._throttle.begin()
        self.in_flight += 1
        item = self._ready.popleft()
        if len(self._ready) < self._low:
            self._room.set()
        return item

    def finish(self) -> None:
        """Count something that was taken as finished, or put back."""
        self.in_flight -= 1
        if self.is_over:
            self._wake_all()

    def complete(self) -> None:
        """Note that nothing more will be put in."""
        self.is_complete = True
        if self.is_over:
            self._wake_all()

    def empty(self) -> list[T]:
        """Take everything out."""
        left = [*self._ready, *(item for _, _, item in sorted(self._later))]
        self._ready.clear()
        self._later.clear()
        self._room.set()
        if self.is_over:
            self._wake_all()
        return left

    def close(self) -> list[T]:
        """Give nothing out any more, and return what is left."""
        self.is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        return self.empty()

    async def wait(self) -> bool:
        """
        Wait until something can be taken, and tell whether anything ever will be.

        Whoever is told so counts as coming, until :meth:`arrive`: no more of them are called than there is to do.
        """
        while not self.is_over:
            if len(self._ready) > self._coming:
                if (seconds := self._throttle.seconds_left) <= 0:
                    self._coming += 1
                    return True
                self._wake_at(asyncio.get_running_loop().time() + seconds)
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one_if_needed()
                raise
        return False

    def arrive(self) -> None:
        """Hear that one who was told that there is something to do begins to take, or will not."""
        self._coming -= 1
        self._wake_one_if_needed()

    def _wake_one_if_needed(self) -> None:
        if self._waiters and len(self._ready) > self._coming:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._waiters:
            self._wake_one()

    def _wake_at(self, at: float) -> None:
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._be_on_time)

    def _be_on_time(self) -> None:
        self._timer = None
        if self.is_closed:
            return
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0][0] <= now:
            self._admit(heapq.heappop(self._later)[2])
        self._room.set()
        if self._later:
            self._wake_at(self._later[0][0])
        # Each that is woken takes one, and learns then when the next one may begin.
        for _ in range(min(len(self._waiters), len(self._ready))):
            self._wake_one()
