# SPDX-License-Identifier: Apache-2.0
"""The example of shards as it is, and the same with a ledger, where one of the tasks fails halfway at first."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import dag, get_current_context, task

import airflow_provider_async.example_dags.example_shards  # noqa: F401
from airflow_provider_async import shards
from airflow_provider_async.sftp import SFTPClientPool
from system_tests.support.ledger import Ledger, Row, Try
from system_tests.support.shard_plan import BATCH_SIZE, FAILS_AFTER, FAILS_AT

if TYPE_CHECKING:
    from airflow_provider_async import Shard
    from airflow_provider_async.sftp import RemoteEntry


@dag(dag_id="share_files", schedule=None, params={"folder": "", "ledger": "", "parts": 4})
def share_files() -> None:
    @task.async_python
    async def plan(folder: str, parts: str) -> list[Shard[RemoteEntry]]:
        async with SFTPClientPool("sftp_shared") as pool:
            files = await pool.glob(f"{folder}/*.xml")
            return shards(files, int(parts), weight=lambda file: file.size or 0)

    @task.async_python(retries=2, retry_delay=timedelta(seconds=1))
    async def load(shard: Shard[RemoteEntry], path: str) -> dict[str, int]:
        instance: Any = get_current_context()["ti"]
        ledger = Ledger(Path(path))
        ledger.begin(Try(instance.map_index, instance.try_number, os.getpid(), os.getppid()))
        async with SFTPClientPool("sftp_shared", pool_size=4, shard=shard) as pool:
            files = pool.read_many(shard, resume="load")
            inserted = 0
            async for batch in files.batches(BATCH_SIZE):
                if (instance.map_index, instance.try_number, inserted) == (FAILS_AT, 1, FAILS_AFTER):
                    raise RuntimeError("failing once, as planned")
                rows = [Row(instance.map_index, instance.try_number, file.path, "", time.time()) for file in batch]
                ledger.insert(rows)
                inserted += len(batch)
            return {"index": shard.index, "done": files.progress.done, "resumed": files.progress.resumed}

    load.partial(path="{{ params.ledger }}").expand(shard=plan("{{ params.folder }}", "{{ params.parts }}"))


share_files()
