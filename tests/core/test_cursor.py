# SPDX-License-Identifier: Apache-2.0
"""How far something has come, from try to try, whatever happens to a try or to the store."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.core.cursor import CursorCheckpoint
from airflow_provider_async.core.position import Position
from airflow_provider_async.core.resume import Checkpoints
from airflow_provider_async.errors import CheckpointError
from tests.core.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_async.core.values import JSON


async def loaded(store: MemoryStore, *, attempt: int = 99, identity: str = "task") -> CursorCheckpoint:
    cursor = CursorCheckpoint(store, "load", identity=identity, attempt=attempt)
    await cursor.load()
    return cursor


async def write(store: MemoryStore, page: int, *, attempt: int = 1) -> CursorCheckpoint:
    cursor = await loaded(store, attempt=attempt)
    cursor.set({"page": page})
    await cursor.save()
    return cursor


async def page(store: MemoryStore, *, attempt: int = 99) -> JSON:
    value = (await loaded(store, attempt=attempt)).value
    return None if value is None else value["page"]


async def test_what_was_saved_last_is_known_to_the_next_try() -> None:
    store = MemoryStore()
    assert await page(store) is None
    cursor = await write(store, 3)
    cursor.set({"page": 4})
    assert await page(store, attempt=2) == 3
    await cursor.save()
    assert await page(store, attempt=2) == 4


async def test_the_newest_try_counts_even_if_an_old_one_is_still_at_work() -> None:
    store = MemoryStore()
    old = await write(store, 3)
    await write(store, 5, attempt=2)
    old.set({"page": 9})
    await old.save()

    assert await page(store, attempt=3) == 5


async def test_a_try_that_saves_nothing_leaves_what_was_there() -> None:
    store = MemoryStore()
    await write(store, 3)
    await (await loaded(store, attempt=2)).save()

    assert await page(store, attempt=3) == 3


async def test_a_process_that_is_started_again_under_the_same_number_goes_on() -> None:
    store = MemoryStore()
    await write(store, 3)

    assert await page(store, attempt=1) == 3


async def test_a_save_writes_only_what_is_new() -> None:
    store = MemoryStore()
    cursor = await write(store, 3)
    writes = store.writes
    await cursor.save()
    assert store.writes == writes
    cursor.set({"page": 4})
    await cursor.save()
    await cursor.save()
    assert store.writes == writes + 1


async def test_what_is_removed_is_gone_and_comes_back_with_nobody() -> None:
    store = MemoryStore()
    old = await write(store, 3)
    cursor = await write(store, 5, attempt=2)
    await cursor.remove()
    assert store.values == {}

    # An old try that has not noticed.
    old.set({"page": 9})
    await old.save()
    assert await page(store) is None
    cursor.set({"page": 9})
    await cursor.remove()
    await cursor.save()
    assert await page(store) is None


async def test_a_fresh_start_leaves_what_was_there_behind() -> None:
    store = MemoryStore()
    await write(store, 3)
    cursor = CursorCheckpoint(store, "load", identity="task", attempt=2)
    await cursor.load(fresh=True)
    assert cursor.value is None
    cursor.set({"page": 1})
    await cursor.save()
    assert await page(store, attempt=3) == 1
    await cursor.remove()
    assert store.values == {}


async def test_a_store_that_fails_is_tried_again_and_nothing_is_lost() -> None:
    store = MemoryStore()
    cursor = await write(store, 3)
    cursor.set({"page": 4})
    store.error = OSError("no space")
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            await cursor.save()
    store.error = None
    await cursor.save()
    assert await page(store) == 4


async def test_what_comes_while_an_older_one_is_saved_is_not_lost() -> None:
    store = MemoryStore()
    cursor = await write(store, 3)
    cursor.set({"page": 4})
    saving = asyncio.create_task(cursor.save())
    await asyncio.sleep(0)
    cursor.set({"page": 5})
    store.error = OSError("no space")
    with pytest.raises(OSError, match="no space"):
        await saving
    store.error = None
    await cursor.save()
    assert await page(store) == 5


async def test_a_cursor_that_is_too_large_is_an_error() -> None:
    cursor = await loaded(MemoryStore())
    with pytest.raises(CheckpointError, match="the cursor of 'load' is too large to be kept: 40"):
        cursor.set({"page": "x" * 40_000})


def forge(text: str, content: object) -> str:
    """Replace the content, and make it look whole."""
    checksum = hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()
    return json.dumps({**json.loads(text), "content": content, "sum": checksum})


@pytest.mark.parametrize("key", ["load.head", ".1"])
@pytest.mark.parametrize(
    "tear",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "null",
        lambda text: json.dumps({**json.loads(text), "version": 2}),
        lambda text: json.dumps({**json.loads(text), "content": {"page": 7}}),
        lambda text: json.dumps({**json.loads(text), "of": "another task"}),
        lambda text: forge(text, ["page"]),
    ],
)
async def test_what_is_torn_or_not_ours_is_not_used(
    caplog: pytest.LogCaptureFixture, key: str, tear: Callable[[str], str]
) -> None:
    store = MemoryStore()
    await write(store, 3)
    name = next(name for name in store.values if name.endswith(key))
    store.values[name] = tear(store.values[name])

    assert await page(store) is None
    assert "cursor 'load' is not used, and everything is done afresh" in caplog.text
    await write(store, 5, attempt=2)
    assert await page(store) == 5


def fail() -> None:
    raise LookupError


async def test_a_head_without_a_generation_is_not_used() -> None:
    store = MemoryStore()
    await write(store, 3)
    store.values["load.head"] = forge(store.values["load.head"], {"generation": 3})
    assert await page(store) is None


async def test_what_belongs_to_another_task_is_not_used() -> None:
    store = MemoryStore()
    await write(store, 3)
    assert (await loaded(store, identity="another")).value is None


@given(text=st.text() | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
def test_rubbish_in_the_store_is_not_used(text: str) -> None:
    async def check() -> None:
        store = MemoryStore()
        await write(store, 3)
        for key in store.values:
            store.values[key] = text
        assert await page(store) is None

    logging.getLogger("airflow_provider_async.core.cursor").setLevel(logging.ERROR)
    asyncio.run(check())


# How work finds its cursor.


async def test_a_position_is_kept_from_block_to_block_until_it_is_removed() -> None:
    store = MemoryStore()

    async def work(number: int) -> dict[str, JSON] | None:
        position = Position("load")
        value = await position.open()
        position.keep({"page": number})
        position.close()
        position.close()
        return value

    async with Checkpoints(store, identity="task", attempt=1):
        assert await work(3) is None
    async with Checkpoints(store, identity="task", attempt=2) as checkpoints:
        assert await work(4) == {"page": 3}
        # Within one try, too.
        assert await work(5) == {"page": 4}
    await checkpoints.remove()
    assert store.values == {}
    async with Checkpoints(store, identity="task", attempt=3):
        assert await work(1) is None


async def test_what_is_kept_while_the_store_is_written_for_the_last_time_is_written_too() -> None:
    store = MemoryStore()
    async with Checkpoints(store, identity="task", attempt=1, save_seconds=1e6) as checkpoints:
        position = Position("load")
        await position.open()
        position.keep({"page": 3})
        checkpoints.save_soon()
        for _ in range(20):
            if not store.values:
                await asyncio.sleep(0)
        # The head is there; the cursor is being written.
        assert len(store.values) == 1
        position.keep({"page": 4})
    async with Checkpoints(store, identity="task", attempt=2):
        assert await Position("load").open() == {"page": 4}


async def test_without_a_task_nothing_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    position = Position("load")
    assert await position.open() is None
    position.keep({"page": 1})
    position.close()
    assert "resume='load' keeps nothing" in caplog.text


async def test_a_name_is_used_once_at_a_time_and_may_be_that_of_an_amap() -> None:
    async with Checkpoints(MemoryStore(), identity="task", attempt=1) as checkpoints:
        position, other = Position("load"), Position("load")
        await checkpoints.open("load", keeps_results=False)
        await position.open()
        with pytest.raises(CheckpointError, match="resume='load' is used twice at once"):
            await other.open()
        # It is still the first one's.
        other.close()
        with pytest.raises(CheckpointError, match="used twice"):
            await other.open()
        position.close()
        await other.open()


async def test_what_an_error_has_ended_is_saved_at_once() -> None:
    store = MemoryStore()
    async with Checkpoints(store, identity="task", attempt=1, save_seconds=1e6):
        position = Position("load")
        await position.open()
        position.keep({"page": 3})
        with suppress(LookupError):
            try:
                fail()
            finally:
                position.close()
        for _ in range(10):
            await asyncio.sleep(0)
        assert store.writes == 2


async def test_a_fresh_start_may_be_for_one_name() -> None:
    store = MemoryStore()
    tries: list[tuple[list[str], object]] = [([], None), (["other"], {"page": 1}), (["load"], None)]
    for fresh, found in tries:
        async with Checkpoints(store, identity="task", attempt=1, fresh=fresh):
            position = Position("load")
            assert await position.open() == found
            position.keep({"page": 1})
            position.close()


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "x" * 101])
def test_a_name_that_cannot_be_part_of_a_key_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="resume must be a name of letters, digits"):
        Position(name)
