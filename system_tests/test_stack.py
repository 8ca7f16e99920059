# SPDX-License-Identifier: Apache-2.0
"""
Work that several workers share, on Airflow as it is in production: PostgreSQL, Redis, two Celery workers, no triggerer.

The tests of the example DAGs in other files run on the same stack. ``-m "not long"`` leaves out other executors, and
most of the files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from airflow_provider_async.example_dags.demo.files import make_order
from airflow_provider_async.example_dags.orders import select
from airflow_provider_async.testing.threads import running_in_a_thread
from system_tests.conftest import DAGS
from system_tests.support.airflow import START_SECONDS
from system_tests.support.client import RUN_ENDED
from system_tests.support.hosts import COMPONENT
from system_tests.support.processes import Component, find_processes, kill_all
from system_tests.support.stack import EDGE, LOCAL, WORKERS, running_stack
from system_tests.support.stack_plan import LARGE_BYTES, NEEDLE, PARTS, Plan
from system_tests.support.stack_run import MAX_CONNECTIONS, WITHIN_SECONDS, Files, LoadRun, serving
from tests.servers.postfix import postfix

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from system_tests.support.services import Postgres
    from system_tests.support.stack import Stack

# The start of Airflow is part of the first one's time.
pytestmark = pytest.mark.timeout(600)

SOME, MANY = 2_000, 17_000
CUSTOMERS = 300

TESTS_OF_EXAMPLES = ("test_http.py", "test_msgraph.py", "test_msgraph_many.py", "test_shards.py", "test_smtp.py")
LONG_EXAMPLES = {"tell_of_failures"}

DAG_IDS = ("stack_load", "stack_large_result")


@pytest.fixture(scope="module", params=[SOME, pytest.param(MANY, marks=pytest.mark.long)], ids=["some", "many"])
def files(request: pytest.FixtureRequest, sshd: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with serving(sshd, tmp_path_factory.mktemp("files"), request.param) as running:
        yield running


def load(stack: Stack, files: Files, warehouse: str) -> LoadRun:
    """Load all files in shards, each exactly once, over no more connections than the server takes."""
    stack.airflow.client.create_connections([files.connection()])
    stack.airflow.wait_for_dags(*DAG_IDS)
    run = LoadRun(stack.airflow, "load", Plan(warehouse=warehouse, folder=str(files.folder)))
    run.wait_for_state("success")

    run.check_that_all_was_loaded(files)
    assert run.twice() == 0
    assert [task.try_number for task in run.tasks()] == [1] * PARTS
    assert sum(stack.airflow.client.returned(task)["done"] for task in run.tasks()) == len(files.digests())
    assert 1 <= files.line.most_connections <= MAX_CONNECTIONS
    return run


def test_workers_share_files_and_load_each_of_them_once(stack: Stack, files: Files) -> None:
    run = load(stack, files, stack.warehouse_url)

    assert run.hosts() == set(WORKERS)
    assert {task.hostname for task in run.tasks()} == set(WORKERS)


def test_a_large_result_is_in_object_storage_and_nowhere_else(stack: Stack) -> None:
    stack.airflow.wait_for_dags(*DAG_IDS)
    run = LoadRun(stack.airflow, "large_result", Plan(warehouse=stack.warehouse_url, folder=""))
    run.wait_for_state("success")

    (take,) = run.tasks("take")
    whole = (NEEDLE * (LARGE_BYTES // len(NEEDLE) + 1))[:LARGE_BYTES]
    assert stack.airflow.client.returned(take) == {"digest": hashlib.sha256(whole.encode()).hexdigest()}
    stored = [path for path in stack.xcoms.rglob("*") if path.is_file() and NEEDLE in path.read_text()]
    assert [path.stat().st_size // LARGE_BYTES for path in stored] == [1]
    dump = stack.postgres.dump(stack.metadata)
    assert run.run_id in dump
    # Of the dump, each line is a row: "INSERT INTO public.xcom VALUES (...".
    assert {line.split("(")[0] for line in dump.splitlines() if NEEDLE in line} == set()
    logs = [path for path in stack.airflow.home.rglob("*.log") if path.is_file()]
    assert any(run.run_id in str(path) for path in logs)
    assert not [path for path in logs if NEEDLE in path.read_text(errors="replace")]


def test_the_example_for_sftp_loads_every_order(
    stack: Stack, sshd: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("orders")
    database = str(folder / "orders.db")
    orders = [make_order(number) for number in range(500)]
    with serving(sshd, folder, 0) as files:
        for order in orders:
            (files.folder / order.name).write_bytes(order.document)
        client = stack.airflow.client
        client.create_connections([files.connection() | {"connection_id": "sftp_default"}])
        stack.airflow.wait_for_dags("load_orders")
        run_id = client.trigger("load_orders", {"folder": str(files.folder), "database": database})
        stack.airflow.wait_for(
            "the end of load_orders",
            lambda: client.run_state("load_orders", run_id) in RUN_ENDED,
            timeout_seconds=WITHIN_SECONDS,
        )

    (task,) = client.task_instances("load_orders", run_id)
    assert task.state == "success", client.log(task).text
    assert select(database) == {line for order in orders for line in order.lines}


def test_a_real_mail_server_takes_a_mail_for_each_customer(stack: Stack) -> None:
    client = stack.airflow.client
    with running_in_a_thread(postfix()) as server:
        extra = '{"disable_ssl": true, "disable_tls": true, "from_email": "shop@example.com"}'
        connection = {"connection_id": "smtp_default", "conn_type": "smtp", "host": "127.0.0.1", "port": server.port}
        client.create_connections([connection | {"extra": extra}])
        stack.airflow.wait_for_dags("send_statements")
        run_id = client.trigger("send_statements", {"customers": CUSTOMERS})
        stack.airflow.wait_for(
            "the end of all mails",
            lambda: (
                server.log.count("status=sent") >= CUSTOMERS
                and client.run_state("send_statements", run_id) in RUN_ENDED
            ),
            timeout_seconds=WITHIN_SECONDS,
        )
        log = server.log

    (task,) = client.task_instances("send_statements", run_id)
    assert client.returned(task)["sent"] == CUSTOMERS
    sent = [line.partition(" to=<")[2].partition(">")[0] for line in log.splitlines() if "status=sent" in line]
    assert sorted(sent) == sorted(f"customer{number}@example.com" for number in range(CUSTOMERS))


def test_every_example_has_run_on_the_stack(request: pytest.FixtureRequest, stack: Stack) -> None:
    # Their tests have run before this one, by the names of their files, unless somebody chose others.
    chosen = {item.path.name for item in request.session.items}
    if request.config.getoption("keyword") or not chosen.issuperset(TESTS_OF_EXAMPLES):
        pytest.skip("only some of the tests were chosen")
    client = stack.airflow.client

    examples = client.dag_ids(tags="example")

    assert examples
    not_run = {dag_id for dag_id in examples if not RUN_ENDED.intersection(client.run_states(dag_id))}
    assert not_run <= (LONG_EXAMPLES if request.config.getoption("markexpr") else set())


@pytest.mark.long
def test_slots_of_the_scheduler_share_files(postgres: Postgres, files: Files) -> None:
    with running_stack(DAGS, postgres, executor=LOCAL) as stack:
        run = load(stack, files, stack.warehouse_url)

        assert run.hosts() == {"scheduler"}


# --- Edge -------------------------------------------------------------------------------------------------------------

EDGE_HOST = "edge-1"


@contextmanager
def edge_worker(stack: Stack, folder: Path) -> Iterator[Component]:
    """Run a worker as on another machine: it knows the API server, a secret and the DAG files, and no database."""
    central = stack.airflow.environment
    shutil.copytree(DAGS, folder / "dags")
    names = [
        "AIRFLOW__API_AUTH__JWT_SECRET",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
        "AIRFLOW__CORE__EXECUTOR",
        "AIRFLOW__CORE__HOSTNAME_CALLABLE",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL",
        "NO_PROXY",
        "PYTHONPATH",
        *(name for name in central if name.startswith("AIRFLOW__EDGE__")),
    ]
    own = {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "HOME": str(folder),
        "PATH": os.environ.get("PATH", os.defpath),
        COMPONENT: EDGE_HOST,
    }
    worker = Component(
        EDGE_HOST,
        [sys.executable, "-m", "airflow", "edge", "worker", "--edge-hostname", EDGE_HOST, "--concurrency", "4"],
        environment={name: central[name] for name in names} | own,
        log=folder / "worker.log",
    )
    worker.start()
    try:
        yield worker
    finally:
        worker.terminate()
        try:
            worker.wait(START_SECONDS)
        finally:
            kill_all(find_processes(folder))


@pytest.mark.long
def test_a_worker_without_a_database_loads_files(
    postgres: Postgres, files: Files, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("edge").resolve()
    peers: set[int] = set()
    with running_stack(DAGS, postgres, executor=EDGE) as stack, edge_worker(stack, folder) as worker:

        def note_peers() -> bool:
            worker.check()
            for process in find_processes(folder):
                with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
                    found = process.net_connections("tcp")
                    peers.update(each.raddr.port for each in found if each.status == psutil.CONN_ESTABLISHED)
            tasks = run.tasks()
            return len(tasks) == PARTS and all(task.has_ended for task in tasks)

        client = stack.airflow.client
        client.create_connections([files.connection()])
        stack.airflow.wait_for_dags(*DAG_IDS)
        warehouse = f"sqlite:///{folder}/warehouse.db?timeout=60"
        run = LoadRun(stack.airflow, "load", Plan(warehouse=warehouse, folder=str(files.folder)))
        run.wait_for("the end of all shards", note_peers)
        run.wait_for_state("success")

        run.check_that_all_was_loaded(files)
        assert run.twice() == 0
        assert run.hosts() == {EDGE_HOST}
        assert peers == {stack.airflow.port, files.line.port}
