# SPDX-License-Identifier: Apache-2.0
"""``dag.test()`` and ``airflow tasks test``, which run tasks in their own process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from system_tests.conftest import DAGS
from system_tests.hazards import HAZARDS

if TYPE_CHECKING:
    from pathlib import Path

    from system_tests.support.airflow import Airflow

pytestmark = pytest.mark.timeout(900)


def names_of_marks(marks_folder: Path) -> set[str]:
    return {path.name for path in marks_folder.glob("in_process/*/*/*/*")}


def test_dag_test_leaves_nothing_of_a_task_to_the_next(airflow: Airflow, marks_folder: Path) -> None:
    airflow.run_python(str(DAGS / "in_process.py"), timeout_seconds=180)

    states = json.loads((airflow.home / "states.json").read_text())
    expected = {name: HAZARDS[name].state for name in states if name in HAZARDS}
    assert states == expected | {"leave_behind": "success", "find_nothing": "success"}
    assert {"cleaned_up", "cleaned_up_1", "cleaned_up_2", "found_nothing"} <= names_of_marks(marks_folder)


@pytest.mark.parametrize("name", ["threads_beside_coroutines", "xcoms_from_coroutines"])
def test_tasks_test_runs_a_task(name: str, airflow: Airflow) -> None:
    output = airflow.run_command("tasks", "test", "in_process", name, timeout_seconds=120)

    assert "Done. Returned value was: None" in output
