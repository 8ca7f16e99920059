# SPDX-License-Identifier: Apache-2.0
"""The example DAGs for Graph's deltas and files, on real Airflow processes, with tokens from an Entra server."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.testing.msgraph import error
from airflow_provider_async.testing.msgraph.paging import selected
from system_tests.support.graph import WITHIN_SECONDS, finish, run, serving_graph
from tests.msgraph.server import make_users

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_async.testing.msgraph import GraphServer
    from system_tests.support.airflow import Airflow
    from system_tests.support.client import TaskInstance

# Airflow's start is part of the first one's time.
pytestmark = pytest.mark.timeout(900)

USERS = 1234
FILES = 10_000
REFUSED = 5_000
IN_FLIGHT = 32


@pytest.fixture(scope="module")
def server(airflow: Airflow) -> Iterator[GraphServer]:
    with serving_graph(airflow) as running:
        airflow.wait_for_dags("follow_users", "download_drive")
        yield running


def test_each_run_reads_what_has_changed_since_the_last_one(
    airflow: Airflow, server: GraphServer, tmp_path: Path
) -> None:
    users = server.collection("users", make_users(USERS))
    deltas = server.deltas
    deltas.page_size = 100
    conf = {"database": str(tmp_path / "users.db")}

    def follow() -> tuple[TaskInstance, int]:
        task = run(airflow, "follow_users", conf)
        return task, airflow.client.returned(task)

    def table() -> dict[str, dict[str, Any]]:
        with closing(sqlite3.connect(conf["database"])) as connection:
            return {row: json.loads(text) for row, text in connection.execute("SELECT id, document FROM users")}

    def followed() -> dict[str, dict[str, Any]]:
        return {user["id"]: selected(user, "displayName,mail") for user in users}

    def asked_since(number: int) -> list[str | None]:
        return [request.query.get("$deltatoken") for request in server.requests("/users/delta")[number:]]

    first, count = follow()
    assert count == USERS
    assert table() == followed()

    users[7]["displayName"] = "changed"
    del users[8]
    users.append({"id": "new", "displayName": "new"})
    _, count = follow()
    assert count == 3
    assert table() == followed()
    newest = max(deltas.snapshots, key=lambda key: int(key.removeprefix("since").removeprefix("rest")))

    # A run that is done again begins where it began, and leaves what newer runs have left.
    seen = len(server.requests("/users/delta"))
    airflow.client.clear(first)
    airflow.wait_for(
        "the cleared task to begin", lambda: len(server.requests("/users/delta")) > seen, timeout_seconds=WITHIN_SECONDS
    )
    again = finish(airflow, first.dag_id, first.run_id)
    assert airflow.client.returned(again) == USERS
    assert asked_since(seen)[0] is None
    seen = len(server.requests("/users/delta"))
    assert follow()[1] == 0
    assert asked_since(seen) == [newest]

    # The link expires, and a page is refused on the way.
    deltas.expire()
    server.fail("/users/delta", *[None] * 7, error(403, "Authorization_RequestDenied"))
    del users[:10]
    seen = len(server.requests("/users/delta"))
    task, count = follow()
    assert task.try_number == 2
    assert count == len(users)
    assert table() == followed()
    # What was expired, thirteen pages, the one that was refused and perhaps one that was fetched ahead of it.
    assert 15 <= len(asked_since(seen)) <= 16
    assert follow()[1] == 0


def test_ten_thousand_files_come_once_and_the_next_try_goes_on(
    airflow: Airflow, server: GraphServer, tmp_path: Path
) -> None:
    drive = server.drive
    contents = {f"{number}.csv": f"{number};{number * 7}\n".encode() * 9 for number in range(FILES)}
    for name, content in contents.items():
        drive.add(name, content)
    drive.has_folder = True
    server.fail(f"/public/content/key{REFUSED}", error(400, "invalidRequest"))

    task = run(airflow, "download_drive", {"folder": str(tmp_path / "files")})

    assert task.try_number == 2
    assert airflow.client.returned(task) == FILES
    assert {path.name: path.read_bytes() for path in (tmp_path / "files").iterdir()} == contents
    downloads = [request for request in server.seen if request.path.startswith("/public/content/")]
    assert FILES < len(downloads) <= FILES + 2 * IN_FLIGHT
