# SPDX-License-Identifier: Apache-2.0
"""An amap that goes on where an earlier one stopped."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async import amap
from airflow_provider_async.core import resume
from airflow_provider_async.core.resume import Checkpoints
from airflow_provider_async.errors import CheckpointError, IteratorClosed
from tests.core.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_async.core.async_map import AsyncMap


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@asynccontextmanager
async def trying(store: MemoryStore, *, attempt: int = 1) -> AsyncIterator[None]:
    """Run a try of a task, which succeeds if it raises nothing."""
    async with Checkpoints(store, identity="task", attempt=attempt) as checkpoints:
        yield
    await checkpoints.remove()


@asynccontextmanager
async def failing_try(store: MemoryStore, error: type[Exception]) -> AsyncIterator[None]:
    """Run a try of a task that ends with an error."""
    with pytest.raises(error):
        async with trying(store):
            yield


def fail() -> None:
    raise ZeroDivisionError


class Work:
    """Notes what it did; fails for one item while it is told to."""

    def __init__(self, failing: int | None = None) -> None:
        self.did: list[int] = []
        self.failing = failing

    async def __call__(self, item: int) -> int:
        if item == self.failing:
            raise ValueError(f"item {item}")
        self.did.append(item)
        return item * 10

    def over(self, items: range, **options: object) -> AsyncMap[int, int]:
        return amap(self, items, limit=1, **{"resume": "load", **options})  # type: ignore[arg-type]


async def test_the_next_try_does_the_rest(store: MemoryStore) -> None:
    work = Work(failing=5)
    async with failing_try(store, ValueError):
        [value async for value in work.over(range(10))]
    assert work.did == [0, 1, 2, 3, 4]

    again = Work()
    async with trying(store, attempt=2):
        results = again.over(range(10))
        assert [value async for value in results] == [50, 60, 70, 80, 90]
        progress = results.progress
    assert (progress.done, progress.resumed, progress.total) == (10, 5, 10)

    # It succeeded: the next one begins afresh.
    assert store.values == {}


async def test_a_batch_is_done_as_a_whole(store: MemoryStore) -> None:
    work = Work()
    async with failing_try(store, ZeroDivisionError):
        async for batch in work.over(range(10)).batches(4):
            if 50 in batch:
                fail()

    again = Work()
    async with trying(store, attempt=2):
        assert [batch async for batch in again.over(range(10)).batches(4)] == [[40, 50, 60, 70], [80, 90]]


async def test_what_came_before_an_error_is_a_batch_that_can_be_done(store: MemoryStore) -> None:
    batches: list[list[int]] = []
    async with failing_try(store, ValueError):
        async for batch in Work(failing=5).over(range(10)).batches(3):
            batches.append(batch)  # noqa: PERF401 - until it fails
    assert batches == [[0, 10, 20], [30, 40]]

    again = Work()
    async with trying(store, attempt=2):
        [value async for value in again.over(range(10))]
    assert again.did == [5, 6, 7, 8, 9]


async def test_outcomes_are_acknowledged_by_hand_if_so_wanted(store: MemoryStore) -> None:
    async with failing_try(store, ZeroDivisionError):
        async for outcome in Work(failing=2).over(range(6), ack="manual").outcomes():
            if outcome.item in (1, 2, 3):
                outcome.ack()
        fail()

    again = Work()
    async with trying(store, attempt=2):
        [value async for value in again.over(range(6))]
    assert again.did == [0, 4, 5]


async def test_a_failed_item_is_done_again_by_the_next_try(store: MemoryStore) -> None:
    async with failing_try(store, ZeroDivisionError):
        async for _ in Work(failing=2).over(range(6)).outcomes():
            pass
        fail()

    again = Work()
    async with trying(store, attempt=2):
        [value async for value in again.over(range(6))]
    assert again.did == [2]


async def test_a_list_may_change_between_tries(store: MemoryStore) -> None:
    async with failing_try(store, ValueError):
        [value async for value in Work(failing=5).over(range(10))]

    again = Work()
    async with trying(store, attempt=2):
        results = amap(again, (item for item in [11, 3, 9, 0]), limit=2, resume="load")
        assert sorted([value async for value in results]) == [90, 110]


@pytest.mark.parametrize("ordered", [False, True])
async def test_results_are_kept_and_delivered_again(store: MemoryStore, ordered: bool) -> None:
    async with failing_try(store, ValueError):
        [value async for value in Work(failing=5).over(range(10), results="keep")]

    again = Work()
    async with trying(store, attempt=2):
        results = again.over(range(10), results="keep", ordered=ordered)
        values = [value async for value in results]
    assert sorted(values) == [item * 10 for item in range(10)]
    if ordered:
        assert values == sorted(values)
    assert again.did == [5, 6, 7, 8, 9]
    assert (results.progress.done, results.progress.resumed, results.progress.total) == (10, 5, 10)


async def test_items_may_come_from_an_async_iterator(store: MemoryStore) -> None:
    async def items() -> object:
        for item in range(5):
            yield item

    async with failing_try(store, ValueError):
        [value async for value in amap(Work(failing=3), items(), limit=1, resume="load")]  # type: ignore[arg-type]

    again = Work()
    async with trying(store, attempt=2):
        [value async for value in amap(again, items(), limit=1, resume="load")]  # type: ignore[arg-type]
    assert again.did == [3, 4]


async def test_millions_of_done_items_are_left_out_while_others_have_their_turn(store: MemoryStore) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with failing_try(store, ZeroDivisionError):
        async for batch in Work().over(range(20_000)).batches(10_000):
            assert batch
        fail()
    counting = asyncio.ensure_future(count_turns())
    async with trying(store, attempt=2):
        assert [value async for value in Work().over(range(20_000))] == []
    counting.cancel()
    assert turns > 20


async def test_two_items_of_one_key_are_an_error(store: MemoryStore) -> None:
    async with trying(store):
        with pytest.raises(CheckpointError, match="resume='load': two items have the key 3"):
            [value async for value in Work().over(range(10), key=lambda item: item % 7 and 3)]


async def test_an_item_without_a_key_is_an_error() -> None:
    async def work(item: object) -> object:
        return item

    with pytest.raises(TypeError, match=r"1\.5 of type float has no key to resume by"):
        [value async for value in amap(work, [1.5], limit=1, resume="load")]


async def test_a_key_that_is_none_is_an_error(store: MemoryStore) -> None:
    async with trying(store):
        with pytest.raises(TypeError, match=r"key= must make a string, an integer or a tuple of these, not 1\.5 of 3"):
            [value async for value in Work().over(range(3, 10), key=lambda item: item / 2)]


async def test_a_name_used_twice_at_once_is_an_error_and_one_after_the_other_is_not(store: MemoryStore) -> None:
    async with trying(store):
        async with Work().over(range(3)) as first:
            await anext(aiter(first))
            with pytest.raises(CheckpointError, match="resume='load' is used twice at once"):
                await anext(aiter(Work().over(range(3))))
            assert [value async for value in Work().over(range(3), resume="other")] == [0, 10, 20]
        [value async for value in Work().over(range(3, 6))]


async def test_outside_of_a_task_nothing_is_kept() -> None:
    assert [value async for value in Work().over(range(3))] == [0, 10, 20]


async def test_a_store_that_fails_does_not_fail_the_work(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    store.error = OSError("no space")
    async with Checkpoints(store, identity="task", attempt=1, save_seconds=0.01) as checkpoints:
        [value async for value in Work().over(range(3))]
        await asyncio.sleep(0.1)
        assert "could not be saved, which is tried again: no space" in caplog.text
        store.error = None
        await asyncio.sleep(0.1)
        assert store.values
        store.error = OSError("gone")
        await checkpoints.remove()
    assert "could not be removed: gone" in caplog.text


async def test_an_amap_may_begin_while_others_are_saved_and_each_failure_is_told_by_name(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store.error, store.failing, store.room = OSError("no space"), "one", asyncio.Event()
    async with Checkpoints(store, identity="task", attempt=1, save_seconds=1e6) as checkpoints:
        for name in ("one", "two"):
            [value async for value in Work().over(range(3), resume=name)]
        saving = asyncio.ensure_future(checkpoints.save())
        await store.arrived.wait()
        [value async for value in Work().over(range(3), resume="three")]
        store.room.set()
        await saving
        assert "'one' could not be saved, which is tried again: no space" in caplog.text
        assert "'two'" not in caplog.text
        assert [key for key in store.values if key.startswith("two.")] != []

        store.error = None
        await checkpoints.save()
        assert "'one' is saved again" in caplog.text
        assert {key.partition(".")[0] for key in store.values} == {"one", "two", "three"}


async def test_what_an_error_ends_is_saved_while_others_still_clean_up(store: MemoryStore) -> None:
    async with failing_try(store, ZeroDivisionError):
        try:
            async with Work().over(range(3)) as results:
                async for value in results:
                    if value == 20:
                        fail()
        finally:
            await store.arrived.wait()  # a clean-up that takes its time
    assert store.values


async def test_what_ends_by_itself_is_not_saved_at_once(store: MemoryStore) -> None:
    async with Checkpoints(store, identity="task", attempt=1):
        for _ in range(100):
            [value async for value in Work().over(range(3))]
            await asyncio.sleep(0)
        assert store.writes == 0


async def test_when_all_tasks_are_ended_what_is_done_is_saved_first(store: MemoryStore) -> None:
    async with Checkpoints(store, identity="task", attempt=1, save_seconds=1e6):
        [value async for value in Work().over(range(3))]
        await asyncio.sleep(0)
        (saver,) = (task for task in asyncio.all_tasks() if task.get_name() == "checkpoints")
        saver.cancel()
        await asyncio.wait([saver])
        assert len(store.values) == 2

        [value async for value in Work().over(range(3, 6))]
    again = Work()
    async with trying(store, attempt=2):
        [value async for value in again.over(range(10))]
    assert again.did == [6, 7, 8, 9]


async def test_a_store_that_hangs_is_not_waited_for_without_end(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.room = asyncio.Event()
    async with Checkpoints(store, identity="task", attempt=1):
        [value async for value in Work().over(range(3))]
    assert "checkpoints could not be saved within 60 s" in caplog.text

    caplog.clear()
    async with Checkpoints(store, identity="task", attempt=1):
        [value async for value in Work().over(range(3))]
        await asyncio.sleep(0)
        (saver,) = (task for task in asyncio.all_tasks() if task.get_name() == "checkpoints" and not task.cancelling())
        saver.cancel()
    assert "checkpoints could not be saved within 10 s" in caplog.text


async def test_the_first_try_asks_for_nothing(store: MemoryStore) -> None:
    async with failing_try(store, ZeroDivisionError):
        [value async for value in Work().over(range(3))]
        fail()
    reads = store.reads

    # Of a task that was removed, and has come back under the same name.
    async with Checkpoints(store, identity="task", attempt=1, is_first=True) as checkpoints:
        assert [value async for value in Work().over(range(3))] == [0, 10, 20]
        assert store.reads == reads
        await checkpoints.save()
        await checkpoints.remove()
    assert [key for key in store.values if key.endswith(".head")] == []


@pytest.mark.parametrize(("fresh", "expected"), [(True, [0, 10, 20]), (["load"], [0, 10, 20]), (["other"], [])])
async def test_what_is_to_begin_anew_does(store: MemoryStore, fresh: bool | list[str], expected: list[int]) -> None:
    async with failing_try(store, ZeroDivisionError):
        [value async for value in Work().over(range(3))]
        fail()

    async with Checkpoints(store, identity="task", attempt=2, fresh=fresh) as checkpoints:
        assert [value async for value in Work().over(range(3))] == expected
        await checkpoints.save()
        await checkpoints.remove()
    assert store.values == {}


async def test_checkpoints_are_found_when_they_are_wanted_and_not_before(store: MemoryStore) -> None:
    found: list[Checkpoints] = []

    def find() -> Checkpoints:
        found.append(Checkpoints(store, identity="task", attempt=1))
        return found[-1]

    with resume.resuming_by(find):
        [value async for value in amap(Work(), range(3), limit=1)]
        assert not found
        [value async for value in Work().over(range(3))]
    assert [value async for value in Work().over(range(3))] == [0, 10, 20]
    (checkpoints,) = found
    await checkpoints.aclose()
    assert store.values


async def test_checkpoints_of_nothing_begin_no_task(store: MemoryStore) -> None:
    async with Checkpoints(store, identity="task", attempt=1):
        assert len(asyncio.all_tasks()) == 1
    assert (store.reads, store.writes) == (0, 0)


def test_what_a_loop_has_saved_another_one_removes(store: MemoryStore) -> None:
    checkpoints = Checkpoints(store, identity="task", attempt=1)

    async def use() -> None:
        async with checkpoints:
            [value async for value in Work().over(range(3))]
            await asyncio.gather(checkpoints.save(), checkpoints.save())

    asyncio.run(use())
    assert store.values
    asyncio.run(checkpoints.remove())
    assert store.values == {}


async def test_a_map_that_is_closed_while_its_checkpoint_is_read_runs_nothing() -> None:
    class Slow(MemoryStore):
        async def get(self, key: str) -> str | None:
            await asyncio.sleep(0.01)
            return None

    work = Work()
    async with Checkpoints(Slow(), identity="task", attempt=1):
        results = work.over(range(3))
        reading = asyncio.ensure_future(anext(aiter(results)))
        await asyncio.sleep(0)
        await results.aclose()
        with pytest.raises(IteratorClosed):
            await reading
    assert work.did == []


async def test_a_checkpoint_that_cannot_be_read_is_an_error_and_its_name_is_free_again() -> None:
    class Unreadable(MemoryStore):
        async def get(self, key: str) -> str | None:
            raise OSError("no answer")

    async with Checkpoints(Unreadable(), identity="task", attempt=1):
        for _ in range(2):
            with pytest.raises(OSError, match="no answer"):
                await anext(aiter(Work().over(range(3))))


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "a.b", "a" * 101])
def test_a_name_that_cannot_be_part_of_a_key_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="resume must be a name of letters"):
        Work().over(range(3), resume=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resume": None, "ack": "manual"}, "are for resume"),
        ({"resume": None, "results": "keep"}, "are for resume"),
        ({"resume": None, "key": str}, "are for resume"),
        ({"ack": "later"}, "ack must be 'next' or 'manual', not 'later'"),
        ({"results": "all"}, "results must be 'keep' or None, not 'all'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Work().over(range(3), **options)


async def test_values_and_batches_cannot_be_acknowledged_by_hand(store: MemoryStore) -> None:
    async with trying(store):
        for results in (aiter(Work().over(range(3), ack="manual")), Work().over(range(3), ack="manual").batches(2)):
            with pytest.raises(RuntimeError, match=r"iterate over \.outcomes\(\) and call ack\(\)"):
                await anext(results)
        async for outcome in Work().over(range(1)).outcomes():
            with pytest.raises(RuntimeError, match="is acknowledged by hand where"):
                outcome.ack()
