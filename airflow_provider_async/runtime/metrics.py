# SPDX-License-Identifier: Apache-2.0
"""Counts for where Airflow sends its metrics, by statsd or OpenTelemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_async.core.monitor import Observer
from airflow_provider_async.runtime import compat

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_async.core.monitor import Monitor

__all__ = ["Metrics"]


class Metrics(Observer):
    """
    Sends what was counted since the last tick, tagged with the DAG, the task, and the stage or the pool.

    :param context: the task's context
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = context
        self._sent: dict[tuple[str, str], float] = {}

    def tick(self, monitor: Monitor) -> None:
        """Send what is new, and the gauges of the pools."""
        if not monitor.stages and not monitor.pools:
            return
        metrics, ti = compat.metrics(), self._context["ti"]
        of_task = {"dag_id": str(ti.dag_id), "task_id": str(ti.task_id)}
        for stage in monitor.stages:
            counts = stage.counts()
            name = " / ".join(part.label for part in stage.path)
            tags = {**of_task, "stage": name}
            for stat, count in (
                ("async.items.done", counts.done - counts.resumed),
                ("async.items.failed", counts.failed),
                ("async.retries", counts.retries),
            ):
                if new := int(self._new(stat, name, count)):
                    metrics.incr(stat, new, tags=tags)
        for name, statistics in monitor.pools.items():
            tags = {**of_task, "pool": name}
            if waits := self._new("waits", name, statistics.waits):
                seconds = self._new("wait_seconds", name, statistics.wait_seconds)
                metrics.timing("async.pool.lease_wait", seconds / waits * 1000, tags=tags)
            metrics.gauge("async.pool.open", statistics.open, tags=tags)
            metrics.gauge("async.pool.leased", statistics.leased, tags=tags)
            metrics.gauge("async.pool.waiting", statistics.waiting, tags=tags)

    def _new(self, stat: str, name: str, count: float) -> float:
        before = self._sent.get((stat, name), 0)
        self._sent[stat, name] = count
        return count - before
