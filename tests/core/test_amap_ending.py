# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import gc
import itertools
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.amap import amap
from airflow_provider_async.errors import CallCancelled, IteratorClosed
from tests.core.calls import Calls, collect, double, first

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator


async def test_the_first_error_cancels_the_rest_and_names_its_item() -> None:
    calls = Calls()
    received, error = await collect(amap(calls, [1.0, -2.0, 50.0, 60.0, 70.0], limit=4, label="load"))
    assert isinstance(error, ValueError)
    assert error.__notes__ == ["load: item -2.0"]
    assert received == [1.0]
    assert sorted(calls.cancelled) == [50.0, 60.0, 70.0]


async def test_what_had_finished_before_the_error_is_delivered_before_it() -> None:
    mapped = amap(Calls(), [1.0, 1.0, -3.0, 50.0], limit=4)
    values = aiter(mapped)
    assert await anext(values) == 1.0
    await asyncio.sleep(10)
    assert await anext(values) == 1.0
    with pytest.raises(ValueError, match="no -3"):
        await anext(values)


async def test_an_error_in_order_does_not_wait_for_a_slow_item_before_it() -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(ValueError, match="no -2"):
        async for _ in amap(Calls(), [1000.0, -2.0], limit=4, ordered=True):
            pass
    assert loop.time() < 10


async def test_leaving_early_cancels_and_awaits_what_is_in_flight() -> None:
    calls = Calls()
    async with amap(calls, itertools.count(1.0), limit=5) as values:
        async for _ in values:
            break
    assert calls.ended == [1.0]
    assert sorted(calls.cancelled) == [2.0, 3.0, 4.0, 5.0, 6.0]


async def test_a_mere_break_cancels_what_is_in_flight_too() -> None:
    calls = Calls()
    async for _ in amap(calls, itertools.count(1.0), limit=5):
        break
    gc.collect()
    await asyncio.sleep(2)
    assert sorted(calls.cancelled) == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert len(asyncio.all_tasks()) == 1


async def test_a_cancelled_consumer_cancels_and_awaits_what_is_in_flight() -> None:
    calls = Calls()

    async def consume() -> None:
        async for _ in amap(calls, itertools.repeat(10.0), limit=5):
            pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(5)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert len(calls.cancelled) == 5


async def test_the_source_is_closed_with_it() -> None:
    closed = []

    async def source() -> AsyncIterator[int]:
        try:
            for number in itertools.count():
                yield number
        finally:
            closed.append("source")

    async with amap(double, amap(double, source(), limit=2), limit=2) as values:
        async for _ in values:
            break
    assert closed == ["source"]


async def test_an_error_of_the_source_is_raised_after_what_it_gave() -> None:
    def source() -> Iterator[float]:
        yield 1.0
        yield 2.0
        raise LookupError("no more")

    async def async_source() -> AsyncIterator[float]:
        for item in source():
            yield item

    both: list[Iterable[float] | AsyncIterable[float]] = [source(), async_source()]
    for items in both:
        received, error = await collect(amap(Calls(), items, limit=4))
        assert received == [1.0, 2.0]
        assert isinstance(error, LookupError)


async def test_whoever_iterates_over_what_is_closed_gets_an_error_and_no_silent_end() -> None:
    mapped = amap(Calls(), [1.0, 100.0], limit=2, label="load")
    task = asyncio.create_task(collect(mapped))
    await asyncio.sleep(10)
    await mapped.aclose()
    received, error = await task
    assert received == [1.0]
    assert isinstance(error, IteratorClosed)
    assert str(error) == "load was closed while it was iterated over"
    assert isinstance((await collect(mapped))[1], IteratorClosed)


async def test_a_call_that_cancels_itself_is_an_error_and_not_a_lost_item() -> None:
    async def cancel_itself(number: int) -> int:
        if number == 1:
            raise asyncio.CancelledError
        return number

    with pytest.raises(CallCancelled, match="cancel_itself cancelled itself") as caught:
        async for _ in amap(cancel_itself, range(3), limit=1):
            pass
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    outcomes = [outcome async for outcome in amap(cancel_itself, range(3), limit=1).outcomes()]
    assert [type(outcome.error) for outcome in outcomes] == [type(None), CallCancelled, type(None)]


async def test_a_worker_that_is_cancelled_from_outside_is_an_error_and_not_a_lost_item() -> None:
    calls = Calls()
    mapped = amap(calls, [10.0] * 3, limit=3, label="load")
    task = asyncio.create_task(first(mapped))
    await asyncio.sleep(1)
    next(other for other in asyncio.all_tasks() if other.get_name().startswith("load")).cancel()
    await task
    await mapped.aclose()
    mapped = amap(calls, [10.0] * 3, limit=3, label="load")

    consumer = asyncio.create_task(collect(mapped))
    await asyncio.sleep(1)
    next(other for other in asyncio.all_tasks() if other.get_name().startswith("load")).cancel()
    received, error = await consumer
    assert received == [10.0, 10.0]
    assert isinstance(error, CallCancelled)


async def test_what_is_not_an_exception_ends_it_as_well() -> None:
    class Killed(BaseException):
        pass

    async def be_killed(_: int) -> int:
        raise Killed

    with pytest.raises(Killed):
        async for _ in amap(be_killed, range(3), limit=2):
            pass


async def test_an_item_is_named_by_the_beginning_of_its_repr() -> None:
    async def fail(_: object) -> None:
        raise LookupError

    with pytest.raises(LookupError) as caught:
        async for _ in amap(fail, ["x" * 10_000], limit=1):
            pass
    assert len(caught.value.__notes__[0]) < 300


async def test_a_function_that_is_not_async_is_an_error_of_its_first_item() -> None:
    with pytest.raises(TypeError, match="await") as caught:
        async for _ in amap(lambda number: number, [1], limit=1, label="load"):  # type: ignore[arg-type, return-value]
            pass
    assert caught.value.__notes__ == ["load: item 1"]


async def test_an_error_reaches_a_consumer_that_is_behind() -> None:
    values = aiter(amap(Calls(), [1.0, 1.0, -5.0] + [1.0] * 20, limit=3))
    await anext(values)
    # The buffer is full and two workers wait for room when the third one's call fails.
    await asyncio.sleep(10)
    assert [await anext(values) for _ in range(5)] == [1.0] * 5
    with pytest.raises(ValueError, match="no -5"):
        await anext(values)


async def test_the_first_of_several_errors_is_raised() -> None:
    async def fail_even_in_clean_up(seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            raise LookupError(str(seconds))

    with pytest.raises(LookupError, match="1"):
        async for _ in amap(fail_even_in_clean_up, [30, 20, 1], limit=3):
            pass
