# SPDX-License-Identifier: Apache-2.0
"""Time-outs of many requests by one timer: aiohttp's own, two for each request, cost a tenth of a small one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import ClientResponse

__all__ = ["Watch", "Watched"]

#: How often the requests are looked at: so many times within the shortest time-out, but not more often than that.
_LOOKS = 5
_SHORTEST_SECONDS = 0.02
_LONGEST_SECONDS = 2.0


class Watched:
    """
    A request in flight.

    :ivar response: its answer, as soon as it has begun.
    :ivar is_late: whether it was cancelled because its time was up.
    """

    __slots__ = ("_cancelling", "_progress", "_progressed", "began", "is_late", "response", "task")

    def __init__(self, task: asyncio.Task[object], now: float) -> None:
        self.task = task
        self.began = self._progressed = now
        self.response: ClientResponse | None = None
        self.is_late = False
        self._progress = 0
        self._cancelling = task.cancelling()

    def silent_since(self, now: float) -> float:
        """Return when something came last; whatever came since the last look counts as having come now."""
        progress = 0 if self.response is None else self.response.content.total_bytes + 1
        if progress != self._progress:
            self._progress, self._progressed = progress, now
        return self._progressed

    def ends_late(self) -> bool:
        """Tell whether a cancellation that has arrived is that of the time-out alone, and take it back."""
        return self.is_late and self.task.uncancel() <= self._cancelling


class Watch:
    """
    Cancels requests whose time is up.

    :param read_seconds: how long nothing may come.
    :param total_seconds: how long a request may take in all.
    """

    def __init__(self, read_seconds: float, total_seconds: float | None) -> None:
        self._read_seconds = read_seconds
        self._total_seconds = float("inf") if total_seconds is None else total_seconds
        shortest = min(self._read_seconds, self._total_seconds) / _LOOKS
        self._interval = max(_SHORTEST_SECONDS, min(_LONGEST_SECONDS, shortest))
        self._requests: dict[Watched, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, now: float) -> Watched:
        """
        Watch what the running task does from now on, until :meth:`end`.

        :param now: by ``time.monotonic()``.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of asyncio runs in a task
        watched = Watched(task, now)
        self._requests[watched] = None
        if self._timer is None:
            # It needs no end: when there is nothing left to be watched, it is not set again.
            self._timer = task.get_loop().call_later(self._interval, self._look)
        return watched

    def end(self, watched: Watched) -> None:
        """Watch it no longer."""
        del self._requests[watched]

    def _look(self) -> None:
        self._timer = None
        if not self._requests:
            return
        now = time.monotonic()
        for watched in self._requests:
            if watched.is_late:
                continue
            is_silent = now - watched.silent_since(now) >= self._read_seconds
            if is_silent or now - watched.began >= self._total_seconds:
                watched.is_late = True
                watched.task.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._look)
