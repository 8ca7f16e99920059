# SPDX-License-Identifier: Apache-2.0
"""Some hazards one after the other in one process: ``python in_process.py``, or ``airflow tasks test in_process``."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path

from airflow.sdk import DAG, task

from system_tests.hazards import HAZARDS
from system_tests.hazards.kit import SHORT_SECONDS, check, mark

DURING_A_TASK = (
    "background_task",
    "threads_beside_coroutines",
    "sync_variable_in_loop",
    "cancelled_waiters",
    "xcoms_from_coroutines",
    "timeout_with_children",
    "exception_group",
)
"""Hazards that are run before it is looked whether anything of them is left."""

turns: list[float] = []


@task.async_python
async def leave_behind() -> None:
    """Leave a coroutine behind that would run on in the loop of the next task."""

    async def turn() -> None:
        while True:
            turns.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0)

    background = asyncio.create_task(turn())
    await asyncio.sleep(SHORT_SECONDS)
    check(background.done(), expected=False)


@task.async_python(trigger_rule="all_done")
async def find_nothing() -> None:
    """Check that nothing of the tasks before runs on."""
    number = len(turns)
    await asyncio.sleep(SHORT_SECONDS)
    check(number > 0, expected=True)
    check(len(turns), number)
    check(len(asyncio.all_tasks()), 1)
    mark("found_nothing")


with DAG("in_process", schedule=None, start_date=datetime(2026, 1, 1)) as dag:  # noqa: DTZ001 - Airflow's own zone
    hazards = [
        task.async_python(task_id=name, trigger_rule="all_done", **HAZARDS[name].arguments)(HAZARDS[name].body)()
        for name in DURING_A_TASK
    ]
    before = leave_behind()
    for after in [*hazards, find_nothing()]:
        before >> after
        before = after


if __name__ == "__main__":
    run = dag.test()
    states = {instance.task_id: instance.state for instance in run.get_task_instances()}
    Path("states.json").write_text(json.dumps(states))
