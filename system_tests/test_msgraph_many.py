# SPDX-License-Identifier: Apache-2.0
"""The example DAGs for Graph's deltas and files, on real Airflow processes, with tokens from an Entra server."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from contextlib import AsyncExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from system_tests.support.client import RUN_ENDED
from tests.msgraph.server import graph_server
from tests.msgraph.server_core import error
from tests.msgraph.server_delta import deltas_of
from tests.msgraph.server_directory import make_users
from tests.msgraph.server_drive import drive_of
from tests.msgraph.server_entra import CLIENT_ID, SECRET, TENANT, Certificate, entra_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from system_tests.support.airflow import Airflow
    from system_tests.support.client import TaskInstance
    from tests.msgraph.server_core import GraphServer
    from tests.msgraph.server_entra import Entra

# Airflow's start is part of the first one's time.
pytestmark = pytest.mark.timeout(900)

WITHIN_SECONDS = 300

USERS = 1234
FILES = 10_000
REFUSED = 5_000
IN_FLIGHT = 32


@contextmanager
def running_in_a_thread(folder: Path) -> Iterator[tuple[GraphServer, Entra]]:
    """Run the servers beside the test, which waits for Airflow meanwhile."""
    stack = AsyncExitStack()

    async def start() -> tuple[GraphServer, Entra]:
        server = await stack.enter_async_context(graph_server())
        tls = Certificate.make().context(folder)
        return server, await stack.enter_async_context(entra_server(server.tokens, tls=tls))

    with asyncio.Runner() as runner:
        servers = runner.run(start())
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, name="graph server")
        thread.start()
        try:
            yield servers
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            runner.run(stack.aclose())


@pytest.fixture(scope="module")
def server(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GraphServer]:
    """Serve Graph to a Connection that Airflow's own provider would read as well."""
    folder = tmp_path_factory.mktemp("entra")
    with running_in_a_thread(folder) as (running, entra):
        extra = {
            "tenant_id": TENANT,
            "authority": entra.authority,
            "verify": str(folder / "certificate.pem"),
            "disable_instance_discovery": True,
        }
        connection = {
            "connection_id": "msgraph_default",
            "conn_type": "msgraph",
            "schema": "http",
            "host": "127.0.0.1",
            "port": running.port,
            "login": CLIENT_ID,
            "password": SECRET,
            "extra": json.dumps(extra),
        }
        airflow.client.create_connections([connection])
        airflow.wait_for_dags("follow_users", "download_drive")
        yield running
        assert entra.asked


def finish(airflow: Airflow, dag_id: str, run_id: str) -> TaskInstance:
    """Wait for the end of a run, and return its one task, which has succeeded."""
    airflow.wait_for(
        f"the end of {dag_id}",
        lambda: airflow.client.run_state(dag_id, run_id) in RUN_ENDED,
        timeout_seconds=WITHIN_SECONDS,
    )
    (task,) = airflow.client.task_instances(dag_id, run_id)
    assert task.state == "success", airflow.client.log(task).text
    return task


def run(airflow: Airflow, dag_id: str, conf: Mapping[str, object]) -> TaskInstance:
    return finish(airflow, dag_id, airflow.client.trigger(dag_id, conf))


def test_each_run_reads_what_has_changed_since_the_last_one(
    airflow: Airflow, server: GraphServer, tmp_path: Path
) -> None:
    users: list[dict[str, Any]] = make_users(USERS)
    server.data["users"] = users
    deltas = deltas_of(server)
    deltas.page_size = 100
    conf = {"database": str(tmp_path / "users.db")}

    def follow() -> tuple[TaskInstance, int]:
        task = run(airflow, "follow_users", conf)
        return task, airflow.client.returned(task)

    def table() -> dict[str, dict[str, Any]]:
        with closing(sqlite3.connect(conf["database"])) as connection:
            return {row: json.loads(text) for row, text in connection.execute("SELECT id, document FROM users")}

    def asked_since(number: int) -> list[str | None]:
        return [request.query.get("$deltatoken") for request in server.requests("/users/delta")[number:]]

    first, count = follow()
    assert count == USERS
    assert table() == {user["id"]: user for user in users}

    users[7]["displayName"] = "changed"
    del users[8]
    users.append({"id": "new", "displayName": "new"})
    _, count = follow()
    assert count == 3
    assert table() == {user["id"]: user for user in users}
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
    assert table() == {user["id"]: user for user in users}
    # What was expired, thirteen pages, the one that was refused and perhaps one that was fetched ahead of it.
    assert 15 <= len(asked_since(seen)) <= 16
    assert follow()[1] == 0


def test_ten_thousand_files_come_once_and_the_next_try_goes_on(
    airflow: Airflow, server: GraphServer, tmp_path: Path
) -> None:
    drive = drive_of(server)
    contents = {f"{number}.csv": f"{number};{number * 7}\n".encode() * 9 for number in range(FILES)}
    for name, content in contents.items():
        drive.add(name, content)
    server.data["has_folder"] = True
    server.fail(f"/public/content/key{REFUSED}", error(400, "invalidRequest"))

    task = run(airflow, "download_drive", {"folder": str(tmp_path / "files")})

    assert task.try_number == 2
    assert airflow.client.returned(task) == FILES
    assert {path.name: path.read_bytes() for path in (tmp_path / "files").iterdir()} == contents
    downloads = [request for request in server.seen if request.path.startswith("/public/content/")]
    assert FILES < len(downloads) <= FILES + 2 * IN_FLIGHT
