# SPDX-License-Identifier: Apache-2.0
"""
What an item costs as one of many in a sync task, as a mapped task, as a deferrable operator and in an async task.

A real Airflow (LocalExecutor with six slots, SQLite, a triggerer) runs each DAG of dags/approaches.py three times, in
turn; the time is from the start of a DAG run's first task to the end of its last one.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.dags.approaches import ITEMS_IN_A_LOOP, SEPARATE_TASKS  # noqa: E402 - found through the line above
from system_tests.support.airflow import Airflow  # noqa: E402
from system_tests.support.client import RUN_ENDED  # noqa: E402

ROUNDS = 3
RUN_SECONDS = 600
ITEMS = {
    "sync_task": ITEMS_IN_A_LOOP,
    "mapped_tasks": SEPARATE_TASKS,
    "deferrable_operators": SEPARATE_TASKS,
    "async_task": ITEMS_IN_A_LOOP,
}


def run_seconds(airflow: Airflow, dag_id: str) -> float:
    """Run a DAG to its end, and return the seconds from the start of its first task to the end of its last one."""
    run_id = airflow.client.trigger(dag_id)
    airflow.wait_for(
        f"the end of {dag_id}",
        lambda: airflow.client.run_state(dag_id, run_id) in RUN_ENDED,
        timeout_seconds=RUN_SECONDS,
    )
    if airflow.client.run_state(dag_id, run_id) != "success":
        raise RuntimeError(f"{dag_id} failed.\n{airflow.describe()}")
    tasks = airflow.client.task_instances(dag_id, run_id)
    ends = [task.ended for task in tasks if task.ended]
    starts = [task.started for task in tasks if task.started]
    return (max(ends) - min(starts)).total_seconds()


def main() -> int:
    """Measure, print, and return an exit code."""
    triggerer = {"triggerer": ["triggerer", "--skip-serve-logs"]}
    seconds: dict[str, list[float]] = {dag_id: [] for dag_id in ITEMS}
    with Airflow(ROOT / "benchmarks" / "dags", workers=triggerer) as airflow:
        airflow.wait_for_dags(*ITEMS)
        run_seconds(airflow, "async_task")  # the first run pays for what the server builds when it is first asked
        for _ in range(ROUNDS):
            for dag_id in ITEMS:
                seconds[dag_id].append(run_seconds(airflow, dag_id))
    each = {dag_id: statistics.median(seconds[dag_id]) / items for dag_id, items in ITEMS.items()}
    print("approach              ms an item   10,000 items   times an async task")
    for dag_id, cost in each.items():
        ratio = cost / each["async_task"]
        print(f"{dag_id:20} {cost * 1e3:11.1f} {cost * 10_000 / 60:10.1f} min {ratio:17.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
