# SPDX-License-Identifier: Apache-2.0
"""
What `@task.async_python` costs over a plain `@task`, a trivial body each.

Core's own task runner runs the two kinds in turn, from the server's "run it" to the last callback, in this process:
starting a process is the same for both, takes a hundred times as long, and varies by more than what is measured here.
Medians are compared. What importing the decorator adds to a DAG file is measured in fresh interpreters.
Fails above 30 ms a task and 50 ms of import.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx
    from airflow.sdk import DAG
    from airflow.sdk.api.client import Client

RUNS = 200
IMPORTS = 15
LIMIT_MILLISECONDS = 30.0
IMPORT_LIMIT_MILLISECONDS = 50.0

# A DAG file has the SDK and core's decorator anyway.
IMPORT = """
import time
import airflow.providers.standard.decorators.python
started = time.perf_counter()
import airflow_provider_async.decorators
print((time.perf_counter() - started) * 1e3)
"""

NOW = "2026-01-01T00:00:00Z"


def define() -> DAG:
    """Make the two tasks."""
    from airflow.sdk import DAG, task

    from airflow_provider_async.decorators import async_python_task

    @task(show_return_value_in_logs=False)
    def plain() -> int:
        return 1

    @async_python_task(show_return_value_in_logs=False)
    async def ours() -> int:
        return 1

    with DAG("overhead", schedule=None) as dag:
        plain()
        ours()
    return dag


def answer(request: httpx.Request) -> httpx.Response:
    """Answer as the API server does, at once."""
    import httpx

    path = request.url.path
    if path.endswith("/run"):
        dag_run: dict[str, Any] = {
            "dag_id": "overhead",
            "run_id": "run",
            "run_type": "manual",
            "state": "running",
            "conf": {},
            "consumed_asset_events": [],
            "end_date": None,
            "partition_key": None,
            **dict.fromkeys(("logical_date", "data_interval_start", "data_interval_end"), NOW),
            **dict.fromkeys(("start_date", "run_after"), NOW),
        }
        context = {"dag_run": dag_run, "max_tries": 0, "should_retry": False, "task_reschedule_count": 0}
        return httpx.Response(200, json=context)
    if path.endswith("/validate-inlets-and-outlets"):
        return httpx.Response(200, json={"inactive_assets": []})
    if path.endswith(("/state", "/heartbeat")):
        return httpx.Response(204)
    return httpx.Response(200, json={"message": "ok"})


def task_milliseconds(dag: DAG, task_id: str, client: Client) -> float:
    """Run a task, and return the milliseconds that took."""
    from airflow.sdk.api.datamodels._generated import TaskInstance
    from airflow.sdk.execution_time.supervisor import run_task_in_process

    ti = TaskInstance(
        id=uuid.uuid4(),
        task_id=task_id,
        dag_id="overhead",
        run_id="run",
        try_number=1,
        map_index=-1,
        dag_version_id=uuid.uuid4(),
        hostname="localhost",
        context_carrier={},
    )
    started = time.perf_counter()
    result = run_task_in_process(ti, dag.get_task(task_id), client=client)
    took = time.perf_counter() - started
    if result.state != "success":
        raise SystemExit(f"{task_id} ended as {result.state}: {result.error!r}")
    return took * 1e3


def import_milliseconds() -> float:
    """Import the decorator in a fresh interpreter, and return the milliseconds that took."""
    command = [sys.executable, "-c", IMPORT]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main() -> int:
    """Measure, print, and return an exit code."""
    import httpx
    from airflow.sdk.api.client import Client

    dag = define()
    client = Client(base_url=None, dry_run=True, token="", transport=httpx.MockTransport(answer))
    kinds = ["plain", "ours"]
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(RUNS):
        for kind in kinds:
            times[kind].append(task_milliseconds(dag, kind, client))
    plain, ours = (statistics.median(times[kind]) for kind in kinds)
    imported = statistics.median(import_milliseconds() for _ in range(IMPORTS))
    print(f"@task                {plain:6.1f} ms a task")
    print(f"@task.async_python   {ours:6.1f} ms a task, {ours - plain:.1f} ms more (limit {LIMIT_MILLISECONDS:.0f})")
    print(f"its import           {imported:6.1f} ms (limit {IMPORT_LIMIT_MILLISECONDS:.0f})")
    return 0 if ours - plain <= LIMIT_MILLISECONDS and imported <= IMPORT_LIMIT_MILLISECONDS else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="task-overhead-") as home:
        os.environ.update(
            AIRFLOW_HOME=home, AIRFLOW__CORE__LOAD_EXAMPLES="False", AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR"
        )
        sys.exit(main())
