# SPDX-License-Identifier: Apache-2.0
"""Two more approaches: one task with Airflow's hook, over one connection, and four tasks of this package."""

from __future__ import annotations

import json
import os
import time
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import dag, task

from airflow_provider_async import shards
from airflow_provider_async.sftp import SFTPClientPool

if TYPE_CHECKING:
    from airflow_provider_async import Shard

FOLDER = Path(os.environ["BENCHMARK_FOLDER"])
RESULTS = Path(os.environ["BENCHMARK_RESULTS"])
CONNECTION_ID = "bench"
PARTS = 4


def names() -> list[str]:
    """Name all files; the server reads the same disk."""
    return sorted(str(path) for path in FOLDER.iterdir())


def write_result(name: str, *, files: int, size: int, began: float) -> None:
    result = {"files": files, "bytes": size, "seconds": time.monotonic() - began}
    (RESULTS / f"{name}.json").write_text(json.dumps(result))


@dag(schedule=None)
def hook_loop() -> None:
    @task
    def load() -> None:
        from airflow.providers.sftp.hooks.sftp import SFTPHook

        began = time.monotonic()
        files, size = names(), 0
        hook = SFTPHook(ssh_conn_id=CONNECTION_ID)
        # Without this, there would be a connection for each file.
        with hook.get_managed_conn():
            for file in files:
                buffer = BytesIO()
                hook.retrieve_file(file, buffer)
                size += len(buffer.getvalue())
        write_result("hook_loop", files=len(files), size=size, began=began)

    load()


@dag(schedule=None)
def our_shards() -> None:
    @task.async_python
    async def plan() -> list[Shard[str]]:
        return shards(names(), PARTS)

    @task.async_python
    async def load(shard: Shard[str]) -> None:
        began = time.monotonic()
        size = 0
        async with SFTPClientPool(CONNECTION_ID, shard=shard) as pool:
            async for file in pool.read_many(shard):
                size += len(file.data)
        write_result(f"our_shards-{shard.index}", files=len(shard), size=size, began=began)

    load.expand(shard=plan())


hook_loop()
our_shards()
