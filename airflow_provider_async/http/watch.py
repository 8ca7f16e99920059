# SPDX-License-Identifier: Apache-2.0
"""Time-outs of many requests by one timer: aiohttp's own, two for each request, cost a tenth of a small one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from airflow_provider_async.core.lease import Lease
    from airflow_provider_async.http.transport import Transport

__all__ = ["Turn", "Watch"]

#: How often the requests are looked at: so many times within the shortest time-out, but not more often than that.
_LOOKS = 5
_SHORTEST_SECONDS = 0.02
_LONGEST_SECONDS = 2.0


class Turn:
    """
    The use of a lease by requests, one after the other.

    :param lease: what is given back in the end.
    :param transport: what it lends.
    :ivar response: the answer to the request in flight, as soon as it has begun.
    :ivar task: who waits for it, if it is watched.
    :ivar began: when it did, by ``time.monotonic()``, likewise.
    :ivar is_late: whether the task was cancelled because the time was up.
    """

    __slots__ = (
        "began",
        "cancelling",
        "is_late",
        "lease",
        "progress",
        "progressed",
        "response",
        "task",
        "transport",
    )

    began: float
    cancelling: int
    progress: int
    progressed: float

    def __init__(self, lease: Lease[Transport, Transport], transport: Transport) -> None:
        self.lease = lease
        self.transport = transport
        self.response: ClientResponse | None = None
        self.task: asyncio.Task[object] | None = None
        self.is_late = False

    def silent_since(self, now: float) -> float:
        """Return when something came last; whatever came since the last look counts as having come now."""
        progress = 0 if self.response is None else self.response.content.total_bytes + 1
        if progress != self.progress:
            self.progress, self.progressed = progress, now
        return self.progressed

    def ends_late(self) -> bool:
        """Tell whether a cancellation that has arrived is that of the time-out alone, and take it back."""
        return self.is_late and self.task is not None and self.task.uncancel() <= self.cancelling


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
        self._turns: set[Turn] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, turn: Turn, now: float) -> None:
        """
        Watch what the running task does from now on, until :meth:`end`.

        :param turn: in which it does that.
        :param now: by ``time.monotonic()``.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of asyncio runs in a task
        turn.task = task
        turn.began = turn.progressed = now
        turn.progress = 0
        turn.cancelling = task.cancelling()
        self._turns.add(turn)
        if self._timer is None:
            # It needs no end: when there is nothing left to be watched, it is not set again.
            self._timer = task.get_loop().call_later(self._interval, self._look)

    def end(self, turn: Turn) -> None:
        """Watch it no longer."""
        self._turns.remove(turn)
        turn.task = None
        turn.is_late = False

    def _look(self) -> None:
        self._timer = None
        if not self._turns:
            return
        now = time.monotonic()
        for turn in self._turns:
            if turn.is_late or turn.task is None:
                continue
            is_silent = now - turn.silent_since(now) >= self._read_seconds
            if is_silent or now - turn.began >= self._total_seconds:
                turn.is_late = True
                turn.task.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._look)
