# SPDX-License-Identifier: Apache-2.0
"""Tasks that load files from an SFTP server and are interrupted; ``Plan`` is what a run's conf says."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import DAG, get_current_context, task

from airflow_provider_async import amap
from airflow_provider_async.sftp import SFTPClientPool
from system_tests.support.ledger import Ledger, Row, Try
from system_tests.support.resume_plan import BATCH_SIZE, CHECKPOINT_FOLDER, TIMEOUT_SECONDS, Plan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow.sdk import Context

RETRIES: dict[str, Any] = {"retries": 5, "retry_delay": timedelta(seconds=1)}


class Work:
    """What a running task is to do, and has done."""

    def __init__(self) -> None:
        context: Any = get_current_context()
        self.plan = Plan(**context["dag_run"].conf)
        self.map_index: int = context["ti"].map_index
        self.try_number: int = context["ti"].try_number
        self.is_first = self.try_number == 1
        self._ledger = Ledger(Path(self.plan.ledger))
        self._ledger.begin(Try(self.map_index, self.try_number, os.getpid(), os.getppid()))

    def pool(self) -> SFTPClientPool:
        return SFTPClientPool(self.plan.connection_id, acquire_timeout=self.plan.acquire_timeout_seconds)

    def fail_if_it_is_time(self, done: int) -> None:
        due = self.plan.fail_after is not None and done >= self.plan.fail_after
        if self.is_first and due and self.map_index == self.plan.fails_at:
            raise RuntimeError(f"failing after {done} rows, as planned")

    def insert(self, files: Iterable[tuple[str, bytes]]) -> None:
        now = time.time()
        rows = [Row(self.map_index, self.try_number, path, digest(data), now) for path, data in files]
        self._ledger.insert(rows)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def load(part: str = "") -> object:
    """Load all files of a folder, or of a part of it, in batches."""
    work = Work()
    plan, done, resumed, inserted = work.plan, 0, 0, 0
    async with work.pool() as pool:
        paths = await pool.glob(f"{plan.folder}/{part}*.txt")
        share = -(-len(paths) // len(plan.names))
        for number, name in enumerate(plan.names):
            files = pool.read_many(paths[number * share : (number + 1) * share], resume=name)
            async for batch in files.batches(BATCH_SIZE):
                # Before the insert: all that was inserted has then been acknowledged.
                work.fail_if_it_is_time(inserted)
                work.insert((str(file.path), file.data) for file in batch)
                inserted += len(batch)
                if work.is_first:
                    await asyncio.sleep(plan.pause_seconds)
            done += files.progress.done
            resumed += files.progress.resumed
    if work.is_first and plan.returns_what_cannot_be_stored:
        return object()
    return {"done": done, "resumed": resumed}


async def collect() -> dict[str, object]:
    """Read all files of a folder one by one, and return something of each."""
    work = Work()
    digests: list[str] = []
    async with work.pool() as pool:

        async def read(path: str) -> str:
            async with pool.get_sftp_client() as client, client.open(path, "rb") as file:
                # asyncssh's types know no files of bytes.
                data = cast("bytes", await file.read())
            work.insert([(str(path), data)])
            return digest(data)

        paths = await pool.glob(f"{work.plan.folder}/*.txt")
        files = amap(read, paths, limit=16, resume="collect", results="keep")
        async for value in files:
            work.fail_if_it_is_time(len(digests))
            digests.append(value)
    return {"done": files.progress.done, "resumed": files.progress.resumed, "digests": sorted(digests)}


def keep_checkpoint_in_folder(_context: Context) -> None:
    """Set what an administrator would set for all tasks."""
    os.environ["AIRFLOW__ASYNC__CHECKPOINT_PATH"] = os.environ[CHECKPOINT_FOLDER]


def make_dag(name: str) -> DAG:
    return DAG(f"resume_{name}", schedule=None, max_active_runs=16)


with make_dag("load") as resume_load:
    task.async_python(**RETRIES)(load)()

with make_dag("timeout") as resume_timeout:
    task.async_python(execution_timeout=timedelta(seconds=TIMEOUT_SECONDS), **RETRIES)(load)()

with make_dag("mapped") as resume_mapped:
    task.async_python(**RETRIES)(load).expand(part=["a", "b", "c"])

with make_dag("collect") as resume_collect:
    task.async_python(**RETRIES)(collect)()

with make_dag("in_folder") as resume_in_folder:
    task.async_python(pre_execute=keep_checkpoint_in_folder, **RETRIES)(load)()
