# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import itertools
from contextvars import ContextVar
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.amap import Outcome, amap
from airflow_provider_async.core.monitor import Monitor
from airflow_provider_async.core.progress import Progress
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import IteratorClosed
from tests.core.calls import Calls, collect, double, first, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


async def test_every_item_gives_one_value() -> None:
    assert sorted([value async for value in amap(double, range(100), limit=7)]) == list(range(0, 200, 2))
    assert [value async for value in amap(double, [], limit=7)] == []


async def test_values_come_as_they_arrive_or_in_order() -> None:
    seconds = [3.0, 1.0, 2.0, 0.5]
    assert [value async for value in amap(Calls(), seconds, limit=4)] == [0.5, 1.0, 2.0, 3.0]
    assert [value async for value in amap(Calls(), seconds, limit=4, ordered=True)] == seconds
    assert [value async for value in amap(Calls(), stream(*seconds), limit=4)] == [0.5, 1.0, 2.0, 3.0]
    assert [value async for value in amap(Calls(), stream(*seconds), limit=4, ordered=True)] == seconds


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_never_more_than_limit_calls_run(limit: int) -> None:
    calls = Calls()
    assert len([value async for value in amap(calls, [1.0] * 20, limit=limit)]) == 20
    assert calls.most_at_once == min(limit, 20)


async def test_a_slow_item_holds_back_nobody() -> None:
    loop = asyncio.get_running_loop()
    arrivals = [loop.time() async for _ in amap(Calls(), [1000.0] + [1.0] * 99, limit=4)]
    # Three workers for 99 items of a second each, while the fourth sleeps.
    assert arrivals[98] - loop.time() + 1000 == pytest.approx(33)


async def test_a_slow_consumer_stops_the_intake() -> None:
    taken = 0

    def count() -> Iterator[float]:
        nonlocal taken
        for taken in itertools.count(1):  # noqa: B007 - read by the consumer
            yield 0.0

    async def count_async() -> AsyncIterator[float]:
        for item in count():
            yield item

    sources: list[Callable[[], Iterator[float] | AsyncIterator[float]]] = [count, count_async]
    for source, ordered in itertools.product(sources, (False, True)):
        consumed = 0
        async with amap(Calls(), source(), limit=5, ordered=ordered) as values:
            async for _ in values:
                consumed += 1
                await asyncio.sleep(10)
                assert taken <= consumed + 2 * 5
                if consumed == 20:
                    break


async def test_outcomes_go_on_after_an_error() -> None:
    mapped = amap(Calls(), [1.0, -2.0, 3.0], limit=4)
    first, second, third = [outcome async for outcome in mapped.outcomes()]
    assert first == Outcome(item=1.0, value=1.0, error=None)
    assert (second.item, second.value, str(second.error)) == (-2.0, None, "no -2.0")
    assert third.value == 3.0
    assert mapped.progress == Progress(done=2, failed=1, total=3)


async def test_batches_are_full_but_for_the_last() -> None:
    mapped = amap(double, range(7), limit=3, ordered=True)
    assert [batch async for batch in mapped.batches(3)] == [[0, 2, 4], [6, 8, 10], [12]]
    assert [batch async for batch in amap(double, range(4), limit=3, ordered=True).batches(2)] == [[0, 2], [4, 6]]
    with pytest.raises(ValueError, match="the size of a batch must be at least 1, not 0"):
        await anext(amap(double, range(4), limit=3).batches(0))


async def test_a_batch_that_was_begun_is_delivered_before_an_error() -> None:
    batches, error = await collect(amap(Calls(), [1.0, 2.0, -3.0, 50.0], limit=4).batches(10))
    assert batches == [[1.0, 2.0]]
    assert isinstance(error, ValueError)
    batches, error = await collect(amap(Calls(), [-3.0, 50.0], limit=4).batches(10))
    assert batches == []
    assert isinstance(error, ValueError)


async def test_two_consumers_at_once_are_refused() -> None:
    mapped = amap(Calls(), [100.0], limit=2, label="load")
    task = asyncio.create_task(first(mapped))
    await asyncio.sleep(1)
    with pytest.raises(RuntimeError, match="load is iterated over twice at once"):
        await anext(aiter(mapped))
    with pytest.raises(IteratorClosed):
        await task


