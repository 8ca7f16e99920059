# SPDX-License-Identifier: Apache-2.0
"""Storms of cancellations, after each of which the pool must be whole."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.retry import Retry

if TYPE_CHECKING:
    from airflow_provider_async.core.pool import Pool
    from tests.core.conftest import Connection, Server


async def all_leases_can_be_held_at_once(pool: Pool[Connection, Connection]) -> bool:
    async with AsyncExitStack() as stack, asyncio.timeout(10):
        for _ in range(pool.limit):
            await stack.enter_async_context(pool.lease())
        statistics = pool.statistics()
        return (statistics.leased, statistics.free, statistics.withheld) == (pool.limit, 0, 0)


@pytest.mark.parametrize("leases", [1, 8])
@pytest.mark.parametrize("after_cancel", ["keep", "discard"])
@pytest.mark.parametrize("seed", range(20))
async def test_nothing_is_lost_in_a_storm_of_cancellations(
    server: Server, leases: int, after_cancel: str, seed: int
) -> None:
    chance = random.Random(seed)
    server.connect_seconds = 0.02
    server.close_seconds = 0.005
    server.refuse = [ConnectionRefusedError() for _ in range(chance.randrange(5))]
    loop = asyncio.get_running_loop()

    async def job() -> None:
        async with pool.lease():
            await asyncio.sleep(chance.random() * 0.02)
            if chance.random() < 0.1:
                raise server.broken()

    async with server.pool(size=5, leases=leases, after_cancel=after_cancel, retry=Retry(initial_seconds=0.01)) as pool:
        jobs = [asyncio.create_task(job()) for _ in range(400)]
        for task in jobs:
            loop.call_later(chance.random() * 0.3, task.cancel)
        await asyncio.wait(jobs)
        assert await all_leases_can_be_held_at_once(pool)
    assert server.most_open <= 5
    assert server.open == []
    assert pool.statistics().open == 0


async def test_a_waiter_that_is_cancelled_just_when_it_is_served_passes_the_lease_on(server: Server) -> None:
    served: list[str] = []

    async def job(name: str) -> None:
        async with pool.lease():
            served.append(name)

    async with server.pool() as pool:
        async with pool.lease():
            first = asyncio.create_task(job("first"))
            second = asyncio.create_task(job("second"))
            await asyncio.sleep(0.1)
            assert pool.statistics().waiting == 2
        # The first has been given the lease and has not run since.
        assert pool.statistics().waiting == 1
        first.cancel()
        await asyncio.wait([first, second])
    assert served == ["second"]


async def test_a_waiter_that_is_cancelled_in_the_queue_leaves_it(server: Server) -> None:
    async with server.pool() as pool, pool.lease():
        waiters = [asyncio.create_task(pool.lease().__aenter__()) for _ in range(3)]
        await asyncio.sleep(0)
        waiters[1].cancel()
        # Cancelled, but not told yet: it must be passed over.
        assert pool.statistics().waiting == 3
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        assert pool.statistics().waiting == 2
        for waiter in waiters:
            waiter.cancel()
        await asyncio.wait(waiters)
        assert pool.statistics().waiting == 0


async def test_an_acquirer_that_is_cancelled_while_connecting_leaves_the_connection_to_the_next(server: Server) -> None:
    server.connect_seconds = 10
    async with server.pool() as pool:
        task = asyncio.create_task(pool.lease().__aenter__())
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.wait([task])
        async with pool.lease():
            pass
    assert server.attempts == 1


@pytest.mark.parametrize("event", ["served", "timed out", "closed"])
async def test_a_waiter_that_is_cancelled_but_not_told_yet_is_passed_over(server: Server, event: str) -> None:
    pool = server.pool(acquire_timeout=5, close_timeout=0)
    async with pool:
        async with pool.lease():
            waiter = asyncio.create_task(pool.lease().__aenter__())
            loop = asyncio.get_running_loop()
            await asyncio.sleep(1)
            if event == "timed out":
                loop.call_at(5, waiter.cancel)
                await asyncio.sleep(5)
            else:
                waiter.cancel()
        if event == "served":
            async with pool.lease():
                pass
    assert waiter.cancelled()
    assert pool.statistics().leased == 0
