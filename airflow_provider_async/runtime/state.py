# SPDX-License-Identifier: Apache-2.0
"""
What a running task keeps.

Its checkpoints, which items earlier tries have done, are kept until its success is sure; its cursors, how far this run
has come, from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_async.core.carryover import Carryovers, carrying_on_by
from airflow_provider_async.core.resume import CHECKPOINT_SECONDS, PATIENCE_SECONDS, Checkpoints, resuming_by
from airflow_provider_async.runtime import compat
from airflow_provider_async.runtime.comms import is_supervised, one_request_at_a_time
from airflow_provider_async.runtime.stores import TaskInstanceName, TaskName, find_cursor_store, find_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

__all__ = ["FRESH_START", "known_state", "resuming"]

log = logging.getLogger(__name__)

#: What a DAG run's conf says to begin anew: true, or a list of the names of the work that is to be done again.
FRESH_START = "async_fresh_start"


@asynccontextmanager
async def resuming(context: Mapping[str, Any]) -> AsyncIterator[None]:
    """
    Let all work in this block go on where the task's earlier tries stopped, or where its run before this one has ended.

    The former is for work with ``resume``, the latter for work with ``cursor``.
    Nothing is read, kept or set up for a task without either. After the task has succeeded, what is kept of its tries
    is removed, and what it leaves to later runs is kept.

    :param context: the task's context
    :raises AirflowConfigException: from an ``amap``, if an option of ``[async]`` is no number
    """
    attempt = _Attempt(context)
    try:
        with resuming_by(attempt.find_checkpoints), carrying_on_by(attempt.find_carryovers):
            yield
    finally:
        await attempt.aclose()


def known_state(context: Mapping[str, Any]) -> str | None:
    """
    Ask Airflow's server for the state of a task instance.

    :param context: the task's context
    :raises AirflowRuntimeError: if it does not say
    :return: such as ``success``; None if it knows none
    """
    ti = context["ti"]
    found = ti.get_task_states(dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index)
    return next(iter(found.get(ti.run_id, {}).values()), None)


class _Attempt:
    """
    What one try of a task keeps, made when it is first asked for.

    :param context: the task's context
    """

    def __init__(self, context: Mapping[str, Any]) -> None:
        self._context = context
        self._checkpoints: Checkpoints | None = None
        self._carryovers: Carryovers | None = None

    def find_checkpoints(self) -> Checkpoints:
        """Return those by which the task's work resumes."""
        if self._checkpoints is None:
            self._checkpoints = _checkpoints_of(self._context)
            self._settle_at_success()
        return self._checkpoints

    def find_carryovers(self) -> Carryovers:
        """Return what the task's run goes on from."""
        if self._carryovers is None:
            self._carryovers = _carryovers_of(self._context)
            self._settle_at_success()
        return self._carryovers

    async def aclose(self) -> None:
        """Save what is not saved yet."""
        if self._checkpoints is not None:
            await self._checkpoints.aclose()

    async def settle(self) -> None:
        """Keep what is left to later runs, and then remove what the tries of this one needed."""
        if self._carryovers is not None:
            await self._carryovers.commit()
        if self._checkpoints is not None:
            await self._checkpoints.remove()

    def is_known_to_have_succeeded(self) -> bool:
        """Ask Airflow's server whether the task has succeeded."""
        try:
            return known_state(self._context) == "success"
        except Exception as error:  # noqa: BLE001 - whatever the reason, it is not known
            log.warning("Airflow's server does not say whether the task has succeeded: %s", error)
            return False

    def _settle_at_success(self) -> None:
        task = self._context["ti"].task
        # A new list: the task may be a copy that shares its lists with the task that the DAG has. And under dag.test()
        # the task may be the one that has run before.
        others = [callback for callback in task.on_success_callback if not isinstance(callback, _AtSuccess)]
        task.on_success_callback = [*others, _AtSuccess(self)]


def _checkpoints_of(context: Mapping[str, Any]) -> Checkpoints:
    from airflow.configuration import conf

    ti = context["ti"]
    name = TaskInstanceName(ti.dag_id, ti.run_id, ti.task_id, _map_index(ti))
    return Checkpoints(
        find_store(name, context),
        identity="/".join(name.segments()),
        attempt=ti.try_number,
        save_seconds=conf.getfloat("async", "checkpoint_seconds", fallback=CHECKPOINT_SECONDS),
        patience_seconds=conf.getfloat("async", "checkpoint_patience_seconds", fallback=PATIENCE_SECONDS),
        is_first=compat.is_first_start(context),
        fresh=_fresh_start(context),
    )


def _carryovers_of(context: Mapping[str, Any]) -> Carryovers:
    ti = context["ti"]
    name = TaskName(ti.dag_id, ti.task_id, _map_index(ti))
    return Carryovers(
        find_cursor_store(name),
        identity="/".join(name.segments()),
        place=compat.run_place(context),
        fresh=_fresh_start(context),
    )


def _map_index(ti: Any) -> int:  # noqa: ANN401 - Airflow's task instance
    return -1 if ti.map_index is None else ti.map_index


def _fresh_start(context: Mapping[str, Any]) -> bool | Collection[str]:
    conf = getattr(context.get("dag_run"), "conf", None)
    wish = conf.get(FRESH_START) if isinstance(conf, Mapping) else None
    if wish is None or isinstance(wish, bool):
        return bool(wish)
    if isinstance(wish, list) and all(isinstance(name, str) for name in wish):
        return wish
    raise ValueError(f"{FRESH_START} in the DAG run's conf must be true or a list of names, not {wish!r}")


class _AtSuccess:
    """
    A callback of a task that succeeds, which core calls when the result is pushed and the success is reported.

    From Airflow 3.2 on, core calls it even if the report has failed: then the task is tried again.

    :param attempt: the try that succeeds
    """

    def __init__(self, attempt: _Attempt) -> None:
        self._attempt = attempt

    def __call__(self, _context: object) -> None:
        try:
            with one_request_at_a_time():
                if is_supervised() and not self._attempt.is_known_to_have_succeeded():
                    log.warning("what was done is kept: Airflow does not know that this try has succeeded")
                else:
                    asyncio.run(self._attempt.settle())
        except Exception:
            log.exception("cursors could not be kept, or checkpoints could not be removed")
