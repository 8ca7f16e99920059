# SPDX-License-Identifier: Apache-2.0
"""The same hazards under core's ``@task``: what becomes of them is recorded for the documentation, not asserted."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest

from system_tests.hazards import CORE, CORE_SINCE, HAZARDS, parse_version
from system_tests.support.hazard_run import HazardRun

if TYPE_CHECKING:
    from pathlib import Path

    from system_tests.support.airflow import Airflow
    from system_tests.support.results import Results

pytestmark = pytest.mark.timeout(900)

VERSION = parse_version(version("apache-airflow-core"))


@pytest.mark.skipif(VERSION < CORE_SINCE, reason="core's @task runs no coroutines before Airflow 3.2")
def test_every_hazard_is_measured(airflow: Airflow, marks_folder: Path, results: Results) -> None:
    airflow.wait_for_dags(f"hazards_{CORE}")

    outcomes = HazardRun(airflow, CORE, marks_folder).run()

    assert outcomes.keys() == {hazard.name for hazard in HAZARDS.values() if hazard.runs_on(VERSION, CORE)}
    results.add(CORE, outcomes)
