# SPDX-License-Identifier: Apache-2.0
"""What a lease and an amap cost: next to a bare semaphore, next to the bare call, and in memory."""

from __future__ import annotations

import asyncio
import resource
import statistics
import sys
import time
from typing import TYPE_CHECKING

from airflow_provider_async.core.amap import amap
from airflow_provider_async.core.pool import Pool
from airflow_provider_async.core.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

REPETITIONS = 7
LEASES = 50_000
CONTENDED_LEASES = 200_000
ITEMS = 200_000
MILLION = 1_000_000


async def connect() -> object:
    return object()


async def close(_: object) -> None:
    pass


async def call(item: int) -> int:
    return item


async def lease_uncontended() -> None:
    async with Pool[object, object](connect, close=close, size=5) as pool:
        async with pool.lease():
            pass
        for _ in range(LEASES):
            async with pool.lease():
                pass


async def semaphore_uncontended() -> None:
    semaphore = asyncio.Semaphore(5)
    for _ in range(LEASES):
        async with semaphore:
            pass


async def lease_with_waiters(waiters: int) -> None:
    async with Pool[object, object](connect, close=close, size=5, acquire_timeout=600) as pool:

        async def job() -> None:
            for _ in range(CONTENDED_LEASES // waiters):
                async with pool.lease():
                    await asyncio.sleep(0)

        await asyncio.gather(*(job() for _ in range(waiters)))


async def bare_calls() -> None:
    for item in range(ITEMS):
        await call(item)


async def amap_plain() -> None:
    async for _ in amap(call, range(ITEMS), limit=64):
        pass


async def amap_with_retry() -> None:
    async for _ in amap(call, range(ITEMS), limit=64, retry=Retry()):
        pass


def medians(*works: Callable[[], Awaitable[None]]) -> list[float]:
    """Run the works in turn, several times over, and return the median seconds of each."""

    async def timed(work: Callable[[], Awaitable[None]]) -> float:
        began = time.perf_counter()
        await work()
        return time.perf_counter() - began

    rounds = [[asyncio.run(timed(work)) for work in works] for _ in range(REPETITIONS)]
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def check(claim: str, measured: float, at_most: float, unit: str = "") -> bool:
    """Print a claim beside what was measured."""
    holds = measured <= at_most
    print(f"{'ok  ' if holds else 'MISS'} {claim}: {measured:.2f}{unit} (at most {at_most:g}{unit})")
    return holds


async def read_a_million() -> int:
    """Return by how many KiB the peak memory grew."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async for _ in amap(call, range(MILLION), limit=64, retry=Retry()):
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def main() -> int:
    """Measure, print, and return an exit code."""
    lease, semaphore = medians(lease_uncontended, semaphore_uncontended)
    few, many = medians(lambda: lease_with_waiters(10), lambda: lease_with_waiters(10_000))
    bare, plain, retried = medians(bare_calls, amap_plain, amap_with_retry)
    results = [
        check("an uncontended lease over a semaphore's acquire and release", lease / semaphore, 5, " times"),
        check("a lease with 10,000 waiters over one with 10", many / few, 1.2, " times"),
        check("amap over the bare call", (plain - bare) / ITEMS * 1e6, 8, " µs an item"),
        check("amap with retry over the bare call", (retried - bare) / ITEMS * 1e6, 15, " µs an item"),
        check("growth of peak memory over a million items", asyncio.run(read_a_million()) / 1024, 30, " MiB"),
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
