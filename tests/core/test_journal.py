# SPDX-License-Identifier: Apache-2.0
"""What was begun and what came of it, over processes that are killed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.core import journal as module
from airflow_provider_async.core.envelope import seal
from airflow_provider_async.core.journal import Journal
from airflow_provider_async.core.resume import Checkpoints
from airflow_provider_async.errors import CheckpointError
from tests.core.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable


def journal(store: MemoryStore, attempt: int = 1, identity: str = "task") -> Journal:
    return Journal(store, "mails", identity=identity, attempt=attempt)


def known(one: Journal) -> dict[str, set[int]]:
    outcomes = {outcome: set(hashes) for outcome, hashes in one.outcomes.items()}
    return {**outcomes, "?": one.open} if one.open else outcomes


async def kept(store: MemoryStore, attempt: int = 2) -> dict[str, set[int]]:
    """Return what the next try knows."""
    after = journal(store, attempt)
    await after.load()
    return known(after)


async def test_what_began_and_has_no_outcome_is_open_to_the_next_try() -> None:
    store = MemoryStore()
    first = journal(store)
    first.begin([1, 2, 3, 4])
    assert first.begun == 4
    await first.save()
    first.settle(1, "s")
    first.settle(2, "r")
    first.withdraw(3)
    await first.save()
    first.settle(4, "s")
    assert await kept(store) == {"s": {1}, "r": {2}, "?": {4}}
    await first.save()
    assert await kept(store) == {"s": {1, 4}, "r": {2}}


async def test_a_later_outcome_counts_and_so_does_a_later_beginning() -> None:
    store = MemoryStore()
    first = journal(store)
    first.begin([1, 2])
    first.settle(1, "u")
    first.withdraw(2)
    await first.save()
    second = journal(store, 2)
    await second.load()
    assert second.generation == first.generation
    second.begin([1, 2])
    await second.save()
    assert await kept(store, 3) == {"?": {1, 2}}
    second.settle(1, "s")
    await second.save()
    assert await kept(store, 3) == {"s": {1}, "?": {2}}


async def test_a_process_that_is_started_again_as_the_same_try_goes_on_behind_its_pages() -> None:
    store = MemoryStore()
    first = journal(store)
    first.begin([1])
    await first.save()
    again = journal(store)
    await again.load()
    assert known(again) == {"?": {1}}
    again.begin([2])
    again.settle(2, "s")
    await again.save()
    assert await kept(store) == {"s": {2}, "?": {1}}


async def test_a_full_page_is_followed_by_another_and_nothing_falls_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAGE_KEYS", 2)
    store = MemoryStore()
    first = journal(store)
    first.begin(range(10))
    await first.save()
    for hashed in range(7):
        first.settle(hashed, "s")
    # The process is killed after each of the writes of one save.
    seen = []
    store.room = asyncio.Event()
    saving = asyncio.create_task(first.save())
    while not saving.done():
        store.room.set()
        await asyncio.sleep(0)
        store.room.clear()
        now = await kept(store)
        assert now.get("s", set()) | now["?"] == set(range(10))
        seen.append(len(now.get("s", ())))
    await saving
    assert seen[-1] == 7
    assert sorted(seen) == seen


async def test_what_could_not_be_saved_is_saved_the_next_time() -> None:
    store = MemoryStore()
    first = journal(store)
    first.begin([1])
    store.error = OSError("full")
    with pytest.raises(OSError, match="full"):
        await first.save()
    store.failing = "mails.head "
    await first.save()
    await first.save()
    assert await kept(store) == {"?": {1}}
    store.failing, writes = "", store.writes
    first.settle(1, "s")
    with pytest.raises(OSError, match="full"):
        await first.save()
    store.error = None
    await first.save()
    assert store.writes == writes + 1
    assert await kept(store) == {"s": {1}}


@pytest.mark.parametrize("torn", ["generation", "outcomes", "page", "owner"])
async def test_what_is_torn_or_not_ours_is_not_used(torn: str, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    first = journal(store, identity="other" if torn == "owner" else "task")
    first.begin([1])
    await first.save()
    if torn == "generation":
        store.values["mails.head"] = seal({"generation": 1}, first._owner)
    if torn == "outcomes":
        key = f"mails.{first.generation}.1.0"
        store.values[key] = seal({"keys": "", "outcomes": "s", "begun": ""}, first._owner)
    if torn == "page":
        store.values[f"mails.{first.generation}.1.0"] = "{"
    second = journal(store, 2)
    await second.load()
    assert known(second) == {}
    assert second.generation != first.generation
    assert "is not used" in caplog.text


async def test_it_begins_anew_when_asked_to() -> None:
    store = MemoryStore()
    first = journal(store)
    first.begin([1])
    await first.save()
    second = journal(store, 2)
    await second.load(fresh=True)
    assert known(second) == {}
    assert second.generation != first.generation


async def test_nothing_is_left_when_it_is_removed() -> None:
    store = MemoryStore()
    first = journal(store)
    first.begin([1])
    await first.save()
    await first.remove()
    assert store.values == {}


async def test_it_belongs_to_the_checkpoints_of_a_task() -> None:
    store = MemoryStore()
    async with Checkpoints(store, identity="task", attempt=1) as checkpoints:
        opened = await checkpoints.open_journal("mails")
        with pytest.raises(CheckpointError, match="'mails' is used twice"):
            await checkpoints.open_journal("mails")
        opened.begin([1])
        checkpoints.release(opened.name)
        assert await checkpoints.open_journal("mails") is opened
    async with Checkpoints(store, identity="task", attempt=2) as checkpoints:
        assert (await checkpoints.open_journal("mails")).open == {1}
    await checkpoints.remove()
    assert store.values == {}


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("begin"), st.integers(0, 20)),
            st.tuples(st.sampled_from("sr-"), st.integers(0, 20)),
            st.tuples(st.sampled_from(["save", "kill"]), st.just(0)),
        ),
        max_size=60,
    )
)
def test_whatever_happens_no_outcome_that_was_saved_is_forgotten(steps: Iterable[tuple[str, int]]) -> None:
    async def check() -> None:
        store, attempt = MemoryStore(), 1
        current = journal(store)
        last: dict[int, str] = {}
        saved: dict[int, str] = {}
        for step, item in steps:
            if step == "save":
                await current.save()
                saved = dict(last)
            elif step == "kill":
                attempt += 1
                current, last = journal(store, attempt), dict(saved)
                await current.load()
                for outcome in "sr":
                    expected = {item for item, known in saved.items() if known == outcome}
                    assert set(current.outcomes.get(outcome, ())) == expected
                assert current.open == {item for item, known in saved.items() if known == "begin"}
            elif step == "begin":
                current.begin([item])
                last[item] = step
            elif last.get(item) == "begin":
                current.settle(item, step)
                last[item] = step

    asyncio.run(check())
