# SPDX-License-Identifier: Apache-2.0
"""
Where the progress page is found.

The addresses are relative to Airflow's base URL, which every page of its UI declares as its base: they hold under a
sub-path, and on workers that do not know the URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow_provider_async.runtime import compat

if TYPE_CHECKING:
    from typing import Protocol

    class TaskInstance(Protocol):
        """What names a task instance, running or not."""

        @property
        def dag_id(self) -> str: ...
        @property
        def run_id(self) -> str: ...
        @property
        def task_id(self) -> str: ...
        @property
        def map_index(self) -> int | None: ...


__all__ = ["LINK_XCOM_KEY", "MOUNT", "ROUTE", "progress_url"]

MOUNT = "async-progress"
"""The folder that the page's files are served from."""

ROUTE = "progress"
"""What the tab is called in the address of a task instance in Airflow's UI."""

LINK_XCOM_KEY = "_link_ProgressLink"
"""The XCom that Airflow's UI reads the address behind the task's link *Progress* from."""


def progress_url(ti: TaskInstance) -> str:
    """
    Tell where a task's progress is shown: in the tab of the task instance, or before Airflow 3.1 on a page of its own.

    :param ti: the task instance, or its key
    :return: an address relative to Airflow's base URL
    """
    dag, run, task = (quote(part, safe="") for part in (ti.dag_id, ti.run_id, ti.task_id))
    index = -1 if ti.map_index is None else ti.map_index
    if compat.has_task_tabs():
        mapped = "" if index < 0 else f"/mapped/{index}"
        return f"dags/{dag}/runs/{run}/tasks/{task}{mapped}/plugin/{ROUTE}"
    return f"{MOUNT}/page.html?dag={dag}&run={run}&task={task}&mi={index}"
