# SPDX-License-Identifier: Apache-2.0
"""
A thread that looks after an event loop while it runs: its deadline, its supervisor, and calls that block it.

An event loop that is blocked notices nothing itself, neither that its time is up nor that it was told to stop.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from typing import TYPE_CHECKING

from airflow_provider_async.runtime import tracebacks

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Self

log = logging.getLogger(__name__)

TICK_SECONDS = 0.2
# Looked at every tick: what blocks for a second is seen for sure, what takes less than this never.
BLOCKED_SECONDS = 0.8
# Between one attempt to interrupt a call that blocks the loop and the next.
AGAIN_SECONDS = 0.5


class Watchdog:
    """
    Watches one event loop from a thread, between the entry and the exit of a ``with`` block.

    Whoever enters the block is the thread that runs the loop. The callables are called from the watching one.

    :param loop: the event loop
    :param timeout_seconds: how long it may run, or None for ever
    :param on_timeout: called once, when that time is up
    :param interrupt_due: says whether whatever the loop's thread does now has to be interrupted
    :param interrupt: does so
    :param is_orphaned: says whether nobody waits for the loop's end any more
    :param on_orphaned: called once, when that is so
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        timeout_seconds: float | None,
        on_timeout: Callable[[], None],
        interrupt_due: Callable[[], bool],
        interrupt: Callable[[], None],
        is_orphaned: Callable[[], bool] = lambda: False,
        on_orphaned: Callable[[], None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        self._on_timeout = on_timeout
        self._is_orphaned = is_orphaned
        self._on_orphaned = on_orphaned
        self._orphaned = False
        self._interrupt_due = interrupt_due
        self._interrupt = interrupt
        self._interrupted_at = -math.inf
        self._asked_at: float | None = None
        self._reported = False
        self._watched = threading.get_ident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="event-loop-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._watched = threading.get_ident()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(AGAIN_SECONDS)  # it may be writing to a log that nobody reads

    def _watch(self) -> None:
        while not self._over.wait(self._pause_seconds()):
            now = time.monotonic()
            if self._deadline is not None and now >= self._deadline:
                self._deadline = None
                self._on_timeout()
            if not self._orphaned and self._is_orphaned():
                self._orphaned = True
                self._on_orphaned()
            if now >= self._interrupted_at + AGAIN_SECONDS and self._interrupt_due():
                self._interrupted_at = now
                self._interrupt()
            self._look(now)

    def _pause_seconds(self) -> float:
        if self._deadline is None:
            return TICK_SECONDS
        return max(0.0, min(TICK_SECONDS, self._deadline - time.monotonic()))

    def _look(self, now: float) -> None:
        """Ask the loop for a sign of life, or report that the last one is overdue."""
        if self._asked_at is None:
            self._asked_at = now
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:
                self._over.set()  # closed meanwhile
        elif not self._reported and now >= self._asked_at + BLOCKED_SECONDS:
            self._report(now - self._asked_at)

    def _answer(self) -> None:
        self._asked_at = None

    def _report(self, blocked_seconds: float) -> None:
        frame = sys._current_frames().get(self._watched)  # noqa: SLF001 - documented, and there is no other way
        stack = tracebacks.format_blocking_stack(frame)
        if stack is None:
            return
        self._reported = True
        log.warning(
            "A call that does not await has blocked the event loop for %.1f s so far: meanwhile, nothing else of this "
            "task runs. Use an async library, or run the call with `await asyncio.to_thread(...)`. This is said once "
            "a task. The call stands at:\n%s",
            blocked_seconds,
            stack,
        )
