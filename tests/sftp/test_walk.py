# SPDX-License-Identifier: Apache-2.0
"""Walks through trees that a lister makes up."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.errors import CallCancelled
from airflow_provider_async.sftp.files import RemoteEntry
from airflow_provider_async.sftp.search import walk
from tests.servers.sftp import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


async def walked(tree: Tree, at_once: int = 3) -> list[str]:
    return sorted([entry.path async for entry in walk(tree, "", at_once=at_once)])


class Tree:
    """
    A tree in memory whose folders are listed as the test wants.

    :param folders: what each folder has.
    """

    def __init__(self, folders: dict[str, list[RemoteEntry]], *, chunk: int = 1) -> None:
        self.folders = folders
        self.chunk = chunk
        self.errors: dict[str, BaseException] = {}
        self.waits: dict[str, asyncio.Event] = {}
        self.pauses: Counter[str] = Counter()
        self.listed: list[str] = []
        self.open: set[str] = set()
        self.most_open = 0

    async def __call__(self, folder: str) -> AsyncGenerator[list[RemoteEntry], None]:
        self.listed.append(folder)
        self.open.add(folder)
        self.most_open = max(self.most_open, len(self.open))
        try:
            entries = self.folders[folder]
            for start in range(0, len(entries), self.chunk):
                for _ in range(self.pauses[folder]):
                    await asyncio.sleep(0)
                yield entries[start : start + self.chunk]
            if folder in self.waits:
                await self.waits[folder].wait()
            if folder in self.errors:
                raise self.errors[folder]
        finally:
            try:
                # A server has to be told, which takes time.
                await asyncio.sleep(0)
            finally:
                self.open.discard(folder)


def files_in(folder: str, count: int) -> list[RemoteEntry]:
    return [RemoteEntry(f"{folder}/{number:05}", "file", number) for number in range(count)]


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    folders: dict[str, list[RemoteEntry]] = {"": []}
    for number in range(draw(st.integers(0, 15))):
        above = draw(st.sampled_from(sorted(folders)))
        folder = f"{above}/{number}"
        folders[above].append(RemoteEntry(folder, "folder"))
        folders[folder] = []
    for folder, entries in folders.items():
        entries.extend(files_in(folder, draw(st.integers(0, 5))))
        entries.extend([RemoteEntry(f"{folder}/link", "link"), RemoteEntry(f"{folder}/pipe", "other")])
    tree = Tree(folders, chunk=draw(st.integers(1, 4)))
    tree.pauses.update(draw(st.dictionaries(st.sampled_from(sorted(folders)), st.integers(0, 4))))
    return tree


@given(tree=trees(), at_once=st.integers(1, 5))
def test_a_walk_finds_each_file_once_whatever_comes_first(tree: Tree, at_once: int) -> None:
    async def run() -> list[str]:
        found = await walked(tree, at_once)
        assert len(asyncio.all_tasks()) == 1
        return found

    found = asyncio.run(run())

    assert found == sorted(entry for entries in tree.folders.values() for entry in entries if entry.kind == "file")
    assert sorted(tree.listed) == sorted(tree.folders)
    assert tree.most_open <= at_once
    assert not tree.open


@given(tree=trees(), at_once=st.integers(1, 5), data=st.data())
def test_a_walk_that_fails_or_is_left_leaves_nothing_behind(tree: Tree, at_once: int, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(tree.folders))
    failing = data.draw(names, label="failing")
    leave_after = data.draw(st.integers(0, 20) | st.none(), label="left after")

    async def run() -> None:
        tree.errors[failing] = asyncssh.SFTPPermissionDenied("no")
        # Nothing ever comes of it, but the walk does not wait for it either.
        tree.waits = {
            folder: asyncio.Event() for folder in data.draw(st.sets(names), label="waiting") if folder != failing
        }
        if at_once <= len(tree.waits):
            tree.waits.clear()
        found = 0
        with pytest.raises(asyncssh.SFTPPermissionDenied) if leave_after is None else suppress(asyncssh.SFTPError):
            async with aclosing(walk(tree, "", at_once=at_once)) as entries:
                async for _ in entries:
                    if found == leave_after:
                        break
                    found += 1
                else:
                    pytest.fail("it ended without the error")
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())

    assert not tree.open


async def test_what_was_found_comes_before_the_error() -> None:
    tree = Tree({"": [*files_in("", 2), RemoteEntry("/in", "folder")], "/in": files_in("/in", 2)})
    tree.errors["/in"] = asyncssh.SFTPPermissionDenied("no")
    found = []

    async def run() -> None:
        async for entry in walk(tree, "", at_once=2):
            found.append(entry.path)  # noqa: PERF401 - what came before the error matters

    with pytest.raises(asyncssh.SFTPPermissionDenied):
        await run()

    assert found == ["/00000", "/00001", "/in/00000", "/in/00001"]


async def test_a_folder_that_vanishes_is_left_out_of_a_walk_and_a_missing_root_is_an_error() -> None:
    tree = Tree(
        {"": [RemoteEntry("/in", "folder"), RemoteEntry("/out", "folder")], "/in": [], "/out": files_in("/out", 1)}
    )
    tree.errors["/in"] = asyncssh.SFTPNoSuchFile("gone")
    assert await walked(tree) == ["/out/00000"]

    tree.errors[""] = asyncssh.SFTPNoSuchFile("gone")
    with pytest.raises(asyncssh.SFTPNoSuchFile):
        await walked(tree)


async def test_a_folder_that_takes_long_holds_back_no_other() -> None:
    tree = Tree(
        {"": [RemoteEntry("/slow", "folder"), RemoteEntry("/in", "folder")], "/slow": [], "/in": files_in("/in", 3)}
    )
    tree.waits["/slow"] = asyncio.Event()
    async with aclosing(walk(tree, "", at_once=2)) as entries:
        assert [await anext(entries) for _ in range(3)] == files_in("/in", 3)

        tree.waits["/slow"].set()

        assert [entry async for entry in entries] == []


async def test_a_consumer_that_is_slow_holds_back_the_listing_of_an_endless_folder() -> None:
    asked = 0

    async def list_endlessly(folder: str) -> AsyncGenerator[list[RemoteEntry], None]:
        nonlocal asked
        while True:
            asked += 1
            await asyncio.sleep(0)
            yield files_in(folder, 100)

    async with aclosing(walk(list_endlessly, "", at_once=1)) as entries:
        await anext(entries)
        await until(lambda: asked >= 20)
        for _ in range(100):
            await asyncio.sleep(0)
        assert asked <= 22

        for _ in range(10_000):
            await anext(entries)
        assert 100 < asked <= 122


async def test_a_walk_goes_down_before_it_goes_on_so_that_few_folders_wait() -> None:
    folders: dict[str, list[RemoteEntry]] = {}

    def grow(folder: str, depth: int) -> None:
        below = [RemoteEntry(f"{folder}/{number}", "folder") for number in range(3)] if depth else []
        folders[folder] = [*below]
        for entry in below:
            grow(entry.path, depth - 1)

    grow("", 3)
    tree = Tree(folders, chunk=10)
    await walked(tree, at_once=1)

    assert tree.listed == sorted(folders)


async def test_a_walk_that_is_cancelled_waits_until_its_folders_are_closed() -> None:
    tree = Tree({"": [RemoteEntry("/in", "folder")], "/in": []})
    tree.waits[""] = tree.waits["/in"] = asyncio.Event()
    walking = asyncio.ensure_future(walked(tree))
    await until(lambda: len(tree.open) == 2)

    walking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await walking

    assert not tree.open
    assert len(asyncio.all_tasks()) == 1


async def test_a_lister_that_cancels_itself_does_not_go_unnoticed() -> None:
    tree = Tree({"": files_in("", 1)})
    tree.errors[""] = asyncio.CancelledError()

    with pytest.raises(CallCancelled):
        await walked(tree)
