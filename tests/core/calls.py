# SPDX-License-Identifier: Apache-2.0
"""A function for amap to call, and what is done with results."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

    from airflow_provider_async.core.amap import AsyncMap

R = TypeVar("R")


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


class Calls:
    """A function that takes as many seconds as its item says, and counts itself."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.ended: list[float] = []
        self.cancelled: list[float] = []
        self.most_at_once = 0

    async def __call__(self, seconds: float) -> float:
        self.begun.append(seconds)
        self.most_at_once = max(self.most_at_once, len(self.begun) - len(self.ended) - len(self.cancelled))
        try:
            await asyncio.sleep(abs(seconds))
        except asyncio.CancelledError:
            await asyncio.sleep(1)  # cleaning up
            self.cancelled.append(seconds)
            raise
        self.ended.append(seconds)
        if seconds < 0:
            raise ValueError(f"no {seconds}")
        return seconds


async def first(mapped: AsyncMap[float, float]) -> float:
    return await anext(aiter(mapped))


async def collect(mapped: AsyncIterable[R]) -> tuple[list[R], BaseException | None]:
    """Take what comes, and the error that ends it."""
    received: list[R] = []
    try:
        async for value in mapped:
            received.append(value)  # noqa: PERF401 - what came before an error counts
    except Exception as error:  # noqa: BLE001 - it is what the tests look at
        return received, error
    return received, None


async def stream(*items: float) -> AsyncIterator[float]:
    for item in items:
        await asyncio.sleep(0)
        yield item
