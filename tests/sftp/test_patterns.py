# SPDX-License-Identifier: Apache-2.0
"""Patterns, whose meaning is that of Python's own glob."""

from __future__ import annotations

import asyncio
import glob
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.sftp.files import RemoteEntry
from airflow_provider_async.sftp.search import has_wildcards, match

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from airflow_provider_async.sftp.files import Kind


TREE = [
    "a.xml",
    "b.txt",
    "B.XML",
    ".hidden.xml",
    "in/a.xml",
    "in/deep/c.xml",
    "in/deep/er/d.xml",
    "in/.secret/e.xml",
    "out/a.xml",
    "out/[odd].xml",
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def by_python(pattern: str) -> list[str]:
    return sorted({str(Path(path)) for path in glob.glob(pattern, recursive=True)})  # noqa: PTH207 - it has ** and hides


class Folders:
    """Lists local folders as a server would, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, folder: str) -> AsyncGenerator[list[RemoteEntry], None]:
        self.asked.append(folder)
        try:
            found = list(os.scandir(folder or "."))
        except FileNotFoundError:
            raise asyncssh.SFTPNoSuchFile(folder) from None
        except PermissionError:
            raise asyncssh.SFTPPermissionDenied(folder) from None
        except NotADirectoryError:
            raise asyncssh.SFTPFailure(folder) from None
        for entry in found:
            kind: Kind = "link" if entry.is_symlink() else "folder" if entry.is_dir() else "file"
            await asyncio.sleep(0)
            yield [RemoteEntry(f"{folder}/{entry.name}" if folder else entry.name, kind)]


async def stat_nothing(path: str) -> RemoteEntry:
    raise asyncssh.SFTPNoSuchFile(path)


async def found_by(folders: Folders, pattern: str) -> list[str]:
    return [entry.path for entry in await match(folders, stat_nothing, pattern, at_once=3)]


@pytest.mark.parametrize(
    "pattern",
    [
        "*.xml",
        "*",
        ".*.xml",
        "?.xml",
        "[ab].*",
        "[!a].*",
        "*/*.xml",
        "*/a.xml",
        "in/*",
        "in/*/c.xml",
        "in/.s*/*",
        "in/**/*.xml",
        "**/*.xml",
        "**/a.xml",
        "**/deep/**/*.xml",
        "**/in/**/deep/**/d.xml",
        "**/deep",
        "out/[[]odd].xml",
        "in//*.xml",
        "./*.xml",
        "./in/./*.xml",
        "*/./a.xml",
        "../*/a.xml",
        "*/",
        "**/d*/",
        "no/*/match",
        "*/*/*/*/*",
    ],
)
@pytest.mark.parametrize("relative", [False, True])
async def test_a_pattern_finds_what_pythons_glob_finds(
    tree: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, relative: bool
) -> None:
    monkeypatch.chdir(tree)
    if not relative:
        pattern = f"{tree}/{pattern}"
    (tree / "no").mkdir()

    folders = Folders()
    found = await found_by(folders, pattern)

    assert found == by_python(pattern)
    assert len(folders.asked) == len(set(folders.asked))


async def test_a_double_star_at_the_end_finds_everything_below(tree: Path) -> None:
    assert await found_by(Folders(), f"{tree}/in/**") == [
        f"{tree}/in/{name}" for name in ("a.xml", "deep", "deep/c.xml", "deep/er", "deep/er/d.xml")
    ]


async def test_only_folders_that_may_hold_a_match_are_listed(tree: Path) -> None:
    folders = Folders()

    await found_by(folders, f"{tree}/in/d*/c.xml")

    assert folders.asked == [f"{tree}/in", f"{tree}/in/deep"]


async def test_links_to_folders_are_entered_by_name_but_not_by_a_double_star(tree: Path) -> None:
    (tree / "link").symlink_to(tree / "in")
    (tree / "circle").symlink_to(tree)
    (tree / "dangling").symlink_to(tree / "nothing")
    (tree / "to_file").symlink_to(tree / "a.xml")

    assert f"{tree}/link/a.xml" in await found_by(Folders(), f"{tree}/*/a.xml")
    assert f"{tree}/link/a.xml" not in await found_by(Folders(), f"{tree}/**/a.xml")
    assert await found_by(Folders(), f"{tree}/l*") == [f"{tree}/link"]


async def test_a_missing_folder_before_the_first_wildcard_is_an_error(tree: Path) -> None:
    with pytest.raises(asyncssh.SFTPNoSuchFile):
        await found_by(Folders(), f"{tree}/missing/*.xml")


async def test_a_folder_that_vanishes_is_left_out_and_one_that_must_not_be_read_is_an_error(tree: Path) -> None:
    class Unlucky(Folders):
        error: asyncssh.SFTPError

        async def __call__(self, folder: str) -> AsyncGenerator[list[RemoteEntry], None]:
            if folder.endswith("/in"):
                raise self.error
            async for chunk in super().__call__(folder):
                yield chunk

    folders = Unlucky()
    folders.error = asyncssh.SFTPNoSuchFile("gone")
    assert await found_by(folders, f"{tree}/*/a.xml") == [f"{tree}/out/a.xml"]

    folders.error = asyncssh.SFTPPermissionDenied("no")
    with pytest.raises(asyncssh.SFTPPermissionDenied):
        await found_by(folders, f"{tree}/*/a.xml")


async def test_a_link_that_cannot_be_listed_is_left_out_unless_its_connection_was_lost(tree: Path) -> None:
    (tree / "to_file").symlink_to(tree / "a.xml")
    assert await found_by(Folders(), f"{tree}/*/a.xml") == [f"{tree}/in/a.xml", f"{tree}/out/a.xml"]

    class Unlucky(Folders):
        async def __call__(self, folder: str) -> AsyncGenerator[list[RemoteEntry], None]:
            if folder.endswith("/to_file"):
                raise asyncssh.SFTPConnectionLost("gone")
            async for chunk in super().__call__(folder):
                yield chunk

    with pytest.raises(asyncssh.SFTPConnectionLost):
        await found_by(Unlucky(), f"{tree}/*/a.xml")


async def test_a_pattern_that_goes_up_after_a_wildcard_is_refused() -> None:
    with pytest.raises(ValueError, match="goes up after a wildcard"):
        await found_by(Folders(), "in/*/../a.xml")


async def test_a_pattern_without_wildcards_is_looked_up_and_not_searched_for() -> None:
    async def stat_one(path: str) -> RemoteEntry:
        return RemoteEntry(path, "file", 3, 1700000000)

    folders = Folders()
    found = await match(folders, stat_one, "in/a.xml", at_once=1)

    assert [(entry, entry.size) for entry in found] == [("in/a.xml", 3)]
    assert await match(folders, stat_nothing, "in/b.xml", at_once=1) == []
    assert folders.asked == []


NAMES = st.sampled_from(["a", "b", "ab", ".a", "[a]", "a.b"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PARTS = st.sampled_from(["*", "**", "a*", "?", "[ab]", "[!a]*", ".*", "*.*", "a", ".a", "[[]a]", "**b"])
# At the end, "**" stands for what is below a folder, and in Python for that folder too.
PATTERNS = (
    st.lists(PARTS, min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda pattern: has_wildcards(pattern) and not pattern.endswith("/**") and pattern != "**")
)


@given(paths=st.lists(PATHS, max_size=12), pattern=PATTERNS)
def test_any_pattern_finds_in_any_tree_what_pythons_glob_finds(paths: list[str], pattern: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        for path in paths:
            with suppress(FileExistsError, NotADirectoryError):
                (Path(root) / path).parent.mkdir(parents=True, exist_ok=True)
                (Path(root) / path).touch(exist_ok=True)
        folders = Folders()

        expected = by_python(f"{root}/{pattern}")
        try:
            found = asyncio.run(found_by(folders, f"{root}/{pattern}"))
        except asyncssh.SFTPError:
            assert expected == []
        else:
            assert found == expected
            assert len(folders.asked) == len(set(folders.asked))


# Real servers.
