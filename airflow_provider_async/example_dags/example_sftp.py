# SPDX-License-Identifier: Apache-2.0
"""Load a folder of XML files from an SFTP server into a database: one task, a few connections."""

from __future__ import annotations

import asyncio

from airflow.sdk import dag, task

from airflow_provider_async.example_dags.orders import insert
from airflow_provider_async.sftp import SFTPClientPool


@dag(schedule=None, params={"folder": "/orders", "database": "orders.db"}, tags=["example", "sftp"])
def load_orders() -> None:
    """Read every order of a folder, and insert them 200 at a time; a retry goes on with those that are not inserted."""

    @task.async_python(retries=3)
    async def load(folder: str, database: str) -> int:
        async with SFTPClientPool("sftp_default") as pool:
            files = pool.read_many(await pool.glob(f"{folder}/*.xml"), resume="load")
            async for batch in files.batches(200):
                # In a thread: sqlite3 knows no await, and the next files arrive meanwhile.
                await asyncio.to_thread(insert, database, [file.data for file in batch])
            return files.progress.done

    load("{{ params.folder }}", "{{ params.database }}")


load_orders()
