# SPDX-License-Identifier: Apache-2.0
"""Every hazard under ``@task.async_python``: SYSTEM_TEST_RUNS=3 runs them all three times."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from system_tests.hazards import HAZARDS, OURS, parse_version
from system_tests.support.hazard_run import HazardRun

if TYPE_CHECKING:
    from pathlib import Path

    from system_tests.support.airflow import Airflow
    from system_tests.support.outcomes import Outcome
    from system_tests.support.results import Results

# The first test of each run waits for all of its tasks.
pytestmark = pytest.mark.timeout(900)

VERSION = parse_version(version("apache-airflow-core"))
RUNS = int(os.environ.get("SYSTEM_TEST_RUNS", "1"))


@pytest.fixture(scope="session", params=range(1, RUNS + 1), ids=lambda number: f"run-{number}")
def outcomes(airflow: Airflow, marks_folder: Path, results: Results) -> dict[str, Outcome]:
    """Run the DAG of all hazards and give what became of each."""
    airflow.wait_for_dags(f"hazards_{OURS}")
    found = HazardRun(airflow, OURS, marks_folder).run()
    results.add(OURS, found)
    return found


@pytest.mark.parametrize("name", [hazard.name for hazard in HAZARDS.values() if hazard.runs_on(VERSION, OURS)])
def test_the_task_ends_as_it_should(name: str, outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[name]

    if outcome.shortcomings:
        details = "\n".join(shortcoming.detail for shortcoming in outcome.shortcomings)
        pytest.fail(f"{HAZARDS[name].title}\n{details}\n--- its log\n{outcome.log}", pytrace=False)
