# SPDX-License-Identifier: Apache-2.0
"""``dag.test()`` and ``airflow tasks test``, which run tasks in their own process."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from system_tests.conftest import DAGS
from system_tests.hazards import HAZARDS

if TYPE_CHECKING:
    from pathlib import Path

    from system_tests.support.airflow import Airflow

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def settings(airflow: Airflow, tmp_path: Path) -> dict[str, str]:
    """Give settings for a copy of the running Airflow's database: its scheduler would run the same tasks, too."""
    copy = tmp_path / "airflow.db"
    with closing(sqlite3.connect(airflow.home / "airflow.db")) as running, closing(sqlite3.connect(copy)) as copied:
        running.backup(copied)
    return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{copy}"}


def test_dag_test_leaves_nothing_of_a_task_to_the_next(
    airflow: Airflow, settings: dict[str, str], marks_folder: Path
) -> None:
    output = airflow.run_python(str(DAGS / "in_process.py"), timeout_seconds=180, settings=settings)

    states = json.loads((airflow.home / "states.json").read_text())
    expected = {name: HAZARDS[name].state for name in states if name in HAZARDS}
    assert states == expected | {"leave_behind": "success", "find_nothing": "success"}, output
    marks = {path.name for path in marks_folder.glob("in_process/*/*/*/*")}
    assert {"cleaned_up", "cleaned_up_1", "cleaned_up_2", "found_nothing"} <= marks


def test_tasks_test_runs_a_task(airflow: Airflow, settings: dict[str, str]) -> None:
    arguments = ("tasks", "test", "in_process", "threads_beside_coroutines")

    output = airflow.run_command(*arguments, timeout_seconds=180, settings=settings)

    assert "Done. Returned value was: None" in output
