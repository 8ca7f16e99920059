# SPDX-License-Identifier: Apache-2.0
"""What judges and keeps the results of the system tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from system_tests.hazard_table import GOOD, Column
from system_tests.hazards import CORE, HAZARDS, OURS
from system_tests.support.client import TaskLog
from system_tests.support.outcomes import Observation, Outcome, Shortcoming, judge
from system_tests.support.results import Results

if TYPE_CHECKING:
    from pathlib import Path

HAZARD = HAZARDS["timeout_sleeping"]
ERROR = {"exc_type": "AirflowTaskTimeout", "exc_value": "", "frames": []}
LOG = TaskLog(({"event": "Task failed with exception", "error_detail": [ERROR]},))


def seen(**changes: object) -> Observation:
    observation = Observation(states={"failed"}, tries=1, seconds=3.0, marks=set(HAZARD.marks))
    for name, value in changes.items():
        setattr(observation, name, value)
    return observation


def test_what_is_as_it_should_be_has_no_shortcomings() -> None:
    assert judge(HAZARD, seen(), LOG).shortcomings == []


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        ({"states": {"success"}}, "success"),
        ({"tries": 2}, "2 tries"),
        ({"hung": True}, "hangs"),
        ({"lingered": True}, "process stays"),
        ({"stop_seconds": 5.5}, "too late"),
        ({"marks": set()}, "no clean-up"),
        ({"marks": {"cleaned_up"}}, "no callback"),
        ({"marks": {*HAZARD.marks, "slept_on"}}, "goes on"),
    ],
)
def test_what_is_not_as_it_should_be_is_named(changes: dict[str, object], short: str) -> None:
    assert [found.short for found in judge(HAZARD, seen(**changes), LOG).shortcomings] == [short]


def test_a_line_that_the_log_lacks_is_named() -> None:
    (found,) = judge(HAZARD, seen(), TaskLog(())).shortcomings

    assert found.short == "not in the log"


def test_results_of_a_decorator_that_was_not_run_again_are_kept(tmp_path: Path) -> None:
    bad = Outcome(HAZARD.name, 2.0, [Shortcoming("hangs", "It hung.")], "")
    good = Outcome(HAZARD.name, 1.0, [], "")
    for flavour, outcome in ((CORE, bad), (OURS, bad), (OURS, good)):
        results = Results("3.10.1")
        results.add(flavour, {HAZARD.name: outcome})
        results.save(tmp_path)
    Results("3.9.2").save(tmp_path)

    loaded = Results.load_all(tmp_path)

    assert list(loaded) == ["3.9.2", "3.10.1"]
    runs = loaded["3.10.1"].runs
    assert {flavour: Column(flavour, "3.10.1", "", runs[flavour]).cell(HAZARD) for flavour in runs} == {
        CORE: "hangs",
        OURS: GOOD,
    }


def test_a_shortcoming_of_some_runs_is_counted() -> None:
    results = Results("3.3.2")
    for shortcomings in ([], [Shortcoming("hangs", "It hung.")], []):
        results.add(OURS, {HAZARD.name: Outcome(HAZARD.name, 1.0, shortcomings, "")})

    assert Column(OURS, "3.3.2", "", results.runs[OURS]).cell(HAZARD) == "hangs (1 of 3 runs)"
