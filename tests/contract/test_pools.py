# SPDX-License-Identifier: Apache-2.0
"""What holds for every pool, whatever its protocol, seen from its server."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.errors import PoolClosed, PoolConnectError, PoolTimeout
from tests.contract.conftest import LOGGING_IN

if TYPE_CHECKING:
    from tests.contract.conftest import AnyPool, Harness


async def use(harness: Harness, pool: AnyPool) -> None:
    async with harness.lease(pool) as client:
        await harness.use(client)


async def hold(harness: Harness, pool: AnyPool, held: asyncio.Event) -> None:
    async with harness.lease(pool) as client:
        await harness.use(client)
        held.set()
        await asyncio.Event().wait()


async def test_one_after_the_other_they_use_one_connection(harness: Harness) -> None:
    async with harness.pool(size=3) as pool:
        assert harness.logins == 0
        for _ in range(10):
            await use(harness, pool)
    assert harness.logins == 1
    assert await harness.all_closed()


async def test_many_at_once_use_no_more_than_the_size(harness: Harness) -> None:
    async with harness.pool(size=3) as pool:
        await asyncio.gather(*(use(harness, pool) for _ in range(60)))
        assert 1 <= harness.logins <= 3
        assert harness.open <= 3
    assert await harness.all_closed()


async def test_an_error_of_the_callers_own_costs_no_connection(harness: Harness) -> None:
    async with harness.pool(size=1) as pool:
        for error in (ValueError, KeyError, OSError):
            with pytest.raises(error):
                async with harness.lease(pool):
                    raise error
        await use(harness, pool)
    assert harness.logins == 1


async def test_connections_that_were_cut_while_idle_cost_nobody_an_error(harness: Harness) -> None:
    async with harness.pool(size=2) as pool:
        async with harness.lease(pool), harness.lease(pool):
            pass
        harness.cut()
        assert await harness.all_closed()
        await asyncio.sleep(0.05)
        await asyncio.gather(*(use(harness, pool) for _ in range(10)))
        assert harness.open <= 2


async def test_a_connection_that_is_cut_in_use_is_replaced(harness: Harness) -> None:
    async with harness.pool(size=1) as pool:

        async def use_when_cut() -> None:
            async with harness.lease(pool) as client:
                await harness.use(client)
                harness.cut()
                assert await harness.all_closed()
                for _ in range(10):
                    await harness.use(client)

        (error,) = await asyncio.gather(use_when_cut(), return_exceptions=True)
        assert (error is not None) == harness.notices_cuts
        await use(harness, pool)
    assert harness.logins == 2


@pytest.mark.parametrize("harness", LOGGING_IN.values(), ids=LOGGING_IN, indirect=True)
async def test_a_refused_login_is_tried_once(harness: Harness) -> None:
    async with harness.pool(size=2, password="wr0ng") as pool:
        errors = await asyncio.gather(*(use(harness, pool) for _ in range(1)), return_exceptions=True)
        errors += await asyncio.gather(*(use(harness, pool) for _ in range(10)), return_exceptions=True)
    assert {type(error) for error in errors} == {PoolConnectError}
    assert harness.logins == 1
    for error in errors:
        assert str(error).startswith(harness.name)
        assert "wr0ng" not in f"{error!r} {error.__cause__!r}"  # type: ignore[union-attr]


async def test_a_storm_of_cancellations_loses_no_lease(harness: Harness) -> None:
    chance = random.Random(1)
    async with harness.pool(size=3) as pool:
        jobs = [asyncio.create_task(use(harness, pool)) for _ in range(100)]
        for job in jobs:
            asyncio.get_running_loop().call_later(chance.random() * 0.2, job.cancel)
        await asyncio.wait(jobs)
        async with AsyncExitStack() as stack, asyncio.timeout(10):
            for _ in range(3):
                await harness.use(await stack.enter_async_context(harness.lease(pool)))
            assert harness.open <= 3
        statistics = pool.statistics()
        assert (statistics.leased, statistics.waiting) == (0, 0)
    assert await harness.all_closed()


async def test_a_lease_that_does_not_come_in_time_is_an_error_that_names_the_pool(harness: Harness) -> None:
    async with harness.pool(size=1, acquire_timeout=1) as pool, harness.lease(pool):
        with pytest.raises(PoolTimeout) as caught:
            await use(harness, pool)
    assert str(caught.value).startswith(f"{harness.name}: ")
    assert "1 of 1 open, 1 of 1 leased" in str(caught.value)


async def test_closing_tells_those_who_wait_and_those_who_come_late(harness: Harness) -> None:
    held = asyncio.Event()
    async with harness.pool(size=1, close_timeout=0.2) as pool:
        holder = asyncio.create_task(hold(harness, pool, held))
        await held.wait()
        waiter = asyncio.create_task(use(harness, pool))
        await asyncio.sleep(0)
    with pytest.raises(PoolClosed):
        await waiter
    with pytest.raises(PoolClosed):
        await use(harness, pool)
    assert await harness.all_closed()
    holder.cancel()
    await asyncio.wait([holder])
    assert harness.logins == 1


async def test_an_exit_by_cancellation_is_over_in_two_seconds(harness: Harness) -> None:
    held = asyncio.Event()
    holders = []

    async def main() -> None:
        async with harness.pool(size=1, close_timeout=1000) as pool:
            holders.append(asyncio.create_task(hold(harness, pool, held)))
            await asyncio.Event().wait()

    task = asyncio.create_task(main())
    await held.wait()
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([task])
    assert task.cancelled()
    assert await harness.all_closed()
    holders[0].cancel()
    await asyncio.wait(holders)


async def test_a_pool_is_entered_once(harness: Harness) -> None:
    pool = harness.pool(size=1)
    async with pool:
        pass
    with pytest.raises(RuntimeError, match="entered once"):
        await pool.__aenter__()


async def test_no_pool_tells_its_secrets(harness: Harness) -> None:
    async with harness.pool(size=1) as pool:
        await use(harness, pool)
        assert harness.name in repr(pool)
        assert harness.secret not in f"{pool!r} {pool.statistics()!r}"