async def test_transient_errors_are_retried_where_a_policy_says_so() -> None:
    attempts: list[int] = []

    async def flaky(number: int) -> int:
        attempts.append(number)
        if attempts.count(number) < 3:
            raise ConnectionResetError
        return number

    mapped = amap(flaky, range(5), limit=2, retry=Retry(attempts=3))
    assert sorted([value async for value in mapped]) == list(range(5))
    assert mapped.progress == Progress(done=5, failed=0, total=5, retries=10)
    with pytest.raises(ConnectionResetError):
        async for _ in amap(flaky, range(5, 9), limit=2, retry=Retry(attempts=2)):
            pass


async def test_progress_knows_the_total_when_the_items_are_counted_or_have_ended() -> None:
    mapped = amap(double, range(3), limit=1)
    assert mapped.progress == Progress(done=0, failed=0, total=3)
    unknown = amap(Calls(), stream(1.0, 1.0), limit=1)
    totals = []
    async for _ in unknown:
        totals.append(unknown.progress.total)
        await asyncio.sleep(10)
    assert totals == [None, 2]


async def test_few_items_start_few_workers() -> None:
    calls = Calls()
    mapped = amap(calls, [1.0] * 3, limit=10_000)
    task = asyncio.create_task(first(mapped))
    await asyncio.sleep(0.5)
    assert len(asyncio.all_tasks()) <= 3 + 1 + 2
    await task
    await mapped.aclose()


async def test_workers_begin_in_a_few_turns_of_the_loop_and_do_not_drain_the_items_in_one() -> None:
    turns: list[int] = []

    def items() -> Iterator[float]:
        while True:
            turns[-1] += 1
            yield 1.0

    mapped = amap(Calls(), items(), limit=100)
    task = asyncio.create_task(first(mapped))
    for _ in range(20):
        turns.append(0)
        await asyncio.sleep(0)
    assert sum(turns) == 100
    assert max(turns) <= 16
    assert sum(number > 0 for number in turns) <= 8
    await task
    await mapped.aclose()


async def test_there_may_be_more_items_than_their_length_says() -> None:
    class Underestimated:
        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Iterator[float]:
            return iter([1.0] * 50)

    calls = Calls()
    results, error = await collect(amap(calls, Underestimated(), limit=50))
    assert (len(results), error, calls.most_at_once) == (50, None, 50)


@pytest.mark.parametrize(
    ("function", "items", "limit", "error", "sentence"),
    [
        (None, [], 1, TypeError, "amap needs an async function, not None"),
        (double, "abc", 1, TypeError, "items is one str, not an iterable of items"),
        (double, 5, 1, TypeError, "items must be an iterable or an async iterable, not int"),
        (double, [], 0, ValueError, "limit must be at least 1, not 0"),
    ],
)
def test_bad_arguments_are_refused_at_once(
    function: object, items: object, limit: int, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        amap(function, items, limit=limit)  # type: ignore[arg-type]


async def test_each_worker_has_the_context_of_the_one_who_asks_for_the_first_result() -> None:
    variable = ContextVar("variable", default="unset")
    seen = []

    async def look(number: int) -> None:
        seen.append(variable.get())
        variable.set(f"set by {number}")
        await asyncio.sleep(1)

    mapped = amap(look, range(3), limit=3)
    variable.set("set outside")
    async for _ in mapped:
        pass
    assert seen == ["set outside"] * 3
    assert variable.get() == "set outside"


async def test_progress_says_how_fast_it_goes() -> None:
    loop = asyncio.get_running_loop()
    with Monitor(clock=loop.time):
        mapped = amap(Calls(), [2.0] * 10, limit=2, label="load")
        values = aiter(mapped)
        for _ in range(4):
            await anext(values)
        progress = mapped.progress
        assert (progress.label, progress.elapsed, progress.rate, progress.seconds_left) == ("load", 4, 1, 6)
        assert len([value async for value in values]) == 6
        await asyncio.sleep(100)
        progress = mapped.progress
        assert (progress.elapsed, progress.rate, progress.seconds_left) == (10, 1, None)
