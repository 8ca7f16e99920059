# SPDX-License-Identifier: Apache-2.0
"""Patterns and walks over a tree that is held in memory, compared with Python's own glob."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import asyncssh
import pytest

from airflow_provider_async.sftp.files import RemoteEntry
from airflow_provider_async.sftp.listing import match, walk

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

    async def __call__(self, folder: str) -> list[RemoteEntry]:
        self.asked.append(folder)
        try:
            found = list(os.scandir(folder or "."))
        except FileNotFoundError:
            raise asyncssh.SFTPNoSuchFile(folder) from None
        except PermissionError:
            raise asyncssh.SFTPPermissionDenied(folder) from None
        except NotADirectoryError:
            raise asyncssh.SFTPFailure(folder) from None
        return [
            RemoteEntry(
                f"{folder}/{entry.name}" if folder else entry.name,
                "link" if entry.is_symlink() else "folder" if entry.is_dir() else "file",
            )
            for entry in found
        ]


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
    found = await match(folders, pattern)

    assert found == by_python(pattern)
    assert len(folders.asked) == len(set(folders.asked))


async def test_a_double_star_at_the_end_finds_everything_below(tree: Path) -> None:
    assert await match(Folders(), f"{tree}/in/**") == [
        f"{tree}/in/{name}" for name in ("a.xml", "deep", "deep/c.xml", "deep/er", "deep/er/d.xml")
    ]


async def test_only_folders_that_may_hold_a_match_are_listed(tree: Path) -> None:
    folders = Folders()

    await match(folders, f"{tree}/in/d*/c.xml")

    assert folders.asked == [f"{tree}/in", f"{tree}/in/deep"]


async def test_links_to_folders_are_entered_by_name_but_not_by_a_double_star(tree: Path) -> None:
    (tree / "link").symlink_to(tree / "in")
    (tree / "circle").symlink_to(tree)
    (tree / "dangling").symlink_to(tree / "nothing")
    (tree / "to_file").symlink_to(tree / "a.xml")

    assert f"{tree}/link/a.xml" in await match(Folders(), f"{tree}/*/a.xml")
    assert f"{tree}/link/a.xml" not in await match(Folders(), f"{tree}/**/a.xml")
    assert await match(Folders(), f"{tree}/l*") == [f"{tree}/link"]


async def test_a_missing_folder_before_the_first_wildcard_is_an_error(tree: Path) -> None:
    with pytest.raises(asyncssh.SFTPNoSuchFile):
        await match(Folders(), f"{tree}/missing/*.xml")


async def test_a_folder_that_vanishes_is_left_out_and_one_that_must_not_be_read_is_an_error(tree: Path) -> None:
    class Unlucky(Folders):
        error: asyncssh.SFTPError

        async def __call__(self, folder: str) -> list[RemoteEntry]:
            if folder.endswith("/in"):
                raise self.error
            return await super().__call__(folder)

    folders = Unlucky()
    folders.error = asyncssh.SFTPNoSuchFile("gone")
    assert await match(folders, f"{tree}/*/a.xml") == [f"{tree}/out/a.xml"]

    folders.error = asyncssh.SFTPPermissionDenied("no")
    with pytest.raises(asyncssh.SFTPPermissionDenied):
        await match(folders, f"{tree}/*/a.xml")


async def test_a_walk_lists_a_folder_when_it_is_its_turn(tree: Path) -> None:
    folders = Folders()

    first = await anext(walk(folders, str(tree / "in")))

    assert first.path == f"{tree}/in/a.xml"
    assert folders.asked == [f"{tree}/in"]
