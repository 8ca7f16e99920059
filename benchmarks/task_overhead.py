# SPDX-License-Identifier: Apache-2.0
"""
What `@task.async_python` costs over a plain `@task`, a trivial body each.

Core's own supervisor runs real task processes, the two kinds in turn; the API server is the only thing that is not
real: it answers at once. A task's time is from the server's "run it" to the state that the task reports. Both kinds
find all modules imported, as the difference that importing makes is measured apart. Fails above 30 ms a task and
50 ms of import.
"""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

RUNS = 30
IMPORTS = 15
LIMIT_MILLISECONDS = 30.0
IMPORT_LIMIT_MILLISECONDS = 50.0

DAG = """
from airflow.sdk import dag, task
from airflow_provider_async.decorators import async_python_task

@dag(schedule=None)
def overhead():
    @task
    def plain() -> int:
        return 1

    @async_python_task
    async def ours() -> int:
        return 1

    plain()
    ours()

overhead()
"""

# A DAG file has the SDK and core's decorator; the second line is what ours adds.
IMPORT = """
import time
import airflow.providers.standard.decorators.python
started = time.perf_counter()
{second}
print((time.perf_counter() - started) * 1e3)
"""

NOW = "2026-01-01T00:00:00Z"


class Server:
    """Answers the supervisor as the API server does, and notes when the task is started and when it reports."""

    def __init__(self) -> None:
        self.started = 0.0
        self.reported = 0.0
        self.state = ""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        import httpx

        path = request.url.path
        if path.endswith("/run"):
            self.started = time.perf_counter()
            return httpx.Response(200, json=self._context())
        if path.endswith("/state"):
            self.reported = time.perf_counter()
            self.state = json.loads(request.content)["state"]
            return httpx.Response(204)
        if path.endswith("/validate-inlets-and-outlets"):
            return httpx.Response(200, json={"inactive_assets": []})
        if path.endswith("/heartbeat"):
            return httpx.Response(204)
        return httpx.Response(200, json={"message": "ok"})

    def _context(self) -> dict[str, Any]:
        dag_run = {
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
        return {"dag_run": dag_run, "max_tries": 0, "should_retry": False, "task_reschedule_count": 0}


def task_milliseconds(task_id: str) -> float:
    """Run one of the DAG's tasks in a process of its own, and return the milliseconds that took."""
    import httpx
    from airflow.sdk.api.client import Client
    from airflow.sdk.api.datamodels._generated import BundleInfo, TaskInstance
    from airflow.sdk.execution_time.supervisor import supervise_task

    server = Server()
    supervise_task(
        ti=TaskInstance(
            id=uuid.uuid4(),
            task_id=task_id,
            dag_id="overhead",
            run_id="run",
            try_number=1,
            map_index=-1,
            dag_version_id=uuid.uuid4(),
            hostname="localhost",
            queue="default",
            pool_slots=1,
            priority_weight=1,
            context_carrier={},
        ),
        bundle_info=BundleInfo(name="benchmark", version=None),
        dag_rel_path="overhead.py",
        token="",
        client=Client(base_url=None, dry_run=True, token="", transport=httpx.MockTransport(server)),
        log_path=f"{task_id}.log",
    )
    if server.state != "success":
        raise SystemExit(f"{task_id} ended as {server.state or 'nothing'}: see {os.environ['AIRFLOW_HOME']}/logs")
    return (server.reported - server.started) * 1e3


def import_milliseconds(second: str) -> float:
    """Import in a fresh interpreter what a DAG file does, and return the milliseconds that the second line took."""
    command = [sys.executable, "-c", IMPORT.format(second=second)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main(home: Path) -> int:
    """Measure, print, and return an exit code."""
    (home / "dags").mkdir()
    (home / "dags" / "overhead.py").write_text(DAG)
    bundle = {
        "name": "benchmark",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(home / "dags")},
    }
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST=json.dumps([bundle]),
    )
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.disable(logging.WARNING)
    import airflow.providers.standard.decorators.python

    import airflow_provider_async.decorators  # noqa: F401 - inherited by the tasks' processes, as the one above

    kinds = ["plain", "ours"]
    for kind in kinds:
        task_milliseconds(kind)  # the first ones are slower
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(RUNS):
        for kind in kinds:
            times[kind].append(task_milliseconds(kind))
    plain, ours = (statistics.median(times[kind]) for kind in kinds)
    imported = statistics.median(
        import_milliseconds("import airflow_provider_async.decorators") for _ in range(IMPORTS)
    )
    print(f"@task                {plain:6.1f} ms a task (median of {RUNS})")
    print(f"@task.async_python   {ours:6.1f} ms a task, {ours - plain:+.1f} ms (limit {LIMIT_MILLISECONDS:.0f})")
    print(f"its import           {imported:6.1f} ms (limit {IMPORT_LIMIT_MILLISECONDS:.0f})")
    return 0 if ours - plain <= LIMIT_MILLISECONDS and imported <= IMPORT_LIMIT_MILLISECONDS else 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="task-overhead-") as folder:
        sys.exit(main(Path(folder)))
