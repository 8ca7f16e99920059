# SPDX-License-Identifier: Apache-2.0
"""Which items are done, from try to try, whatever happens to a try or to the store."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async import amap
from airflow_provider_async.core.checkpoint import Checkpoint
from airflow_provider_async.core.keys import hash_key
from airflow_provider_async.core.resume import Checkpoints
from airflow_provider_async.errors import CheckpointError
from tests.core.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

#: What Airflow's task state store takes for a value, as JSON.
LIMIT_BYTES = 64 * 1024


async def kept(store: MemoryStore, *, attempt: int = 99, name: str = "load", keeps_results: bool = False) -> Checkpoint:
    checkpoint = Checkpoint(store, name, identity="task", attempt=attempt, keeps_results=keeps_results)
    await checkpoint.load()
    return checkpoint


async def write(store: MemoryStore, numbers: range, *, attempt: int = 1) -> Checkpoint:
    checkpoint = await kept(store, attempt=attempt)
    for number in numbers:
        checkpoint.add(hash_key(number))
    await checkpoint.save()
    return checkpoint


async def done(store: MemoryStore, numbers: range, *, attempt: int = 99) -> list[int]:
    checkpoint = await kept(store, attempt=attempt)
    return [number for number in numbers if hash_key(number) in checkpoint.done]


async def test_what_was_saved_is_known_to_the_next_try() -> None:
    store = MemoryStore()
    await write(store, range(3))

    assert await done(store, range(5), attempt=2) == [0, 1, 2]


async def test_what_was_not_saved_is_not() -> None:
    store = MemoryStore()
    checkpoint = await write(store, range(3))
    checkpoint.add(hash_key(3))

    assert await done(store, range(5)) == [0, 1, 2]


async def test_tries_add_to_each_other_even_if_an_old_one_is_still_at_work() -> None:
    store = MemoryStore()
    old = await write(store, range(3))
    await write(store, range(3, 5), attempt=2)
    old.add(hash_key(7))
    await old.save()

    assert await done(store, range(9), attempt=3) == [0, 1, 2, 3, 4, 7]


async def test_a_process_that_is_started_again_under_the_same_number_adds_to_what_it_had_done() -> None:
    store = MemoryStore()
    await write(store, range(3))
    await write(store, range(3, 5))

    assert await done(store, range(9)) == [0, 1, 2, 3, 4]


async def test_seventeen_thousand_items_fit_into_few_small_pages() -> None:
    store = MemoryStore()
    await write(store, range(17_000))

    assert len(store.values) == 5
    assert sum(len(json.dumps(value)) for value in store.values.values()) < 200_000
    assert max(len(json.dumps(value)) for value in store.values.values()) < LIMIT_BYTES
    assert len(await done(store, range(20_000))) == 17_000


async def test_a_save_writes_only_what_is_new() -> None:
    store = MemoryStore()
    checkpoint = await write(store, range(17_000))
    writes = store.writes
    checkpoint.add(hash_key(-1))
    await checkpoint.save()
    await checkpoint.save()

    assert store.writes == writes + 1


async def test_what_is_removed_is_gone_and_comes_back_with_nobody() -> None:
    store = MemoryStore()
    old = await write(store, range(3))
    checkpoint = await write(store, range(3, 6), attempt=2)
    await checkpoint.remove()
    assert [key for key in store.values if key.startswith("load.")] == []

    # An old try that has not noticed.
    old.add(hash_key(7))
    await old.save()
    assert await done(store, range(9)) == []


async def test_what_was_never_saved_is_removed_too() -> None:
    checkpoint = await kept(MemoryStore())
    checkpoint.add(1)
    await checkpoint.remove()
    await checkpoint.save()


async def test_what_is_there_of_an_earlier_generation_is_removed_too() -> None:
    store = MemoryStore()
    await write(store, range(3))
    checkpoint = Checkpoint(store, "load", identity="task", attempt=2)
    await checkpoint.load(fresh=True)
    assert len(checkpoint.done) == 0

    await checkpoint.remove()
    assert store.values == {}


async def test_a_fresh_start_does_everything_again_and_the_next_try_goes_on_from_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    store = MemoryStore()
    old = await write(store, range(5))
    fresh = Checkpoint(store, "load", identity="task", attempt=2)
    await fresh.load(fresh=True)
    fresh.add(hash_key(7))
    await fresh.save()
    old.add(hash_key(8))
    await old.save()

    assert "'load' begins anew, as asked for" in caplog.text
    assert await done(store, range(9)) == [7]


async def test_a_removal_that_fails_goes_on_where_it_stopped() -> None:
    store = MemoryStore()
    checkpoint = await write(store, range(17_000))
    store.error = OSError("gone")
    with pytest.raises(OSError, match="gone"):
        await checkpoint.remove()
    store.error = None
    await checkpoint.remove()
    assert store.values == {}


async def test_a_store_that_fails_is_tried_again_and_nothing_is_lost() -> None:
    store = MemoryStore()
    checkpoint = await write(store, range(3))
    checkpoint.add(hash_key(3))
    store.error = OSError("no space")
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            await checkpoint.save()
    for number in range(4, 10_000):
        checkpoint.add(hash_key(number))
    with pytest.raises(OSError, match="no space"):
        await checkpoint.save()
    store.error = None
    await checkpoint.save()

    assert len(await done(store, range(20_000))) == 10_000


def forge(text: str, content: object) -> str:
    """Replace the content, and make it look whole."""
    checksum = hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()
    return json.dumps({**json.loads(text), "content": content, "sum": checksum})


ANY_PAGE = [
    lambda text: text[: len(text) // 2],
    lambda text: "null",
    lambda text: json.dumps({**json.loads(text), "version": 2}),
    lambda text: json.dumps({**json.loads(text), "content": {"keys": "AAAA"}}),
    lambda text: json.dumps({**json.loads(text), "of": "another task"}),
    lambda text: forge(text, {"keys": "AAAA"}),
    lambda text: forge(text, {"keys": "!"}),
    lambda text: forge(text, ["keys"]),
]
TORN = [
    *((page, tear) for page in ("load.head", ".1.0") for tear in ANY_PAGE),
    ("load.head", lambda text: text.replace("generation", "generatoin")),
    (".1.0", lambda text: text.replace("keys", "kyes")),
]


@pytest.mark.parametrize(("page", "tear"), TORN)
async def test_what_is_torn_or_not_ours_is_not_used(
    caplog: pytest.LogCaptureFixture, page: str, tear: Callable[[str], str]
) -> None:
    store = MemoryStore()
    await write(store, range(3))
    await write(store, range(3, 5), attempt=2)
    key = next(key for key in store.values if key.endswith(page))
    torn = tear(store.values[key])
    assert torn != store.values[key]
    store.values[key] = torn

    assert await done(store, range(9)) == []
    assert "is not used, and everything is done afresh" in caplog.text
    await write(store, range(5, 7), attempt=3)
    assert await done(store, range(9)) == [5, 6]


@given(text=st.text() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_rubbish_in_the_store_is_not_used(text: str) -> None:
    async def check() -> None:
        store = MemoryStore()
        await write(store, range(3))
        for key in store.values:
            store.values[key] = text
        assert await done(store, range(9)) == []

    logging.getLogger("airflow_provider_async.core.checkpoint").setLevel(logging.ERROR)
    asyncio.run(check())


async def test_results_are_kept_with_their_items() -> None:
    store = MemoryStore()
    checkpoint = await kept(store, attempt=1, keeps_results=True)
    results = [{"rows": number, "text": '"é' * 200} for number in range(500)]
    for number, result in enumerate(results):
        checkpoint.add(hash_key(number), result)
    await checkpoint.save()

    assert max(len(json.dumps(value)) for value in store.values.values()) < LIMIT_BYTES
    later = await kept(store, keeps_results=True)
    assert [later.result(hash_key(number)) for number in range(500)] == results


async def test_a_result_that_cannot_be_kept_is_an_error() -> None:
    checkpoint = await kept(MemoryStore(), keeps_results=True)
    with pytest.raises(CheckpointError, match="'load' is no JSON value"):
        checkpoint.add(1, object())
    with pytest.raises(CheckpointError, match="'load' is too large to be kept: 40002 bytes"):
        checkpoint.add(1, "x" * 40_000)


async def test_a_checkpoint_without_results_is_not_used_where_they_are_wanted() -> None:
    store = MemoryStore()
    await write(store, range(3))

    assert len((await kept(store, keeps_results=True)).done) == 0


TRIES = st.lists(
    st.tuples(
        st.permutations(range(12)).flatmap(lambda items: st.integers(0, 12).map(lambda count: items[:count])),
        st.integers(0, 12),  # after so many values the process is killed
        st.frozensets(st.integers(0, 12)),  # after so many values the checkpoint is saved
        st.booleans(),  # whether the try has a chance to save at its end
    ),
    max_size=5,
)


@given(tries=TRIES, limit=st.integers(1, 4), batch=st.integers(1, 4))
def test_nothing_is_lost_and_nothing_that_was_saved_is_done_again(
    tries: list[tuple[list[int], int, frozenset[int], bool]], limit: int, batch: int
) -> None:
    async def run() -> None:
        store = MemoryStore()
        saved: set[int] = set()
        committed: set[int] = set()
        last_try = (list(range(12)), 99, frozenset[int](), True)
        for attempt, (items, killed_after, saves, is_told) in enumerate([*tries, last_try], 1):
            saved_before = set(saved)
            acknowledged: set[int] = set()
            ran: list[int] = []

            async def work(item: int, ran: list[int] = ran) -> int:
                ran.append(item)
                await asyncio.sleep(0)
                return item

            store.is_frozen = False
            async with Checkpoints(store, identity="task", attempt=attempt, save_seconds=1e6) as checkpoints:
                count = 0
                current: list[int] = []
                results = amap(work, items, limit=limit, resume="load")
                async for current in results.batches(batch):
                    if count in saves:
                        await checkpoints.save()
                        saved |= acknowledged
                    if count == killed_after:
                        break
                    committed |= set(current)
                    acknowledged |= set(current)
                    count += 1
                await results.aclose()
                # A killed process saves nothing at its end, one that is told to end does.
                store.is_frozen = not is_told
            assert len(ran) == len(set(ran))
            assert not saved_before & set(ran)
            if is_told:
                saved |= acknowledged
        assert committed == set(range(12))

    asyncio.run(run())
