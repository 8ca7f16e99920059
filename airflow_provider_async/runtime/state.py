# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of a running task: which items earlier tries have done, kept until its success is sure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_async.core.resume import CHECKPOINT_SECONDS, Checkpoints, resuming_by
from airflow_provider_async.runtime import compat
from airflow_provider_async.runtime.comms import one_request_at_a_time
from airflow_provider_async.runtime.stores import TaskInstanceName, find_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

__all__ = ["FRESH_START", "resuming"]

log = logging.getLogger(__name__)

#: What a DAG run's conf says to begin anew: true, or a list of the names of the work that is to be done again.
FRESH_START = "async_fresh_start"


@asynccontextmanager
async def resuming(context: Mapping[str, Any]) -> AsyncIterator[None]:
    """
    Let every ``amap`` with ``resume`` in this block go on where the task's earlier tries stopped.

    Nothing is read, kept or set up for a task without one. What is kept is removed after the task has succeeded.

    :param context: the task's context
    :raises AirflowConfigException: from an ``amap``, if an option of ``[async]`` is no number
    """
    checkpoints: list[Checkpoints] = []

    def find() -> Checkpoints:
        if not checkpoints:
            checkpoints.append(_checkpoints_of(context))
            _remove_at_success(context, checkpoints[0])
        return checkpoints[0]

    try:
        with resuming_by(find):
            yield
    finally:
        for one in checkpoints:
            await one.aclose()


def _checkpoints_of(context: Mapping[str, Any]) -> Checkpoints:
    from airflow.configuration import conf

    ti = context["ti"]
    name = TaskInstanceName(ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index)
    return Checkpoints(
        find_store(name, context),
        identity="/".join(name.segments()),
        attempt=ti.try_number,
        save_seconds=conf.getfloat("async", "checkpoint_seconds", fallback=CHECKPOINT_SECONDS),
        is_first=compat.is_first_start(context),
        fresh=_fresh_start(context),
    )


def _fresh_start(context: Mapping[str, Any]) -> bool | Collection[str]:
    conf = getattr(context.get("dag_run"), "conf", None)
    wish = conf.get(FRESH_START) if isinstance(conf, Mapping) else None
    if wish is None or isinstance(wish, bool):
        return bool(wish)
    if isinstance(wish, list) and all(isinstance(name, str) for name in wish):
        return wish
    raise ValueError(f"{FRESH_START} in the DAG run's conf must be true or a list of names, not {wish!r}")


class _RemoveCheckpoints:
    """
    A callback of a task that succeeds, which core calls when the result is pushed and the success is reported.

    :param checkpoints: of the try that succeeds
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints

    def __call__(self, _context: object) -> None:
        try:
            with one_request_at_a_time():
                asyncio.run(self._checkpoints.remove())
        except Exception:
            log.exception("checkpoints could not be removed")


def _remove_at_success(context: Mapping[str, Any], checkpoints: Checkpoints) -> None:
    task = context["ti"].task
    # A new list: the task may be a copy that shares its lists with the task that the DAG has. And under dag.test() the
    # task may be the one that has run before.
    others = [callback for callback in task.on_success_callback if not isinstance(callback, _RemoveCheckpoints)]
    task.on_success_callback = [*others, _RemoveCheckpoints(checkpoints)]
