# SPDX-License-Identifier: Apache-2.0
"""Tells Airflow how far a task has come: in its log, on its page, in metrics and in traces."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from airflow_provider_async.core.monitor import Monitor, Observer
from airflow_provider_async.core.snapshot import snapshot
from airflow_provider_async.core.summary import LogLines
from airflow_provider_async.runtime import compat
from airflow_provider_async.runtime.bar import Bar
from airflow_provider_async.runtime.comms import is_in_process
from airflow_provider_async.runtime.connections import in_thread
from airflow_provider_async.runtime.metrics import Metrics
from airflow_provider_async.runtime.progress_page import LINK_XCOM_KEY, progress_url
from airflow_provider_async.runtime.spans import Spans

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from airflow_provider_async.core.values import JSON

__all__ = ["PROGRESS_KEY", "PROGRESS_SECONDS", "reporting"]

log = logging.getLogger(__name__)

State: TypeAlias = Literal["running", "success", "failed"]

#: Under what key of the task's state store, or as which XCom before Airflow 3.3, the progress page finds it.
PROGRESS_KEY = "async_progress"

#: No more often than this is it written, but for the last time.
PROGRESS_SECONDS = 2.0

#: How long the task's end may be delayed by the last time, and when it is killed or timed out.
_LAST_SECONDS = 2.0
_HURRIED_SECONDS = 0.5


@asynccontextmanager
async def reporting(context: Mapping[str, Any]) -> AsyncIterator[None]:
    """
    Tell how far the work in this block has come. A task that does nothing through an ``amap`` tells nothing.

    :param context: the task's context
    :raises AirflowConfigException: if ``[async] progress_seconds`` is no number
    """
    from airflow.configuration import conf

    page = _Page(context, every_seconds=conf.getfloat("async", "progress_seconds", fallback=PROGRESS_SECONDS))
    in_terminal = is_in_process() and sys.stderr.isatty()
    observers: list[Observer] = [LogLines(lines=not in_terminal), page, Metrics(context), Spans()]
    if in_terminal:
        observers.append(Bar())
    monitor = Monitor(observers)
    state: State = "failed"
    try:
        with monitor, page:
            yield
        state = "success"
    finally:
        await page.end(monitor, state, hurried=isinstance(sys.exception(), asyncio.CancelledError))


class _Page(Observer):
    """
    Writes a value for the progress page.

    :param context: the task's context
    :param every_seconds: how often, at most
    """

    def __init__(self, context: Mapping[str, Any], *, every_seconds: float) -> None:
        self._context = context
        self._every_seconds = every_seconds
        self._due = 0.0
        self._write: asyncio.Task[None] | None = None
        self._has_link = False
        self._is_failing = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        # What comes now is the last value.
        self._due = math.inf

    def tick(self, monitor: Monitor) -> None:
        """Write the value, if it is time and nothing is being written."""
        if monitor.clock() >= self._due and (self._write is None or self._write.done()):
            self._begin(monitor, "running")

    async def end(self, monitor: Monitor, state: State, *, hurried: bool) -> None:
        """
        Write the value for the last time.

        :param monitor: what has counted
        :param state: ``success`` or ``failed``
        :param hurried: whether the task is being killed
        """
        if not monitor.stages:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_HURRIED_SECONDS if hurried else _LAST_SECONDS):
                if self._write is not None:
                    await asyncio.wait([self._write])
                await self._begin(monitor, state)

    def _begin(self, monitor: Monitor, state: State) -> asyncio.Task[None]:
        # The rest of the tick is not delayed by a store that answers late.
        self._due = monitor.clock() + self._every_seconds
        value = compat.redact({**snapshot(monitor, state=state), "try": self._context["ti"].try_number})
        self._write = asyncio.get_running_loop().create_task(self._write_all(value), name="progress")
        return self._write

    async def _write_all(self, value: JSON) -> None:
        try:
            await in_thread(lambda: compat.publish(self._context, PROGRESS_KEY, value))
            if not self._has_link:
                link = progress_url(self._context["ti"])
                await in_thread(lambda: compat.publish_xcom(self._context, LINK_XCOM_KEY, link))
                self._has_link = True
        except Exception as error:  # noqa: BLE001 - whatever Airflow raises, the work goes on
            if not self._is_failing:
                log.warning("progress could not be written, and is not shown until it can be: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False
