# SPDX-License-Identifier: Apache-2.0
"""How far everything has come, as one small JSON value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from airflow_provider_async.core.monitor import TICK_SECONDS
from airflow_provider_async.core.pace import merged

if TYPE_CHECKING:
    from airflow_provider_async.core.monitor import Monitor, Stage
    from airflow_provider_async.core.slots import PoolStatistics
    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.core.work import Failure

__all__ = ["snapshot"]

#: What a reader expects; to be raised when a field changes its meaning.
VERSION = 1

_MOST_BYTES = 12_000
_MOST_STAGES = 20

#: How often neighbours in a curve are merged: of sixty points fifteen are left.
_MOST_MERGES = 2


def snapshot(monitor: Monitor, *, state: Literal["running", "success", "failed"] = "running") -> dict[str, JSON]:
    """
    Return what there is to be shown of a task at this moment.

    It stays below 12 KB as JSON: when it would not, curves get coarser, then the oldest failures are left out, then the
    last stages.

    :param monitor: of the task.
    :param state: of the task's coroutine.
    """
    now = monitor.clock()
    stages, failures, pools = _shown(monitor.stages), monitor.failures, [*monitor.pools.items()]
    merges = 0
    while True:
        value: dict[str, JSON] = {
            "version": VERSION,
            "state": state,
            "started": round(monitor.started, 3),
            "updated": round(monitor.wall_clock(), 3),
            "stages": [_stage(stage, now, merges) for stage in stages],
            "failures": [_failure(failure) for failure in failures],
            "pools": [_pool(name, statistics) for name, statistics in pools],
        }
        if len(json.dumps(value)) <= _MOST_BYTES:
            return value
        if merges < _MOST_MERGES:
            merges += 1
        elif failures:
            failures.pop()
        elif stages:
            stages.pop()
        else:
            pools.pop()


def _shown(stages: list[Stage]) -> list[Stage]:
    """Choose stages that are at work before others, and no nested one without those that it is in."""
    shown: set[Stage] = set()
    for stage in sorted(stages, key=lambda stage: not stage.active):
        missing = set(stage.path) - shown
        if len(shown) + len(missing) <= _MOST_STAGES:
            shown |= missing
    return [stage for stage in stages if stage in shown]


def _stage(stage: Stage, now: float, merges: int) -> dict[str, JSON]:
    progress = stage.progress(now)
    rates = stage.history.rates
    for _ in range(merges):
        rates = merged(rates)
    return {
        "label": stage.label,
        "depth": stage.depth,
        "active": stage.active,
        "done": progress.done,
        "failed": progress.failed,
        "skipped": progress.skipped,
        "resumed": progress.resumed,
        "retries": progress.retries,
        "total": progress.total,
        "bytes": progress.bytes,
        "rate": _short(progress.rate),
        "bytes_rate": _short(progress.bytes_rate),
        "seconds_left": None if progress.seconds_left is None else round(progress.seconds_left, 1),
        "elapsed": round(progress.elapsed, 1),
        "history": {
            "every": stage.history.ticks * TICK_SECONDS * 2**merges,
            "rates": [_short(rate) for rate in rates],
        },
        "lease_waits": progress.lease_waits,
        "lease_wait_seconds": round(progress.lease_wait_seconds, 3),
    }


def _failure(failure: Failure) -> dict[str, JSON]:
    return {"stage": failure.label, "item": failure.item, "error": failure.error, "at": round(failure.at, 3)}


def _pool(name: str, statistics: PoolStatistics) -> dict[str, JSON]:
    return {
        "name": name,
        "open": statistics.open,
        "size": statistics.size,
        "leased": statistics.leased,
        "limit": statistics.limit,
        "auto": statistics.auto,
        "waiting": statistics.waiting,
        "connects": statistics.connects,
        "connect_errors": statistics.connect_errors,
        "waits": statistics.waits,
        "wait_seconds": round(statistics.wait_seconds, 3),
    }


def _short(rate: float) -> float:
    """Leave three digits."""
    return float(f"{rate:.3g}")
