# SPDX-License-Identifier: Apache-2.0
"""
The clients in Python, each run in a process of its own: ``python -m benchmarks.support.clients NAME JOB``.

Airflow's are used as its documentation and AIP-98 show. The time is from before the first connection to after the last
result, without what the interpreter needs to start and to import. The last line of output is the result, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import importlib
import inspect
import json
import os
import pkgutil
import sys
import time
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.support.jobs import Done, Job
from tests.servers.sftp import Fields

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

CONN_ID = "bench"


@dataclass
class Count:
    """How many files there were, and how many bytes."""

    files: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.files += 1
        self.bytes += size


# --- this package -----------------------------------------------------------------------------------------------------


def pool_of(job: Job) -> Any:  # noqa: ANN401 - imported late, to be measured
    from airflow_provider_async.sftp import SFTPClientPool

    extra = {"key_file": job.key_file, "host_key": job.host_key}
    connection = Fields("127.0.0.1", job.port, getpass.getuser(), extra_dejson=extra)
    return SFTPClientPool(CONN_ID, pool_size=job.connections, connection=connection)


async def ours_read(job: Job, paths: Sequence[str], count: Count) -> None:
    async with pool_of(job) as pool:
        async for file in pool.read_many(paths):
            count.add(len(file.data))


async def ours_download(job: Job, _: Sequence[str], count: Count) -> None:
    async with pool_of(job) as pool:
        async for file in pool.download_many(job.source, job.target):
            count.add(file.size)


async def ours_upload(job: Job, _: Sequence[str], count: Count) -> None:
    async with pool_of(job) as pool:
        async for file in pool.upload_many(job.source, job.target):
            count.add(file.size)


async def ours_walk(job: Job, _: Sequence[str], count: Count) -> None:
    async with pool_of(job) as pool:
        async for _entry in pool.walk(job.source):
            count.add(0)


def load_ours() -> None:
    import airflow_provider_async.sftp as package

    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


# --- Airflow's --------------------------------------------------------------------------------------------------------


def hook_each(_: Job, paths: Sequence[str], count: Count) -> None:
    """Call SFTPHook for each file: it connects each time."""
    from airflow.providers.sftp.hooks.sftp import SFTPHook

    hook = SFTPHook(CONN_ID)
    for path in paths:
        buffer = BytesIO()
        hook.retrieve_file(path, buffer)
        count.add(len(buffer.getvalue()))


def hook_kept(_: Job, paths: Sequence[str], count: Count) -> None:
    """Call SFTPHook for each file while it keeps one connection open."""
    from airflow.providers.sftp.hooks.sftp import SFTPHook

    hook = SFTPHook(CONN_ID)
    with hook.get_managed_conn():
        for path in paths:
            buffer = BytesIO()
            hook.retrieve_file(path, buffer)
            count.add(len(buffer.getvalue()))


def hook_walk(job: Job, _: Sequence[str], count: Count) -> None:
    """Walk over one connection; ``get_tree_map`` alone opens one for each folder, and takes several times as long."""
    from airflow.providers.sftp.hooks.sftp import SFTPHook

    hook = SFTPHook(CONN_ID)
    with hook.get_managed_conn():
        files, _folders, _others = hook.get_tree_map(job.source)
    count.files = len(files)


async def in_batches(size: int, read: Callable[[str], Awaitable[BytesIO]], paths: Sequence[str], count: Count) -> None:
    """Read as the AIP's example does: a batch is begun when all of the one before has ended."""
    from more_itertools import chunked

    for batch in chunked(paths, size):
        tasks = [asyncio.ensure_future(read(path)) for path in batch]
        for task in asyncio.as_completed(tasks):
            count.add(len((await task).getvalue()))


def bytes_of(data: bytes | str) -> bytes:
    """Return what was read; it would be text if an encoding had been asked for."""
    assert isinstance(data, bytes)
    return data


async def hook_async(_: Job, paths: Sequence[str], count: Count) -> None:
    """Connect for each file, several at once: the AIP's example without a pool."""
    from airflow.providers.sftp.hooks.sftp import SFTPHookAsync

    async def read(path: str) -> BytesIO:
        connection = await SFTPHookAsync(sftp_conn_id=CONN_ID)._get_conn()  # noqa: SLF001 - so says the AIP
        # The AIP leaves it open, and so to the garbage collector; the server would soon be full.
        async with connection, connection.start_sftp_client() as client, client.open(path, "rb") as file:
            data = bytes_of(await file.read())
        return BytesIO(data)

    await in_batches((os.cpu_count() or 1) * 2, read, paths, count)


async def airflow_pool(job: Job, paths: Sequence[str], count: Count) -> None:
    """Use Airflow's pool: batches of twice its connections, as the AIP's example has them."""
    from airflow.providers.sftp.pools.sftp import SFTPClientPool

    pool = SFTPClientPool(CONN_ID, pool_size=job.connections)

    async def read(path: str) -> BytesIO:
        async with pool.get_sftp_client() as client, client.open(path, "rb") as file:
            data = bytes_of(await file.read())
        return BytesIO(data)

    async with pool:
        await in_batches(job.connections * 2, read, paths, count)
    await pool.close()  # type: ignore[no-untyped-call]


def load_airflow() -> None:
    import airflow.providers.sftp.hooks.sftp
    import airflow.providers.sftp.pools.sftp  # noqa: F401
    import more_itertools  # noqa: F401


OURS = (ours_read, ours_download, ours_upload, ours_walk)
CLIENTS: dict[str, Callable[[Job, Sequence[str], Count], Awaitable[None] | None]] = {
    client.__name__: client for client in (*OURS, hook_each, hook_kept, hook_walk, hook_async, airflow_pool)
}


def resident_kib(field: str) -> int:
    """Read VmRSS (now) or VmHWM (the peak of this program; ``ru_maxrss`` has that of its parent, too)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def run(name: str, job: Job) -> Done:
    """Do the work once."""
    client = CLIENTS[name]
    (load_ours if client in OURS else load_airflow)()
    # The server reads the same disk, so that the names need not be asked for.
    paths = sorted(str(path) for path in Path(job.source).iterdir())
    count = Count()
    with contextlib.suppress(OSError):
        # What was needed to import is not the peak: from here on it is counted anew.
        Path("/proc/self/clear_refs").write_text("5")
    before = resident_kib("VmRSS")
    began = time.perf_counter()
    if inspect.iscoroutinefunction(client):
        asyncio.run(client(job, paths, count))
    else:
        client(job, paths, count)
    seconds = time.perf_counter() - began
    return Done(seconds, count.files, count.bytes, (resident_kib("VmHWM") - before) / 1024)


if __name__ == "__main__":
    print(json.dumps(asdict(run(sys.argv[1], Job(**json.loads(sys.argv[2]))))))
