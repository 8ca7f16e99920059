# SPDX-License-Identifier: Apache-2.0
"""What talks to Airflow for the system tests, and judges and keeps their results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from system_tests.hazard_table import GOOD, Column
from system_tests.hazards import CORE, HAZARDS, OURS
from system_tests.support.client import REPEAT_SECONDS, AirflowClient, TaskInstance, TaskLog
from system_tests.support.outcomes import Observation, Outcome, Shortcoming, judge
from system_tests.support.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable
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


TASK = TaskInstance(
    dag_id="dag",
    run_id="run",
    task_id="task",
    map_index=-1,
    state="running",
    try_number=1,
    pid=None,
    started=None,
    ended=None,
)
LOCKED = httpx.Response(500, json={"detail": {"reason": "Database error"}})
DONE = httpx.Response(200, json={"task_instances": [], "total_entries": 0})


class Server:
    """Answers as it is told to, the last answer again and again, and keeps the time."""

    def __init__(self, *answers: httpx.Response, answer_seconds: float = 0.0) -> None:
        self.answers = list(answers)
        self.answer_seconds = answer_seconds
        self.requests: list[httpx.Request] = []
        self.now = 0.0
        self.client = AirflowClient(
            "http://airflow", transport=httpx.MockTransport(self.answer), clock=lambda: self.now, sleep=self.sleep
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.now += self.answer_seconds
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    "request_something",
    [
        lambda client: client.mark(TASK, "failed"),
        lambda client: client.clear(TASK),
        lambda client: client.trigger("dag"),
        lambda client: client.task_instances("dag", "run"),
    ],
    ids=["mark", "clear", "trigger", "task_instances"],
)
def test_a_request_is_repeated_while_the_database_is_locked(
    request_something: Callable[[AirflowClient], object],
) -> None:
    server = Server(LOCKED, LOCKED, DONE)

    request_something(server.client)

    assert len(server.requests) == 3
    assert len({(request.method, request.url, request.content) for request in server.requests}) == 1


def test_a_request_that_took_long_to_fail_is_repeated_too() -> None:
    server = Server(LOCKED, DONE, answer_seconds=2 * REPEAT_SECONDS)

    server.client.mark(TASK, "failed")

    assert len(server.requests) == 2


def test_a_request_that_keeps_failing_is_given_up() -> None:
    server = Server(LOCKED)

    with pytest.raises(RuntimeError, match=r"500 .*Database error"):
        server.client.mark(TASK, "failed")

    assert server.now == pytest.approx(REPEAT_SECONDS, abs=1)


def test_a_request_that_is_refused_is_not_repeated() -> None:
    server = Server(httpx.Response(404, text="no such task"))

    with pytest.raises(RuntimeError, match="404 no such task"):
        server.client.mark(TASK, "failed")

    assert len(server.requests) == 1


def test_a_run_that_was_started_although_the_server_failed_is_not_started_twice() -> None:
    server = Server(httpx.Response(502), httpx.Response(409, text="it exists"))

    run_id = server.client.trigger("dag", {"files": 3})

    bodies = [json.loads(request.content) for request in server.requests]
    assert bodies == [{"dag_run_id": run_id, "logical_date": None, "conf": {"files": 3}}] * 2
