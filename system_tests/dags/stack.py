# SPDX-License-Identifier: Apache-2.0
"""What runs on a whole stack; ``Plan`` is what a run's conf says."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from datetime import timedelta
from itertools import cycle, takewhile
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from airflow.sdk import dag, get_current_context, task

from airflow_provider_async import shards
from airflow_provider_async.sftp import SFTPClientPool
from system_tests.support.hosts import component
from system_tests.support.stack_plan import BATCH_SIZE, CONNECTION_ID, LARGE_BYTES, NEEDLE, PARTS, Plan

if TYPE_CHECKING:
    from airflow_provider_async import Shard
    from airflow_provider_async.sftp import RemoteEntry
    from system_tests.support.warehouse import Warehouse

RETRIES = 20
RETRY_DELAY = timedelta(seconds=1)


class Work:
    """What a running task is to do, and has done."""

    def __init__(self) -> None:
        context: Any = get_current_context()
        instance = context["ti"]
        self.plan = Plan(**context["dag_run"].conf)
        self.task = (str(instance.run_id), int(instance.map_index), int(instance.try_number))
        if self.plan.checkpoints:
            # As the configuration of a worker says it.
            os.environ["AIRFLOW__ASYNC__CHECKPOINT_PATH"] = self.plan.checkpoints

    async def begin(self) -> Warehouse:
        """Write down that a try has begun."""
        # Not when the file is parsed: SQLAlchemy takes a while.
        from system_tests.support.warehouse import Try, Warehouse

        self._warehouse = Warehouse(self.plan.warehouse)
        await asyncio.to_thread(self._warehouse.begin, Try(*self.task, component(), os.getpid(), os.getppid()))
        return self._warehouse

    async def insert(self, batch: list[tuple[str, bytes]]) -> None:
        from system_tests.support.warehouse import Row

        now = time.time()
        rows = [Row(*self.task, path, hashlib.sha256(data).hexdigest(), now) for path, data in batch]
        await asyncio.to_thread(self._warehouse.insert, rows)


@dag(schedule=None)
def stack_load() -> None:
    """Load a folder into the warehouse, in shards."""

    @task.async_python(retries=RETRIES, retry_delay=RETRY_DELAY)
    async def plan() -> list[Shard[RemoteEntry]]:
        async with SFTPClientPool(CONNECTION_ID) as pool:
            return shards(await pool.glob(f"{Work().plan.folder}/*.xml"), PARTS)

    @task.async_python(retries=RETRIES, retry_delay=RETRY_DELAY)
    async def load(shard: Shard[RemoteEntry]) -> dict[str, int]:
        work = Work()
        await work.begin()
        async with SFTPClientPool(CONNECTION_ID, shard=shard) as pool:
            files = pool.read_many(shard, resume="load")
            async for batch in files.batches(BATCH_SIZE):
                await work.insert([(str(file.path), file.data) for file in batch])
                await asyncio.sleep(work.plan.pause_seconds)
            return {"done": files.progress.done, "resumed": files.progress.resumed}

    load.expand(shard=plan())


@dag(schedule=None)
def stack_large_result() -> None:
    """Return what is too large for a database, and take it."""

    @task.async_python(show_return_value_in_logs=False)
    async def give() -> str:
        return (NEEDLE * (LARGE_BYTES // len(NEEDLE) + 1))[:LARGE_BYTES]

    @task.async_python
    async def take(text: str) -> dict[str, str]:
        return {"digest": hashlib.sha256(text.encode()).hexdigest()}

    take(give())  # type: ignore[arg-type] # Airflow gives what it returns


@dag(schedule=None)
def stack_download() -> None:
    """Download a folder to the worker's disk."""

    @task.async_python(retries=0)  # a user clears it when there is room again
    async def download() -> dict[str, int]:
        work = Work()
        async with SFTPClientPool(CONNECTION_ID) as pool:
            files = pool.download_many(await pool.glob(f"{work.plan.folder}/*.xml"), work.plan.target, resume="files")
            async for _ in files:
                pass
            return {"done": files.progress.done, "resumed": files.progress.resumed}

    download()


@dag(schedule=None)
def stack_soak() -> None:
    """Read the files of a folder again and again."""

    @task.async_python(retries=0)
    async def soak() -> dict[str, int]:
        work = Work()
        await work.begin()
        until = time.monotonic() + work.plan.soak_seconds
        async with SFTPClientPool(CONNECTION_ID, pool_size=3) as pool:
            paths = [str(path) for path in await pool.glob(f"{work.plan.folder}/*.xml")]
            given: list[int] = [0]

            def asked(_: str) -> bool:
                given[0] += 1
                return time.monotonic() < until

            read = wrong = 0
            async for batch in pool.read_many(takewhile(asked, cycle(paths))).batches(BATCH_SIZE):
                read += len(batch)
                wrong += sum(b"<row>%d</row>" % int(PurePath(file.path).stem) not in file.data for file in batch)
                # Others want the processors, too.
                await asyncio.sleep(0.1)
            return {"asked": given[0] - 1, "read": read, "wrong": wrong}

    soak()


stack_load()
stack_large_result()
stack_download()
stack_soak()
