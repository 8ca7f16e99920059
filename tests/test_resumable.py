# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_async import amap
from airflow_provider_async.core.resume import resumable
from airflow_provider_async.core.stores import FileStore

if TYPE_CHECKING:
    from pathlib import Path


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
