# SPDX-License-Identifier: Apache-2.0
"""Mapped tasks share the files of a real sshd: each file once, and no more connections than the server's limit."""

from __future__ import annotations

import getpass
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.example_dags.demo.files import make_order
from airflow_provider_async.example_dags.orders import select
from airflow_provider_async.testing.threads import running_in_a_thread
from system_tests.support.client import RUN_ENDED
from system_tests.support.ledger import Ledger
from system_tests.support.shard_plan import FAILS_AFTER, FAILS_AT
from tests.servers.sftp import Proxy, Sshd, make_key, write_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from system_tests.support.airflow import Airflow
    from system_tests.support.client import TaskInstance

# Airflow's start is part of the first one's time.
pytestmark = pytest.mark.timeout(600)

WITHIN_SECONDS = 240

PARTS = 4
FILES = 2400
MAX_CONNECTIONS = 6


@pytest.fixture(scope="module")
def server(sshd: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("shards")
    running = Sshd(sshd, folder, host_key=make_key(folder, "host"), user_key=make_key(folder, "user"))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def line(airflow: Airflow, server: Sshd) -> Iterator[Proxy]:
    """Count the connections on the way to the server, which two Connections name."""
    proxy = Proxy(server.port)
    with running_in_a_thread(proxy.running()):
        extra = {**server.connection().extra_dejson, "max_connections": MAX_CONNECTIONS}
        airflow.client.create_connections(
            [
                {
                    "connection_id": name,
                    "conn_type": "sftp",
                    "host": "127.0.0.1",
                    "port": proxy.port,
                    "login": getpass.getuser(),
                    "extra": json.dumps(extra),
                }
                for name in ("sftp_shared", "sftp_default")
            ]
        )
        airflow.wait_for_dags("share_files", "load_orders_in_shards")
        yield proxy


def run(airflow: Airflow, dag_id: str, conf: dict[str, object]) -> list[TaskInstance]:
    """Run a DAG, and return its mapped tasks in their order when it has ended."""
    run_id = airflow.client.trigger(dag_id, conf)
    airflow.wait_for(
        f"the end of {dag_id}",
        lambda: airflow.client.run_state(dag_id, run_id) in RUN_ENDED,
        timeout_seconds=WITHIN_SECONDS,
    )
    tasks = airflow.client.task_instances(dag_id, run_id)
    for task in tasks:
        assert task.state == "success", airflow.client.log(task).text
    return sorted((task for task in tasks if task.task_id == "load"), key=lambda task: task.map_index)


def test_each_file_is_read_once_and_a_task_that_failed_goes_on_where_it_was(
    airflow: Airflow, server: Sshd, line: Proxy, tmp_path: Path
) -> None:
    paths = write_files(server.files, FILES)
    ledger = Ledger(tmp_path / "ledger.db")

    tasks = run(
        airflow, "share_files", {"folder": str(server.files), "ledger": str(tmp_path / "ledger.db"), "parts": PARTS}
    )

    assert [task.map_index for task in tasks] == list(range(PARTS))
    assert [task.try_number for task in tasks] == [2 if at == FAILS_AT else 1 for at in range(PARTS)]
    returned = [airflow.client.returned(task) for task in tasks]
    assert [one["index"] for one in returned] == list(range(PARTS))
    assert [one["done"] for one in returned] == [FILES // PARTS] * PARTS
    assert [one["resumed"] for one in returned] == [FAILS_AFTER if at == FAILS_AT else 0 for at in range(PARTS)]
    rows = ledger.rows()
    assert Counter(row.path for row in rows) == Counter(paths)
    assert Counter(row.map_index for row in rows) == dict.fromkeys(range(PARTS), FILES // PARTS)
    assert 1 <= line.most_connections <= MAX_CONNECTIONS


def test_the_example_loads_every_order(airflow: Airflow, server: Sshd, line: Proxy, tmp_path: Path) -> None:
    folder = server.files / "orders"
    folder.mkdir()
    orders = [make_order(number) for number in range(500)]
    for order in orders:
        (folder / order.name).write_bytes(order.document)

    tasks = run(airflow, "load_orders_in_shards", {"folder": str(folder), "database": str(tmp_path / "orders.db")})

    assert len(tasks) == PARTS
    assert sum(airflow.client.returned(task) for task in tasks) == 500
    assert select(str(tmp_path / "orders.db")) == {line for order in orders for line in order.lines}
    assert line.most_connections <= MAX_CONNECTIONS
