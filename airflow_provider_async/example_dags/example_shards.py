# SPDX-License-Identifier: Apache-2.0
"""Load a folder of XML files from an SFTP server into a database: four tasks, on as many workers, share the files."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow.sdk import dag, task

from airflow_provider_async import shards
from airflow_provider_async.example_dags.orders import insert
from airflow_provider_async.sftp import SFTPClientPool

if TYPE_CHECKING:
    from airflow_provider_async import Shard
    from airflow_provider_async.sftp import RemoteEntry

#: A small file takes as long as so many bytes of a large one.
BYTES_A_FILE = 20_000


def weight(file: RemoteEntry) -> int:
    """Tell how much work a file is."""
    return BYTES_A_FILE + (file.size or 0)


@dag(schedule=None, params={"folder": "/orders", "database": "orders.db"}, tags=["example", "sftp"])
def load_orders_in_shards() -> None:
    """
    List the files, and have four tasks read and insert a part of them each.

    With ``max_connections`` in the Connection's extras, they share that many connections. Each retries and resumes on
    its own.
    """

    @task.async_python(retries=3)
    async def plan(folder: str) -> list[Shard[RemoteEntry]]:
        async with SFTPClientPool("sftp_default") as pool:
            return shards(await pool.glob(f"{folder}/*.xml"), 4, weight=weight)

    @task.async_python(retries=3)
    async def load(shard: Shard[RemoteEntry], database: str) -> int:
        async with SFTPClientPool("sftp_default", shard=shard) as pool:
            files = pool.read_many(shard, resume="load")
            async for batch in files.batches(200):
                await asyncio.to_thread(insert, database, [file.data for file in batch])
            return files.progress.done

    load.partial(database="{{ params.database }}").expand(shard=plan("{{ params.folder }}"))


load_orders_in_shards()
