# SPDX-License-Identifier: Apache-2.0
"""The example DAGs for HTTP, on real Airflow processes, against a server that speaks each of their schemes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.testing.threads import running_in_a_thread
from system_tests.support.client import RUN_ENDED
from tests.servers.http import Answer, HTTPServer, Request, answer_json, rows
from tests.servers.http_apis import CursorList, LinkedList, NumberedList, OffsetList, paged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from system_tests.support.airflow import Airflow
    from system_tests.support.client import TaskInstance
    from tests.servers.http import Handler

# Airflow's start is part of the first one's time.
pytestmark = pytest.mark.timeout(900)

WITHIN_SECONDS = 240

ROWS = rows(1234)
PAGES = paged(ROWS, 100)
REFUSED_PAGE = 7

# What an example fetches ahead, and a try that fails has asked for in vain.
AHEAD = {"by_offset": 8, "by_page_number": 8}


@dataclass(frozen=True)
class GraphQL:
    """A list of GraphQL: the cursor goes into the variables of the query, and is the number of the next row."""

    rows: list[dict[str, object]]

    def __call__(self, request: Request) -> Answer:
        sent = json.loads(request.body)
        start, size = int(sent["variables"]["after"] or 0), sent["variables"]["first"]
        end = start + size
        info = {"endCursor": str(end), "hasNextPage": end < len(self.rows)}
        return answer_json({"data": {"orders": {"nodes": self.rows[start:end], "pageInfo": info}}})


class RefusingOnce:
    """Answers a request with 403 when so many have been answered, and never again: no client tries that again."""

    def __init__(self, handler: Handler, after: int) -> None:
        self._handler = handler
        self._left = after

    def __call__(self, request: Request) -> Answer:
        self._left -= 1
        if self._left == -1:
            return answer_json({"error": "not today"}, status=403)
        answer = self._handler(request)
        assert isinstance(answer, Answer)
        return answer


# By the DAG's id without "load_".
SCHEMES: Mapping[str, Handler] = {
    "by_link_header": LinkedList(PAGES, form="header"),
    "by_json_link": LinkedList(PAGES),
    "by_cursor": CursorList(PAGES),
    "by_offset": OffsetList(ROWS),
    "by_page_number": NumberedList(PAGES),
    "by_body_cursor": GraphQL(ROWS),
}


@pytest.fixture(scope="module")
def server(airflow: Airflow) -> Iterator[HTTPServer]:
    """Serve each scheme under the name of its DAG, and once more with a refusal in the middle."""
    with running_in_a_thread(HTTPServer().running()) as running:
        for name, handler in SCHEMES.items():
            running.on(f"/{name}", handler)
            running.on(f"/refusing/{name}", RefusingOnce(handler, after=REFUSED_PAGE - 1))
        connection = {"connection_id": "http_default", "conn_type": "http", "host": "127.0.0.1", "port": running.port}
        airflow.client.create_connections([connection])
        airflow.wait_for_dags(*(f"load_{name}" for name in SCHEMES))
        yield running


@dataclass(frozen=True)
class Run:
    """
    A DAG run.

    :param path: where it reads
    :param database: where it writes
    """

    airflow: Airflow
    dag_id: str
    run_id: str
    path: str
    database: Path

    @property
    def has_ended(self) -> bool:
        return self.airflow.client.run_state(self.dag_id, self.run_id) in RUN_ENDED

    def task(self) -> TaskInstance:
        """Wait for its end, and return its one task, which has succeeded."""
        self.airflow.wait_for(f"the end of {self.dag_id}", lambda: self.has_ended, timeout_seconds=WITHIN_SECONDS)
        (task,) = self.airflow.client.task_instances(self.dag_id, self.run_id)
        assert task.state == "success", self.airflow.client.log(task).text
        return task

    def loaded(self) -> list[dict[str, object]]:
        with closing(sqlite3.connect(self.database)) as connection:
            return [json.loads(row) for (row,) in connection.execute("SELECT document FROM orders ORDER BY id")]


@pytest.fixture(scope="module")
def runs(airflow: Airflow, server: HTTPServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Start all runs at once, by the paths that they read."""
    folder = tmp_path_factory.mktemp("http")

    def start(name: str, path: str) -> Run:
        database = folder / f"{path.replace('/', '_')}.db"
        dag_id = f"load_{name}"
        run_id = airflow.client.trigger(dag_id, {"path": path, "database": str(database)})
        return Run(airflow, dag_id, run_id, f"/{path}", database)

    # The server counts down from the moment when it begins to serve.
    assert not server.seen
    return {path: start(name, path) for name in SCHEMES for path in (f"refusing/{name}", name)}


@pytest.mark.parametrize("name", SCHEMES)
def test_an_example_loads_all_rows(name: str, runs: dict[str, Run], server: HTTPServer, airflow: Airflow) -> None:
    run = runs[name]

    task = run.task()

    assert run.loaded() == ROWS
    assert task.try_number == 1
    assert airflow.client.returned(task) == len(ROWS)
    assert len(server.requests(run.path)) == len(PAGES)


@pytest.mark.parametrize("name", SCHEMES)
def test_an_example_goes_on_at_the_page_that_failed(
    name: str, runs: dict[str, Run], server: HTTPServer, airflow: Airflow
) -> None:
    run = runs[f"refusing/{name}"]

    task = run.task()

    assert run.loaded() == ROWS
    assert task.try_number == 2
    assert airflow.client.returned(task) == len(ROWS)
    asked = [(request.query, request.body) for request in server.requests(run.path)]
    assert asked.count(asked[0]) == 1
    assert len(PAGES) + 1 <= len(asked) <= len(PAGES) + AHEAD.get(name, 1)
