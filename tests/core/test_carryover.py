# SPDX-License-Identifier: Apache-2.0
"""What one run leaves to the next, in whatever order runs come, fail and are done again."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.core.carryover import Carryovers
from airflow_provider_async.core.checks import check_name
from airflow_provider_async.core.envelope import seal
from airflow_provider_async.errors import CheckpointError
from tests.core.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provider_async.core.values import JSON


def run(store: MemoryStore, place: int, *, identity: str = "task", fresh: bool | Collection[str] = False) -> Carryovers:
    return Carryovers(store, identity=identity, place=(f"{place:03}",), fresh=fresh)


async def begin(store: MemoryStore, place: int, *, identity: str = "task") -> JSON:
    """Return what a run would go on from."""
    value = (await run(store, place, identity=identity).open("users")).value
    return None if value is None else value["link"]


async def succeed(store: MemoryStore, place: int, link: str, *, identity: str = "task") -> None:
    one = run(store, place, identity=identity)
    (await one.open("users")).set({"link": link})
    await one.commit()


async def test_a_run_goes_on_from_what_the_run_before_it_has_left() -> None:
    store = MemoryStore()
    assert await begin(store, 1) is None
    await succeed(store, 1, "a")
    assert await begin(store, 2) == "a"
    await succeed(store, 2, "b")
    assert await begin(store, 3) == "b"


async def test_nothing_is_left_before_the_run_has_succeeded() -> None:
    store = MemoryStore()
    one = run(store, 1)
    (await one.open("users")).set({"link": "a"})

    assert await begin(store, 2) is None
    await one.commit()
    assert await begin(store, 2) == "a"


async def test_a_run_that_sets_nothing_leaves_what_was_there() -> None:
    store = MemoryStore()
    await succeed(store, 1, "a")
    two = run(store, 2)
    await two.open("users")
    await two.commit()

    assert await begin(store, 3) == "a"
    assert store.writes == 1


async def test_an_older_run_replaces_nothing_that_a_newer_one_has_left() -> None:
    store = MemoryStore()
    await succeed(store, 5, "e")
    await succeed(store, 3, "c")

    assert await begin(store, 6) == "e"
    assert await begin(store, 5) == "c"
    assert await begin(store, 4) == "c"
    assert await begin(store, 3) is None


async def test_a_run_that_is_done_again_begins_where_it_began() -> None:
    store = MemoryStore()
    await succeed(store, 1, "a")
    await succeed(store, 2, "b")
    assert await begin(store, 2) == "a"
    await succeed(store, 2, "b again")

    assert await begin(store, 3) == "b again"
    assert await begin(store, 2) == "a"


async def test_runs_at_once_leave_theirs_side_by_side() -> None:
    store = MemoryStore()
    older, newer = run(store, 1), run(store, 2)
    (await older.open("users")).set({"link": "a"})
    (await newer.open("users")).set({"link": "b"})
    await newer.commit()
    await older.commit()

    assert await begin(store, 2) == "a"
    assert await begin(store, 3) == "b"


async def test_who_is_overwritten_at_the_same_moment_writes_again() -> None:
    class Race(MemoryStore):
        """Another run has read before this one wrote, and writes after it."""

        async def set(self, key: str, value: str) -> None:
            await super().set(key, value)
            if self.writes == 1:
                self.values[key] = other

    single = MemoryStore()
    await succeed(single, 1, "a")
    (other,) = single.values.values()
    store = Race()
    await succeed(store, 2, "b")

    assert await begin(store, 3) == "b"
    assert await begin(store, 2) == "a"


async def test_who_is_overwritten_again_and_again_does_not_go_on_for_ever() -> None:
    class Race(MemoryStore):
        async def set(self, key: str, value: str) -> None:
            await super().set(key, value)
            self.values[key] = other

    single = MemoryStore()
    await succeed(single, 1, "a")
    (other,) = single.values.values()
    store = Race()
    await succeed(store, 2, "b")

    assert store.writes == 3
    # The next run has more to do again than it had to, and misses nothing.
    assert await begin(store, 3) == "a"


async def test_ten_runs_are_remembered() -> None:
    store = MemoryStore()
    for place in range(1, 15):
        await succeed(store, place, f"{place}")

    assert [await begin(store, place) for place in (15, 14, 6)] == ["14", "13", "5"]
    # Whoever is older begins anew: what comes then is more than it has to be, and never less.
    assert await begin(store, 5) is None


async def test_a_run_that_is_older_than_all_that_are_remembered_is_not(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    for place in range(11, 21):
        await succeed(store, place, f"{place}")
    kept = dict(store.values)
    with caplog.at_level(logging.INFO):
        await succeed(store, 1, "1")

    assert store.values == kept
    assert "10 newer runs" in caplog.text


async def test_of_large_cursors_fewer_are_kept_but_always_the_newest() -> None:
    store = MemoryStore()
    for place in range(1, 6):
        await succeed(store, place, f"{place}" * 29_000)

    (text,) = store.values.values()
    assert len(json.dumps(text)) < 65_536
    assert await begin(store, 6) == "5" * 29_000
    assert await begin(store, 4) is None


async def test_a_cursor_that_is_too_large_is_refused() -> None:
    cursor = await run(MemoryStore(), 1).open("users")
    with pytest.raises(CheckpointError, match="the cursor 'users' is too large to be kept: 30"):
        cursor.set({"link": "a" * 30_000})


async def test_tasks_and_names_are_kept_apart() -> None:
    store = MemoryStore()
    await succeed(store, 1, "a")
    other = run(store, 2)

    assert (await other.open("groups")).value is None
    assert await begin(store, 2, identity="another task") is None


@pytest.mark.parametrize(
    "text", ["", "{}", '{"version": 1}', None, '{"runs": 5}', '{"runs": [[["1"]]]}', '{"runs": [[[1], {}]]}']
)
async def test_what_is_torn_is_not_used_and_replaced(text: str | None, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    await succeed(store, 1, "a")
    (key,) = store.values
    owner = json.loads(store.values[key])["of"]
    torn = text if text is None or "runs" not in text else seal(json.loads(text), owner)
    store.values[key] = store.values[key][:-9] if torn is None else torn

    assert await begin(store, 2) is None
    assert "cursor 'users' is not used: it" in caplog.text
    await succeed(store, 2, "b")
    assert await begin(store, 3) == "b"


async def test_a_run_begins_anew_when_it_is_asked_to(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    await succeed(store, 1, "a")
    with caplog.at_level(logging.INFO):
        assert (await run(store, 2, fresh=True).open("users")).value is None
        assert (await run(store, 2, fresh=["users"]).open("users")).value is None
    assert (await run(store, 2, fresh=["groups"]).open("users")).value == {"link": "a"}
    assert caplog.text.count("begins anew, as asked for") == 2


async def test_a_cursor_is_used_by_one_piece_of_work_at_a_time() -> None:
    one = run(MemoryStore(), 1)
    (await one.open("users")).set({"link": "a"})
    with pytest.raises(CheckpointError, match="cursor='users' is used twice at once"):
        await one.open("users")
    one.release("users")

    assert (await one.open("users")).value == {"link": "a"}


async def test_a_store_that_cannot_be_read_leaves_the_name_free() -> None:
    class Broken(MemoryStore):
        async def get(self, key: str) -> str | None:
            raise OSError(key)

    one = run(Broken(), 1)
    for _ in range(2):
        with pytest.raises(OSError, match="users"):
            await one.open("users")


async def test_a_cursor_that_cannot_be_kept_does_not_fail_the_run(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    one = run(store, 1)
    (await one.open("users")).set({"link": "a"})
    store.error = OSError("no room")
    await one.commit()

    assert "could not be kept, so the next run begins where this one did: no room" in caplog.text


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "a" * 101])
def test_a_name_is_part_of_a_key(name: str) -> None:
    with pytest.raises(ValueError, match="cursor must be a name"):
        check_name("cursor", name)


@given(
    st.lists(
        st.tuples(st.integers(0, 15), st.sampled_from(["succeed", "fail", "begin", "end"])), min_size=1, max_size=60
    )
)
def test_in_whatever_order_runs_come_each_goes_on_from_the_newest_before_it(events: list[tuple[int, str]]) -> None:
    async def main() -> None:
        store = MemoryStore()
        left: dict[int, str] = {}
        at_work: dict[int, Carryovers] = {}
        for number, (place, event) in enumerate(events):
            match event:
                case "begin":
                    at_work[place] = run(store, place)
                    (await at_work[place].open("users")).set({"link": f"{number}"})
                case "end" if place in at_work:
                    cursor = at_work[place]._opened["users"].value
                    assert cursor is not None
                    await at_work.pop(place).commit()
                    left[place] = str(cursor["link"])
                case "fail":
                    at_work.pop(place, None)
                case "succeed":
                    await succeed(store, place, f"{number}")
                    left[place] = f"{number}"
            # Those that are older than the ten newest at any time may be forgotten.
            left = dict(sorted(left.items())[-10:])
            for at in range(17):
                before = [link for other, link in sorted(left.items()) if other < at]
                assert await begin(store, at) == (before[-1] if before else None)

    asyncio.run(main())
