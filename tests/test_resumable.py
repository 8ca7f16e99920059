# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in files."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async import amap
from airflow_provider_async.core.carryover import current_carryovers
from airflow_provider_async.core.resume import resumable
from airflow_provider_async.core.stores import FileStore, ThreadedStore

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_async.core.values import JSON


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_script_goes_on_where_it_stopped(tmp_path: Path) -> None:
    did: list[str] = []

    async def work(item: str) -> str:
        did.append(item)
        return item

    async def fail() -> None:
        async with resumable(tmp_path / "kept"):
            async for item in amap(work, ["ab", "def"], limit=1, resume="work"):
                if item == "def":
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with resumable(tmp_path / "kept", attempt=2):
        assert [item async for item in amap(work, ["ab", "def"], limit=1, resume="work")] == ["def"]
    assert did == ["ab", "def", "def"]
    assert names_in(tmp_path) == []


async def test_a_script_goes_on_where_its_last_run_has_ended(tmp_path: Path) -> None:
    async def once(link: str, *, fail: bool = False) -> JSON:
        async with resumable(tmp_path / "kept"):
            carryovers = current_carryovers()
            assert carryovers is not None
            cursor = await carryovers.open("users")
            began = cursor.value
            cursor.set({"link": link})
            if fail:
                raise ZeroDivisionError
        return began

    assert current_carryovers() is None
    assert await once("a") is None
    with pytest.raises(ZeroDivisionError):
        await once("b", fail=True)
    assert await once("c") == {"link": "a"}
    assert await once("d") == {"link": "c"}


async def test_files_are_a_store(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "here")
    assert await store.get("a") is None
    await store.set("a", "1")
    await store.set("a", "2")
    assert await store.get("a") == "2"
    await store.delete("a")
    await store.delete("a")
    assert await store.get("a") is None
    assert names_in(tmp_path) == []


async def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"):
        await FileStore(tmp_path).set("a", "1")
    assert names_in(tmp_path) == ["a"]


async def test_what_a_killed_process_was_writing_goes_with_the_last_file(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "here")
    await store.set("a", "1")
    await store.set("b", "2")
    (tmp_path / "here" / ".a.0123abcd").write_text("1")
    await store.delete("a")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == [".a.0123abcd", "b"]
    await store.delete("b")
    assert not (tmp_path / "here").exists()


async def test_folders_above_go_with_the_last_file_as_far_as_they_are_told_to(tmp_path: Path) -> None:
    one, other = (FileStore(tmp_path / "top" / name / "c", below=tmp_path / "top") for name in ("a", "b"))
    for store in (one, other):
        await store.set("key", "1")
    await one.delete("key")
    assert names_in(tmp_path / "top") == ["b"]
    await other.delete("key")
    assert names_in(tmp_path) == ["top"]
    assert names_in(tmp_path / "top") == []


class SlowStore(ThreadedStore):
    """Lets a value through when its event is set."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}
        self.gates = {"old": threading.Event(), "new": threading.Event()}

    def read(self, key: str) -> str | None:
        return self.values.get(key)

    def write(self, key: str, value: str) -> None:
        assert self.gates[value].wait(30)
        self.values[key] = value

    def remove(self, key: str) -> None:
        raise KeyError(key)


async def test_a_write_that_nobody_waits_for_any_more_undoes_no_later_one() -> None:
    store = SlowStore()
    old = asyncio.ensure_future(store.set("key", "old"))
    await asyncio.sleep(0)
    old.cancel()
    with pytest.raises(asyncio.CancelledError):
        await old
    new = asyncio.ensure_future(store.set("key", "new"))
    await asyncio.sleep(0)
    store.gates["new"].set()
    store.gates["old"].set()
    await new
    assert await store.get("key") == "new"


async def test_what_a_thread_raises_is_raised() -> None:
    with pytest.raises(KeyError, match="key"):
        await SlowStore().delete("key")


async def test_a_late_turn_is_left_out() -> None:
    store = SlowStore()
    for gate in store.gates.values():
        gate.set()
    store._turns["key"] = 5
    await store.set("key", "old")
    assert await store.get("key") is None
