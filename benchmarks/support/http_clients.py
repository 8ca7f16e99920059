# SPDX-License-Identifier: Apache-2.0
"""
The clients of HTTP, each run in a process of its own: ``python -m benchmarks.support.http_clients NAME JOB``.

The others are used as their documentation shows. Each first does very little of its work, for what it imports and
reads on its first use: dlt then loads the whole of Airflow if it is installed, which takes seconds. What is measured
goes from before the first connection to after the last row. The last line of output is the result, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from benchmarks.support.clients import resident_kib

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

CONN_ID = "bench"


#: Does some work, and returns how many rows it found.
Client: TypeAlias = "Callable[[Work], int | Awaitable[int]]"


@dataclass(frozen=True, kw_only=True)
class Work:
    """
    What a client is told to do.

    :param base: the server's URL, or that of a line to it.
    :param path: of the first page, or of all requests.
    :param pages: how many pages there are, or how many requests to make.
    :param at_once: how many requests may be in flight, for those who can.
    """

    base: str
    path: str
    pages: int
    at_once: int = 1


@dataclass(kw_only=True)
class Outcome:
    """
    What came of it.

    :param rows: how many rows were decoded, or answers read.
    :param seconds: how long it took.
    :param cpu_seconds: how much computing time the process needed for that.
    :param growth_mib: by how much its memory grew, at the most, from the interpreter with the library loaded.
    """

    rows: int
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    growth_mib: float = 0.0


# --- pages that name the next one, one after the other ----------------------------------------------------------------


async def linked_ours(work: Work) -> int:
    from airflow_provider_async.http import HTTPClientPool

    rows = 0
    async with HTTPClientPool(None, base_url=work.base) as pool:
        async for _ in pool.paginate(work.path):
            rows += 1
    return rows


async def linked_ours_by_page(work: Work) -> int:
    from airflow_provider_async.http import HTTPClientPool

    rows = 0
    async with HTTPClientPool(None, base_url=work.base) as pool:
        async for page in pool.paginate(work.path).pages():
            for _ in page.items:
                rows += 1
    return rows


async def linked_by_hand(work: Work) -> int:
    import aiohttp
    import msgspec

    rows = 0
    link = work.path
    async with aiohttp.ClientSession() as session:
        while link:
            async with session.get(work.base + link) as response:
                page = msgspec.json.decode(await response.read())
            for _ in page["data"]:
                rows += 1
            link = page["next"]
    return rows


def linked_dlt(work: Work) -> int:
    from dlt.sources.helpers.rest_client.client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import JSONLinkPaginator

    client = RESTClient(base_url=work.base, paginator=JSONLinkPaginator(next_url_path="next"), data_selector="data")
    rows = 0
    for page in client.paginate(work.path):
        for _ in page:
            rows += 1
    return rows


def linked_hook(work: Work) -> int:
    from airflow.providers.http.hooks.http import HttpHook

    hook = HttpHook(method="GET", http_conn_id=CONN_ID)
    rows = 0
    link = work.path
    while link:
        page = hook.run(link).json()
        for _ in page["data"]:
            rows += 1
        link = page["next"]
    return rows


async def linked_async_hook(work: Work) -> int:
    from airflow.providers.http.hooks.http import HttpAsyncHook

    rows = 0
    link = work.path
    async with HttpAsyncHook(method="GET", http_conn_id=CONN_ID).session() as session:
        while link:
            page = await (await session.run(link)).json()
            for _ in page["data"]:
                rows += 1
            link = page["next"]
    return rows


# --- pages with numbers -----------------------------------------------------------------------------------------------


async def numbered_ours(work: Work) -> int:
    from airflow_provider_async.http import HTTPClientPool
    from airflow_provider_async.http.pages import PageNumber

    rows = 0
    async with HTTPClientPool(None, base_url=work.base, max_concurrency=work.at_once) as pool:
        async for _ in pool.paginate(work.path, paginator=PageNumber(), prefetch=work.at_once):
            rows += 1
    return rows


def numbered_dlt(work: Work) -> int:
    from dlt.sources.helpers.rest_client.client import RESTClient
    from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator

    paginator = PageNumberPaginator(base_page=1, total_path="total_pages")
    client = RESTClient(base_url=work.base, paginator=paginator, data_selector="data")
    rows = 0
    for page in client.paginate(work.path):
        for _ in page:
            rows += 1
    return rows


async def endless_ours(work: Work) -> int:
    from airflow_provider_async.http import HTTPClientPool
    from airflow_provider_async.http.pages import PageNumber

    rows = 0
    async with HTTPClientPool(None, base_url=work.base) as pool:
        # A hundred files stand for all pages.
        pages = pool.paginate(
            work.path, paginator=PageNumber(), prefetch=work.at_once, max_pages=work.pages, equal_pages=True
        )
        async for _ in pages:
            rows += 1
    return rows


# --- many small requests ----------------------------------------------------------------------------------------------


async def small_ours(work: Work) -> int:
    from airflow_provider_async.http import HTTPClientPool

    count = 0
    async with HTTPClientPool(None, base_url=work.base, max_concurrency=work.at_once) as pool:
        async for response in pool.get_many(work.path for _ in range(work.pages)):
            count += bool(response.body)
    return count


async def small_ours_requests(work: Work) -> int:
    from airflow_provider_async.http import HTTPClientPool

    async with HTTPClientPool(None, base_url=work.base, max_concurrency=work.at_once) as pool:

        async def get() -> bytes:
            return (await pool.request("GET", work.path)).body

        return await in_workers(get, work)


async def small_by_hand(work: Work) -> int:
    import aiohttp

    url = work.base + work.path
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=work.at_once)) as session:

        async def get() -> bytes:
            async with session.get(url) as response:
                response.raise_for_status()
                return await response.read()

        return await in_workers(get, work)


async def in_workers(get: Callable[[], Awaitable[bytes]], work: Work) -> int:
    """Make all requests in as many workers as may run at once."""
    left = iter(range(work.pages))

    async def worker() -> int:
        return sum([bool(await get()) for _ in left])

    return sum(await asyncio.gather(*(worker() for _ in range(work.at_once))))


CLIENTS: dict[str, Client] = {
    client.__name__: client
    for client in (
        linked_ours,
        linked_ours_by_page,
        linked_by_hand,
        linked_dlt,
        linked_hook,
        linked_async_hook,
        numbered_ours,
        numbered_dlt,
        endless_ours,
        small_ours,
        small_ours_requests,
        small_by_hand,
    )
}


#: So many modules may a client still import when it is measured.
MOST_MODULES = 5


def measured(client: Client, work: Work) -> Outcome:
    """Do some work, and measure what it takes."""
    with contextlib.suppress(OSError):
        # What was needed to get here is not the peak: from here on it is counted anew.
        Path("/proc/self/clear_refs").write_text("5")
    before = resident_kib("VmRSS")
    began, computed = time.perf_counter(), time.process_time()
    done = client(work)
    rows = done if isinstance(done, int) else asyncio.run(result_of(done))
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - computed
    growth_mib = (resident_kib("VmHWM") - before) / 1024
    return Outcome(rows=rows, seconds=seconds, cpu_seconds=cpu_seconds, growth_mib=growth_mib)


async def result_of(work: Awaitable[int]) -> int:
    return await work


def main(clients: Mapping[str, Client], name: str, *works: str) -> None:
    """Do very little, then the work, and print what came of it."""
    little, work = (Work(**json.loads(text)) for text in works)
    measured(clients[name], little)
    # What is loaded by now differs from client to client: the garbage collector is not to go through it again.
    gc.collect()
    gc.freeze()
    modules = len(sys.modules)
    outcome = measured(clients[name], work)
    if (imported := len(sys.modules) - modules) > MOST_MODULES:
        raise RuntimeError(f"{name} imported {imported} modules while it was measured")
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main(CLIENTS, *sys.argv[1:])
