# SPDX-License-Identifier: Apache-2.0
"""A Graph server beside real Airflow processes, and runs of DAGs that ask it."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING

from system_tests.support.client import RUN_ENDED
from tests.msgraph.server import graph_server
from tests.msgraph.server_entra import CLIENT_ID, SECRET, TENANT, Certificate, entra_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from airflow_provider_async.testing.msgraph import GraphServer
    from system_tests.support.airflow import Airflow
    from system_tests.support.client import TaskInstance
    from tests.msgraph.server_entra import FullEntra

WITHIN_SECONDS = 300


@contextmanager
def running_in_a_thread(folder: Path) -> Iterator[tuple[GraphServer, FullEntra]]:
    """Run the servers beside the test, which waits for Airflow meanwhile."""
    stack = AsyncExitStack()

    async def start() -> tuple[GraphServer, FullEntra]:
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


@contextmanager
def serving_graph(airflow: Airflow, folder: Path) -> Iterator[GraphServer]:
    """
    Serve Graph to a Connection that Airflow's own provider would read as well.

    :param folder: for Entra's certificate.
    """
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
