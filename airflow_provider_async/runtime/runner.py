# SPDX-License-Identifier: Apache-2.0
"""
One coroutine run as a task: a fresh event loop, a deadline, and an end that is sure to come.

However the coroutine ends, by itself, by its time-out or by a signal, what it leaves behind is ended too: tasks are
cancelled and awaited, async generators closed, threads waited for, processes ended. All of that is bounded; what does
not end within the bound is named in the log and left behind. ``asyncio.Runner`` has no such bound.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import math
import signal
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_provider_async.runtime import leftovers
from airflow_provider_async.runtime.garbage import sparing_what_is_loaded
from airflow_provider_async.runtime.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterator
    from types import FrameType

log = logging.getLogger(__name__)

T = TypeVar("T")

CLEAN_UP_SECONDS = 5.0
# Airflow sends SIGKILL five seconds after SIGTERM; reporting the state and the user's callbacks need some of them.
KILL_CLEAN_UP_SECONDS = 3.0
# The part of it that the coroutine itself may use. The rest is for what it leaves behind.
_MAIN_SHARE = 2 / 3
# For async generators, whatever the tasks before them took.
_LAST_SECONDS = 0.2
# How long a loop may leave it unnoticed that it was told to stop, before the call that blocks it is interrupted.
_INTERRUPT_SECONDS = 0.5


class Stop(enum.Enum):
    """Why a coroutine was told to stop."""

    TIMEOUT = "its time-out"
    KILL = "a signal"
    ORPHANED = "the end of its supervisor"
    INTERRUPT = "Ctrl-C"


class Runner(Generic[T]):
    """
    Runs one coroutine to its end, once.

    :param timeout_seconds: how long it may run before it is cancelled, or None for ever
    :param loop_factory: makes the event loop
    :param timeout_error: makes the error that is raised when the time is up, of a sentence
    :param kill_error: makes the error that is raised after :meth:`kill`, of a sentence, and for an orphan
    :param is_orphaned: says, in a thread, whether nobody waits for the result any more: then it is ended as by a kill
    """

    def __init__(
        self,
        *,
        timeout_seconds: float | None = None,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
        timeout_error: Callable[[str], BaseException] = TimeoutError,
        kill_error: Callable[[str], BaseException] = InterruptedError,
        is_orphaned: Callable[[], bool] = lambda: False,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._loop_factory = loop_factory
        self._timeout_error = timeout_error
        self._kill_error = kill_error
        self._is_orphaned = is_orphaned
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[T] | None = None
        self._stop: Stop | None = None
        self._stopped_at = 0.0
        self._told = False
        # When the coroutine itself and when all of it has to be over, on the monotonic clock.
        self._main_until = math.inf
        self._until = math.inf
        self._driving_until: Callable[[], float] | None = None
        self._raise_at_alarm = False
        self._escaped: BaseException | None = None

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """
        Run a coroutine in a new event loop, and end all that it leaves behind.

        :param main: makes the coroutine
        :raises RuntimeError: if this thread runs an event loop already
        :return: what the coroutine returns
        """
        if asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented for such use
            raise RuntimeError("An async task cannot run inside an event loop: await what it calls instead.")
        if self._timeout_seconds is not None and self._timeout_seconds <= 0:
            raise self._stop_error(Stop.TIMEOUT)
        loop = self._loop_factory()
        threads = leftovers.Threads()
        loop.set_default_executor(threads)
        processes = leftovers.child_processes()
        watchdog = Watchdog(
            loop,
            timeout_seconds=self._timeout_seconds,
            on_timeout=self._on_timeout,
            is_orphaned=self._is_orphaned,
            on_orphaned=partial(self._request_stop, Stop.ORPHANED),
            interrupt_due=self._interrupt_due,
            interrupt=self._interrupter(),
        )
        try:
            with self._signals(), sparing_what_is_loaded(), watchdog:
                self._main = task = loop.create_task(main())
                self._loop = loop
                if self._stop is not None:  # told so before there was a loop
                    self._on_stop()
                self._drive([task], lambda: self._main_until)
                self._bound(CLEAN_UP_SECONDS)
                self._end_tasks(loop, task)
                threads.end(self._end_by(math.inf))
                leftovers.end_processes(leftovers.child_processes() - processes)
        finally:
            loop.close()
        return self._result(task)

    def kill(self) -> None:
        """Tell the coroutine to stop: from any thread, in a signal handler, any number of times."""
        self._request_stop(Stop.KILL)

    # --- being told to stop -------------------------------------------------------------------------------------------

    def _on_timeout(self) -> None:
        # What a coroutine leaves behind has a bound of its own, and its result is not lost for that.
        if self._main is None or not self._main.done():
            self._request_stop(Stop.TIMEOUT)

    def _request_stop(self, reason: Stop) -> None:
        # Takes no lock and logs nothing: this may interrupt anything.
        if self._stop is None:
            self._stop = reason
            self._stopped_at = time.monotonic()
        self._bound(CLEAN_UP_SECONDS if reason in (Stop.TIMEOUT, Stop.INTERRUPT) else KILL_CLEAN_UP_SECONDS)
        if self._loop is not None:
            with suppress(RuntimeError):  # closed already
                self._loop.call_soon_threadsafe(self._on_stop)

    def _bound(self, seconds: float) -> None:
        now = time.monotonic()
        self._main_until = min(self._main_until, now + seconds * _MAIN_SHARE)
        self._until = min(self._until, now + seconds)

    def _on_stop(self) -> None:
        """Cancel the coroutine, once, and have the loop's driver look at the new bounds."""
        if not self._told and self._main is not None:
            self._told = True
            self._main.cancel(self._cancel_message())
        if self._loop is not None:
            self._loop.stop()

    def _cancel_message(self) -> str | None:
        return None if self._stop is None else f"stopped by {self._stop.value}"

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """
        Take over SIGALRM, and SIGINT where it raises KeyboardInterrupt, for the time of the run.

        Core's own alarm, at the end of ``execution_timeout``, would raise its error in whatever task happens to run,
        or between two of them. Here the watchdog keeps the time; an alarm is its means to interrupt a call
        that blocks the loop.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers: dict[signal.Signals, Any] = {signal.SIGALRM: self._on_alarm}
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            handlers[signal.SIGINT] = self._on_interrupt
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _interrupter(self) -> Callable[[], None]:
        thread = threading.current_thread()
        ident = threading.get_ident()

        def interrupt() -> None:
            if thread is threading.main_thread():
                self._raise_at_alarm = True
                signal.pthread_kill(ident, signal.SIGALRM)

        return interrupt

    def _interrupt_due(self) -> bool:
        until = self._driving_until
        if until is None:
            return False
        now = time.monotonic()
        untold = self._stop is not None and not self._told
        return now >= until() + _INTERRUPT_SECONDS or (untold and now >= self._stopped_at + _INTERRUPT_SECONDS)

    def _on_alarm(self, _signum: int, _frame: FrameType | None) -> None:
        if not self._raise_at_alarm:
            return
        self._raise_at_alarm = False
        if self._driving_until is None or self._loop is None:
            return
        if self._stop is not None and asyncio.current_task(self._loop) is self._main:
            self._told = True  # by this; cancelling it as well would interrupt its clean-up
        raise asyncio.CancelledError(self._cancel_message())

    def _on_interrupt(self, _signum: int, _frame: FrameType | None) -> None:
        if self._stop is Stop.INTERRUPT:
            raise KeyboardInterrupt
        self._request_stop(Stop.INTERRUPT)

    # --- driving the loop ---------------------------------------------------------------------------------------------

    def _drive(self, tasks: Collection[asyncio.Task[Any]], until: Callable[[], float]) -> None:
        """Run the loop until the tasks are done or their time is up, which a stop may bring forward."""
        loop = tasks and next(iter(tasks)).get_loop()
        for task in tasks:
            task.add_done_callback(_stop_loop)
        while loop and not all(task.done() for task in tasks):
            left = until() - time.monotonic()
            if left <= 0:
                break
            timer = None if math.isinf(left) else loop.call_later(left, loop.stop)
            try:
                self._driving_until = until
                loop.run_forever()
            except asyncio.CancelledError:
                log.debug("The event loop was interrupted between two callbacks.")
            except BaseException as error:  # noqa: BLE001 - an exit, Ctrl-C, or of a signal handler of the user's
                self._escape(error)
            finally:
                self._driving_until = None
                if timer is not None:
                    timer.cancel()

    def _escape(self, error: BaseException) -> None:
        """Take note of an error that ends the whole run, whichever task raised it."""
        if self._escaped is None:
            self._escaped = error
        self._bound(0 if self._stop is Stop.INTERRUPT else CLEAN_UP_SECONDS)
        self._on_stop()

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end_tasks(self, loop: asyncio.AbstractEventLoop, main: asyncio.Task[T]) -> None:
        cancelled = {main}
        patience = (time.monotonic() + self._until) / 2
        while (tasks := asyncio.all_tasks(loop)) and (now := time.monotonic()) < self._until:
            # Who is being cancelled already is cleaning up, which a second cancellation would interrupt: other branches
            # of a gather, say, whose first one has ended. It is cancelled again when half of the time is over.
            due = {task for task in tasks - cancelled if now >= patience or not task.cancelling()}
            for task in due:
                task.cancel("the task is over")
            cancelled |= due
            self._drive(tasks, self._end_by(patience if now < patience else math.inf))
        for task in tasks:
            name = "The task's coroutine" if task is main else f"The background task {task.get_name()}"
            leftovers.cut_off(task, name)
        last = time.monotonic() + _LAST_SECONDS
        closing = loop.create_task(loop.shutdown_asyncgens())
        self._drive([closing], lambda: max(self._until, last))
        if not closing.done():
            leftovers.cut_off(closing, "The closing of async generators")
        leftovers.report_unseen_failures(loop, seen=main)

    def _end_by(self, limit: float) -> Callable[[], float]:
        return lambda: min(limit, self._until)

    def _result(self, task: asyncio.Task[T]) -> T:
        if self._stop is not None:
            cause: BaseException | None = None
            try:
                if task.done():
                    task.result()
            except BaseException as error:  # noqa: BLE001 - it says where the coroutine stood
                cause = error
            raise self._stop_error(self._stop) from cause
        if self._escaped is not None:
            raise self._escaped
        return task.result()

    def _stop_error(self, reason: Stop) -> BaseException:
        if reason is Stop.TIMEOUT:
            return self._timeout_error(
                f"The task did not end within its execution_timeout of {self._timeout_seconds:g} s."
            )
        if reason is Stop.KILL:
            return self._kill_error("The task was told to stop from outside.")
        if reason is Stop.ORPHANED:
            return self._kill_error("The task's supervisor is gone: nobody waits for its end, so it stopped by itself.")
        return KeyboardInterrupt()


def _stop_loop(task: asyncio.Task[Any]) -> None:
    task.get_loop().stop()
