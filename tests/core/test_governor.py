# SPDX-License-Identifier: Apache-2.0
"""A pool whose limit is found out, and what follows a limit that changes."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async import Pool, amap
from airflow_provider_async.core.governor import Load, govern
from airflow_provider_async.core.monitor import Monitor
from airflow_provider_async.core.pooled import amap_over
from airflow_provider_async.core.snapshot import snapshot
from airflow_provider_async.core.summary import LogLines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable


class BusyServer:
    """Does so many things at once; the others wait."""

    def __init__(self, capacity: int, seconds: float) -> None:
        self._workers = asyncio.Semaphore(capacity)
        self._seconds = seconds
        self.in_flight = 0
        self.most_in_flight = 0
        self.connections = 0
        self.refusals = 0

    async def connect(self) -> BusyServer:
        if self.refusals:
            self.refusals -= 1
            raise ConnectionResetError("too many logins")
        self.connections += 1
        return self

    async def close(self) -> None:
        self.connections -= 1

    async def serve(self, _: object = None) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        async with self._workers:
            await asyncio.sleep(self._seconds)
        self.in_flight -= 1


def pool_at(server: BusyServer, *, size: int = 4, leases: int = 32) -> Pool[BusyServer, BusyServer]:
    return Pool(
        server.connect,
        close=lambda one: one.close(),
        size=size,
        leases=leases,
        is_broken=lambda error: isinstance(error, ConnectionError),
        name="server",
    )


async def read_all(pool: Pool[BusyServer, BusyServer], items: Iterable[int] | AsyncIterator[int]) -> int:
    async def read(item: int) -> int:
        async with pool.lease() as server:
            await server.serve()
        return item

    results = amap_over(pool, read, items, limit=None, ordered=False, resume=None, ack="next", label="read")
    return len([item async for item in results])


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@pytest.mark.parametrize("make", [range, numbers])
async def test_a_pool_does_its_work_nearly_as_fast_as_with_the_best_limit(
    make: Callable[[int], Iterable[int] | AsyncIterator[int]],
) -> None:
    server = BusyServer(40, 0.05)
    loop = asyncio.get_running_loop()
    async with pool_at(server) as pool:
        govern(pool, most=128)
        assert pool.limit == 4
        began = loop.time()
        assert await read_all(pool, make(20_000)) == 20_000
        seconds = loop.time() - began
        assert pool.statistics().auto
    assert seconds <= 20_000 * 0.05 / 40 / 0.85
    assert server.most_in_flight <= 128


async def test_it_begins_low_on_one_connection() -> None:
    server = BusyServer(1000, 1.0)
    async with pool_at(server) as pool:
        govern(pool, most=128)
        reading = asyncio.create_task(read_all(pool, range(10_000)))
        await asyncio.sleep(0.9)
        assert (server.most_in_flight, server.connections) == (4, 1)
        reading.cancel()
        await asyncio.wait([reading])


async def test_a_connection_that_is_refused_lowers_the_limit() -> None:
    server = BusyServer(1000, 0.05)
    async with pool_at(server, size=1) as pool:
        server.refusals = 1
        govern(pool, most=32)
        assert await read_all(pool, range(4)) == 4
        assert pool.limit < 4


async def test_a_lost_connection_lowers_the_limit_once() -> None:
    async def lose(_: int) -> None:
        async with pool.lease():
            await asyncio.sleep(0.1)
            raise ConnectionError

    async with pool_at(BusyServer(1000, 0.05), size=1) as pool:
        govern(pool, most=32)
        assert await read_all(pool, range(2_000)) == 2_000
        before = pool.limit
        results = amap_over(pool, lose, range(before), limit=None, ordered=False, resume=None, ack="next", label="lose")
        assert len([outcome async for outcome in results.outcomes() if outcome.error]) == before
        await asyncio.sleep(0.1)
        assert 1 < pool.limit < before


async def test_the_load_may_be_told_by_others() -> None:
    loads = [Load(0, 4)]
    async with pool_at(BusyServer(1, 1)) as pool:
        govern(pool, most=8, load=lambda: loads[-1])
        loads.append(Load(1, 3, refused=1))
        await asyncio.sleep(0.06)
        assert pool.limit == 2
    limit = pool.limit
    loads.append(Load(9, 3, refused=9))
    await asyncio.sleep(1)
    assert pool.limit == limit


async def test_an_amap_follows_the_limit_of_its_pool_but_not_above_its_own() -> None:
    server = BusyServer(1000, 1.0)

    async def read(_: int) -> None:
        async with pool.lease():
            await server.serve()

    async with pool_at(server) as pool:
        pool.limit = 2
        works = [
            asyncio.create_task(consume(amap_over(pool, read, items, limit=limit, **OPTIONS)))  # type: ignore[arg-type]
            for items, limit in ((range(500), None), (numbers(90), 5))
        ]
        await asyncio.sleep(0.5)
        assert server.in_flight == 2
        pool.limit = 20
        await asyncio.sleep(1.8)
        assert server.in_flight == 20
        pool.limit = 1
        await asyncio.sleep(1.8)
        assert server.in_flight == 1
        pool.limit = 100
        assert await asyncio.gather(*works) == [500, 90]


OPTIONS = {"ordered": False, "resume": None, "ack": "next", "label": "read"}


async def consume(results: AsyncIterator[object], *, seconds: float = 0.0) -> int:
    count = 0
    async for _ in results:
        count += 1
        await asyncio.sleep(seconds)
    return count


@pytest.mark.parametrize("make", [range, numbers])
@pytest.mark.parametrize("ordered", [False, True])
async def test_a_limit_that_falls_and_rises_while_a_slow_consumer_holds_everything_back_loses_nothing(
    make: Callable[[int], Iterable[int] | AsyncIterator[int]], ordered: bool
) -> None:
    running = 0

    async def work(item: int) -> int:
        nonlocal running
        running += 1
        await asyncio.sleep(0.01 * (item % 3))
        running -= 1
        return item

    results = amap(work, make(300), limit=16, ordered=ordered)
    assert results.limit == 16
    seen = []
    async for item in results:
        seen.append(item)
        results.limit = (1, 30, 3, 2, 1, 1, 9)[len(seen) // 10 % 7]
        await asyncio.sleep(0.05)
        assert running <= 30
    assert sorted(seen) == list(range(300))
    assert seen == sorted(seen) or not ordered
    results.limit = 50


async def test_the_limit_that_was_found_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    loop = asyncio.get_running_loop()
    with Monitor([LogLines()], clock=loop.time) as monitor:
        async with pool_at(BusyServer(10, 0.1)) as pool:
            govern(pool, most=64)
            await read_all(pool, range(1500))
            assert f'"limit": {pool.limit}, "auto": true' in json.dumps(snapshot(monitor))
        assert monitor.pools["server"].auto
    said = [record.getMessage() for record in caplog.records if "at once" in record.getMessage()]
    assert said
    assert all(line.startswith("server: ") and line.endswith(" at once, found out to be best so far") for line in said)
