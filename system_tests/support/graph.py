# SPDX-License-Identifier: Apache-2.0
"""A Graph server beside real Airflow processes, and runs of DAGs that ask it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_async.testing.msgraph import GraphServer
from airflow_provider_async.testing.threads import running_in_a_thread
from system_tests.support.client import RUN_ENDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from system_tests.support.airflow import Airflow
    from system_tests.support.client import TaskInstance

WITHIN_SECONDS = 300


@contextmanager
def serving_graph(airflow: Airflow) -> Iterator[GraphServer]:
    """Serve Graph to a Connection that Airflow's own provider would read as well."""
    with running_in_a_thread(GraphServer().running()) as running:
        fields = running.connection()
        connection = {
            "connection_id": "msgraph_default",
            "conn_type": "msgraph",
            "schema": fields.schema,
            "host": fields.host,
            "port": fields.port,
            "login": fields.login,
            "password": fields.password,
            "extra": json.dumps(fields.extra_dejson),
        }
        airflow.client.create_connections([connection])
        yield running
        assert running.entra.asked


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
