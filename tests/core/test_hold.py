# SPDX-License-Identifier: Apache-2.0
"""Work that is held back while its checkpoints cannot be saved."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async import amap
from airflow_provider_async.core.position import Position
from airflow_provider_async.core.resume import Checkpoints
from tests.core.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from airflow_provider_async.core.async_map import AsyncMap

SAVE_SECONDS = 5.0
LIMIT = 2


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@asynccontextmanager
async def trying(store: MemoryStore, *, attempt: int = 1, patience_seconds: float = 60) -> AsyncIterator[None]:
    async with Checkpoints(
        store, identity="task", attempt=attempt, save_seconds=SAVE_SECONDS, patience_seconds=patience_seconds
    ):
        yield


async def one_a_second(item: int) -> int:
    await asyncio.sleep(LIMIT)
    return item


async def values(work: AsyncMap[int, int], did: list[int]) -> None:
    async for value in work:
        did.append(value)  # noqa: PERF401 - as they come


async def batches(work: AsyncMap[int, int], did: list[int]) -> None:
    async for batch in work.batches(2):
        did.extend(batch)


async def outcomes(work: AsyncMap[int, int], did: list[int]) -> None:
    async for outcome in work.outcomes():
        did.append(outcome.item)  # noqa: PERF401 - as they come


def hang(store: MemoryStore) -> None:
    store.room = asyncio.Event()


def fail(store: MemoryStore) -> None:
    store.error = OSError("away")


def recover(store: MemoryStore) -> None:
    store.error = None
    if store.room is not None:
        store.room.set()


@pytest.mark.parametrize("consume", [values, batches, outcomes])
@pytest.mark.parametrize("go_away", [fail, hang])
async def test_no_more_is_done_unsaved_than_what_fits_between_two_saves(
    store: MemoryStore,
    consume: Callable[[AsyncMap[int, int], list[int]], object],
    go_away: Callable[[MemoryStore], None],
) -> None:
    did: list[int] = []
    async with trying(store):
        working = asyncio.ensure_future(consume(amap(one_a_second, range(100), limit=LIMIT, resume="load"), did))  # type: ignore[call-overload]
        await asyncio.sleep(20.5)
        go_away(store)
        before = len(did)
        await asyncio.sleep(30)
        assert len(did) - before <= SAVE_SECONDS + LIMIT
        assert not working.done()

        recover(store)
        await asyncio.sleep(SAVE_SECONDS)
        assert len(did) - before > SAVE_SECONDS + LIMIT
        await working
    assert sorted(did) == [*range(100)]


async def test_a_save_that_takes_its_time_holds_nobody_back(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with trying(store):
        working = asyncio.ensure_future(values(amap(one_a_second, range(60), limit=LIMIT, resume="load"), []))
        # The first save has two writes.
        store.seconds = SAVE_SECONDS / 10
        await working
    assert "the work waits" not in caplog.text


async def test_work_goes_on_without_a_store_that_stays_away(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    loop = asyncio.get_running_loop()
    did: list[int] = []
    async with trying(store):
        fail(store)
        working = asyncio.ensure_future(values(amap(one_a_second, range(200), limit=LIMIT, resume="load"), did))
        await asyncio.sleep(60)
        assert len(did) < 10
        assert "the work waits until checkpoints can be saved again, 60 s at most" in caplog.text
        await asyncio.sleep(60)
        assert len(did) > 50
        assert caplog.text.count("the work goes on: what it does until") == 1

        # When it has come back, it is waited for the next time.
        recover(store)
        await asyncio.sleep(SAVE_SECONDS)
        fail(store)
        await asyncio.sleep(SAVE_SECONDS)
        seen = len(did)
        await asyncio.sleep(30)
        assert len(did) - seen <= LIMIT
        recover(store)
        await working
        assert caplog.text.count("checkpoints are saved again, and the work goes on") == 1
        ended = loop.time()
    assert loop.time() == ended


async def test_what_ends_while_the_store_is_away_waits_for_it(store: MemoryStore) -> None:
    loop = asyncio.get_running_loop()
    async with trying(store):
        [value async for value in amap(one_a_second, range(4), limit=LIMIT, resume="load")]
        fail(store)
        loop.call_later(30, recover, store)
    assert 30 <= loop.time() <= 40

    did: list[int] = []
    async with trying(store, attempt=2):
        await values(amap(one_a_second, range(6), limit=LIMIT, resume="load"), did)
    assert did == [4, 5]


@pytest.mark.parametrize("go_away", [fail, hang])
async def test_the_end_is_put_off_for_a_while_and_not_without_end(
    store: MemoryStore, go_away: Callable[[MemoryStore], None]
) -> None:
    loop = asyncio.get_running_loop()
    async with trying(store):
        [value async for value in amap(one_a_second, range(4), limit=LIMIT, resume="load")]
        go_away(store)
        ended = loop.time()
    assert 59 <= loop.time() - ended <= 70


async def test_who_was_waited_for_in_vain_does_not_put_off_the_end_as_well(store: MemoryStore) -> None:
    loop = asyncio.get_running_loop()
    async with trying(store):
        fail(store)
        [value async for value in amap(one_a_second, range(20), limit=LIMIT, resume="load")]
        await asyncio.sleep(60)
        ended = loop.time()
    assert loop.time() - ended < SAVE_SECONDS


async def test_without_patience_nothing_waits(store: MemoryStore) -> None:
    loop = asyncio.get_running_loop()
    did: list[int] = []
    async with trying(store, patience_seconds=0):
        fail(store)
        await values(amap(one_a_second, range(100), limit=LIMIT, resume="load"), did)
    assert loop.time() < 100 + SAVE_SECONDS + 1


async def test_work_that_is_held_back_can_be_ended(store: MemoryStore) -> None:
    loop = asyncio.get_running_loop()
    async with trying(store):
        fail(store)
        work = amap(one_a_second, range(100), limit=LIMIT, resume="load")
        working = asyncio.ensure_future(values(work, []))
        await asyncio.sleep(30)
        began = loop.time()
        working.cancel()
        await asyncio.wait([working])
        assert loop.time() == began
        recover(store)


async def test_work_without_a_name_is_never_held_back(store: MemoryStore) -> None:
    did: list[int] = []
    async with trying(store):
        fail(store)
        [value async for value in amap(one_a_second, range(2), limit=LIMIT, resume="load")]
        await asyncio.sleep(10)
        await values(amap(one_a_second, range(20), limit=LIMIT), did)
        assert len(did) == 20
        recover(store)


async def test_a_position_waits_as_well(store: MemoryStore) -> None:
    loop = asyncio.get_running_loop()
    async with trying(store):
        position = Position("pages")
        await position.keep_up()
        await position.open()
        await position.keep_up()
        fail(store)
        position.keep({"page": 1})
        await asyncio.sleep(SAVE_SECONDS + 1)
        loop.call_later(20, recover, store)
        await position.keep_up()
        assert loop.time() > 20
        position.close()
