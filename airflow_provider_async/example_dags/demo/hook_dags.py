# SPDX-License-Identifier: Apache-2.0
"""The work of ``example_sftp.py`` done by Airflow's own SFTPHook, in its two ways. For comparison, not to be copied."""

from __future__ import annotations

from io import BytesIO

from airflow.providers.sftp.hooks.sftp import SFTPHook
from airflow.sdk import dag, task

from airflow_provider_async.example_dags.orders import insert

PARAMS = {"folder": "/orders", "database": "orders.db", "sample": 100}


def read_some(hook: SFTPHook, folder: str, sample: int) -> list[bytes]:
    """Read the first files of a folder, one after the other."""
    documents = []
    for name in (hook.list_directory(folder) or [])[:sample]:
        buffer = BytesIO()
        hook.retrieve_file(f"{folder}/{name}", buffer)
        documents.append(buffer.getvalue())
    return documents


@dag(schedule=None, params=PARAMS)
def load_orders_in_loop() -> None:
    """Call the hook for each file: it connects each time."""

    @task
    def load(folder: str, database: str, sample: str) -> int:
        documents = read_some(SFTPHook("sftp_loop"), folder, int(sample))
        insert(database, documents)
        return len(documents)

    load("{{ params.folder }}", "{{ params.database }}", "{{ params.sample }}")


@dag(schedule=None, params=PARAMS)
def load_orders_kept() -> None:
    """Call the hook for each file while it keeps one connection open."""

    @task
    def load(folder: str, database: str, sample: str) -> int:
        hook = SFTPHook("sftp_kept")
        with hook.get_managed_conn():
            documents = read_some(hook, folder, int(sample))
        insert(database, documents)
        return len(documents)

    load("{{ params.folder }}", "{{ params.database }}", "{{ params.sample }}")


load_orders_in_loop()
load_orders_kept()
