# SPDX-License-Identifier: Apache-2.0
"""What a coroutine may leave behind when it ends: tasks that failed unseen, threads and processes."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from airflow_provider_async.runtime import tracebacks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from multiprocessing.process import BaseProcess

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_THREAD_NAME = "async-task"
# A child process forked by a task ignores SIGTERM, because it inherits core's handler for the task's own.
_TERMINATE_SECONDS = 0.3

# Kept, so that nothing of it runs when Python would collect it, which may be in the middle of the next task.
_cut_off: list[asyncio.Task[Any]] = []


def cut_off(task: asyncio.Task[Any], description: str) -> None:
    """
    Leave a task behind that would not end.

    :param task: the task, whose event loop is not going to run again
    :param description: what the log calls it
    """
    _cut_off.append(task)
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 - this says it instead
    log.warning(
        "%s did not end within the time for clean-up and was cut off. It stands at %s.",
        description,
        tracebacks.where(task),
    )


def report_unseen_failures(loop: asyncio.AbstractEventLoop, *, seen: asyncio.Task[Any]) -> None:
    """
    Log the errors of tasks that nobody awaited.

    asyncio does so when it collects such a task, which a task's process may not live to see.

    :param loop: the tasks' event loop
    :param seen: the task whose error is going to be raised
    """
    # asyncio.all_tasks() leaves out those that are done. Where neither name exists, asyncio reports alone.
    registered: Iterable[asyncio.Task[Any]] = getattr(
        asyncio.tasks, "_scheduled_tasks", getattr(asyncio.tasks, "_all_tasks", ())
    )
    for task in list(registered):
        if task is seen or not task.done() or task.cancelled() or task.get_loop() is not loop:
            continue
        if getattr(task, "_log_traceback", False) and (error := task.exception()) is not None:
            tracebacks.trim(error)
            log.error("The background task %s failed, and nobody awaited it.", task.get_name(), exc_info=error)


class Threads(ThreadPoolExecutor):
    """An event loop's default executor, which knows the calls that it is running."""

    def __init__(self) -> None:
        super().__init__(thread_name_prefix=_THREAD_NAME)
        self._calls: set[Future[Any]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call in a thread."""
        call = super().submit(fn, *args, **kwargs)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    def end(self, until: Callable[[], float]) -> None:
        """
        Wait for the calls in progress, and name those that take longer.

        :param until: says how long, on the monotonic clock; asked again and again
        """
        self.shutdown(wait=False, cancel_futures=True)
        while (calls := list(self._calls)) and (left := until() - time.monotonic()) > 0:
            wait_for_futures(calls, timeout=min(left, 0.1))
        if not calls:
            return
        mine = [thread for thread in threading.enumerate() if thread.name.startswith(_THREAD_NAME)]
        places = [place for thread in mine if (place := tracebacks.where_thread(thread.ident)) is not None]
        log.warning(
            "%d calls of asyncio.to_thread() or run_in_executor() still run and were left behind. They stand at %s.",
            len(calls),
            "; ".join(places) or "an unknown place",
        )


def child_processes() -> set[BaseProcess]:
    """
    Find the processes that this one started with multiprocessing.

    :return: those that run, executors' workers included
    """
    multiprocessing = sys.modules.get("multiprocessing")
    return set() if multiprocessing is None else set(multiprocessing.active_children())


def end_processes(processes: Iterable[BaseProcess]) -> None:
    """
    End processes that a coroutine left behind; Python would wait for them without end.

    :param processes: the processes
    """
    remaining = list(processes)
    if not remaining:
        return
    log.warning("Ending %d processes that the task started and left behind.", len(remaining))
    for process in remaining:
        process.terminate()
    patience = time.monotonic() + _TERMINATE_SECONDS
    for process in remaining:
        process.join(max(0.0, patience - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join(_TERMINATE_SECONDS)
