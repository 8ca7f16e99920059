# SPDX-License-Identifier: Apache-2.0
"""
Tasks that share some work, each in a process of its own, as on workers of their own.

``python -m tests.servers.sharing`` is one of them: it is told on its standard input what to do, says when it has done
it, and keeps its connections until the input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from airflow_provider_async import Shard

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def sharing(
    kind: str, fields: object, parts: Sequence[Shard[str]], **options: object
) -> AsyncIterator[list[int]]:
    """
    Have each part done by a process of its own, at the same time; leave them with their connections open.

    :param kind: ``sftp`` or ``http``.
    :param fields: of the Connection.
    :param options: of the pools.
    :return: how many items each has done.
    """
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(_worker()) for _ in parts]
        for worker, shard in zip(workers, parts, strict=True):
            work = {"kind": kind, "fields": vars(fields), "shard": shard.serialize(), "options": options}
            assert worker.stdin is not None
            worker.stdin.write(f"{json.dumps(work)}\n".encode())
        yield [int(await worker.stdout.readline()) for worker in workers if worker.stdout is not None]


@asynccontextmanager
async def _worker() -> AsyncIterator[asyncio.subprocess.Process]:
    command = [sys.executable, "-m", "tests.servers.sharing"]
    pipe = asyncio.subprocess.PIPE
    worker = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
    try:
        yield worker
    finally:
        if worker.stdin is not None:
            worker.stdin.close()
        assert await worker.wait() == 0


async def work(kind: str, fields: dict[str, Any], shard: dict[str, Any], options: dict[str, Any]) -> None:
    from airflow_provider_async import Shard
    from airflow_provider_async.http import HTTPClientPool
    from airflow_provider_async.sftp import SFTPClientPool

    part: Shard[str] = Shard.deserialize(shard, 1)
    options |= {"shard": part, "connection": SimpleNamespace(**fields)}
    done = 0
    async with AsyncExitStack() as stack:
        if kind == "sftp":
            files = (await stack.enter_async_context(SFTPClientPool(**options))).read_many(part)
            done = len([file async for file in files])
        else:
            answers = (await stack.enter_async_context(HTTPClientPool(**options))).get_many(part)
            done = len([answer async for answer in answers])
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    asyncio.run(work(**json.loads(sys.stdin.readline())))
