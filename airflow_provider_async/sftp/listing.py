# SPDX-License-Identifier: Apache-2.0
"""What lies in a remote folder: its entries, the files of a whole tree, and the paths that fit a pattern."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import stat
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal, cast

import asyncssh

from airflow_provider_async.errors import UnsafePath
from airflow_provider_async.sftp.files import RemoteEntry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
    from typing import TypeAlias

    #: Lists one folder: what the functions here need of a server.
    Lister: TypeAlias = Callable[[str], Awaitable[Sequence[RemoteEntry]]]

__all__ = ["has_wildcards", "list_folder", "match", "walk"]

_WILDCARDS = re.compile(r"[*?[]")


async def list_folder(client: asyncssh.SFTPClient, folder: str) -> list[RemoteEntry]:
    """
    List a folder, without ``.`` and ``..``, in the server's order.

    :param client: a connected client.
    :param folder: the folder's path.
    :raises UnsafePath: if the server sends a name that cannot be one, such as ``../passwd``.
    :raises asyncssh.SFTPError: if the folder is missing or must not be read.
    """
    entries: list[RemoteEntry] = []
    # asyncssh declares an iterator; it is a generator, and closes the folder's handle when it is closed.
    names = cast("AsyncGenerator[asyncssh.SFTPName, None]", client.scandir(folder or "."))
    async with aclosing(names):
        async for found in names:
            name, attributes = str(found.filename), found.attrs
            if name in (".", ".."):
                continue
            if not name or "/" in name or "\0" in name:
                raise UnsafePath(f"in {folder!r} the server lists {name!r}, which cannot be the name of a file")
            path = name if folder in ("", ".") else posixpath.join(folder, name)
            if attributes.permissions is None:
                attributes = await client.lstat(path)
            entries.append(RemoteEntry(path, _kind(attributes.permissions), attributes.size, attributes.mtime))
    return entries


def _kind(permissions: int | None) -> Literal["file", "folder", "link", "other"]:
    match stat.S_IFMT(permissions or 0):
        case stat.S_IFREG:
            return "file"
        case stat.S_IFDIR:
            return "folder"
        case stat.S_IFLNK:
            return "link"
        case _:
            return "other"


async def walk(list_one: Lister, folder: str) -> AsyncIterator[RemoteEntry]:
    """
    Find the regular files of a whole tree.

    Links are neither followed nor found, so that the walk ends and stays in the tree.

    :param list_one: lists one folder; called for one after the other.
    :param folder: the root of the tree.
    """
    folders = [folder]
    while folders:
        below = []
        for entry in await list_one(folders.pop()):
            if entry.kind == "folder":
                below.append(entry.path)
            elif entry.kind == "file":
                yield entry
        folders += sorted(below, reverse=True)


def has_wildcards(pattern: str) -> bool:
    """Tell whether a path is a pattern."""
    return _WILDCARDS.search(pattern) is not None


async def match(list_one: Lister, pattern: str) -> list[str]:
    """
    Find the paths that fit a pattern.

    As in Python's :mod:`glob`: ``*``, ``?`` and ``[...]`` stand for parts of one name and ``**`` for any number of
    folders; a name that begins with a dot is found only by a pattern that has the dot. ``**`` does not follow links.

    :param list_one: lists one folder; called once for each that may hold a fitting name.
    :param pattern: a path with wildcards.
    :return: sorted.
    :raises asyncssh.SFTPError: if a folder must not be read, or the one before the first wildcard is missing.
    """
    parts = [part for part in pattern.split("/") if part]
    start = next(index for index, part in enumerate(parts) if has_wildcards(part))
    root = posixpath.join("/" if pattern.startswith("/") else "", *parts[:start])
    wanted = _Wanted(parts[start:])
    found: list[str] = []
    # Each folder with the parts of the pattern that the names in it may fit.
    folders = [(RemoteEntry(root, "folder"), wanted.first)]
    while folders:
        folder, positions = folders.pop()
        try:
            entries = await list_one(folder.path)
        except asyncssh.SFTPError as error:
            # A link may lead to a file or nowhere, and a folder may have gone since it was listed.
            is_gone = isinstance(error, (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath))
            if folder.path == root or not (is_gone or folder.kind == "link"):
                raise
            continue
        for entry in entries:
            fits, below = wanted.after(entry, positions)
            if fits:
                found.append(entry.path)
            if below:
                folders.append((entry, below))
    return sorted(found)


class _Wanted:
    """
    The parts of a pattern, and how far a path has come in them.

    A position is the index of the part that the next name has to fit. Because of ``**`` a path can be at several at
    once; keeping them together lists each folder once.
    """

    def __init__(self, parts: list[str]) -> None:
        self._parts = parts
        self._end = len(parts)
        self.first = self._reach({0})

    def after(self, entry: RemoteEntry, positions: frozenset[int]) -> tuple[bool, frozenset[int]]:
        """Return whether an entry fits the pattern, and the positions of what is in it if it can be entered."""
        is_hidden = entry.name.startswith(".")
        by_name = {
            position + 1
            for position in positions
            if position < self._end and self._parts[position] != "**" and self._fits(entry.name, position)
        }
        by_stars = {
            position
            for position in positions
            if position < self._end and self._parts[position] == "**" and not is_hidden
        }
        reached = self._reach(by_name | by_stars)
        below: frozenset[int] = frozenset()
        if entry.kind == "folder":
            below = reached
        elif entry.kind == "link":
            below = self._reach(by_name)
        return self._end in reached, below - {self._end}

    def _fits(self, name: str, position: int) -> bool:
        part = self._parts[position]
        return fnmatch.fnmatchcase(name, part) and (not name.startswith(".") or part.startswith("."))

    def _reach(self, positions: set[int]) -> frozenset[int]:
        """Add what lies behind each ``**``, which may stand for no folder at all."""
        reached = set(positions)
        for position in range(self._end):
            if position in reached and self._parts[position] == "**":
                reached.add(position + 1)
        return frozenset(reached)
