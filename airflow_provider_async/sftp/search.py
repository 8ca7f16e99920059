# SPDX-License-Identifier: Apache-2.0
"""The files of a whole remote tree, and the paths that fit a pattern."""

from __future__ import annotations

import asyncio
import fnmatch
import posixpath
import re
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, TypeVar

import asyncssh

from airflow_provider_async.errors import CallCancelled
from airflow_provider_async.sftp.files import RemoteEntry
from airflow_provider_async.sftp.session import is_lost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
    from typing import TypeAlias

    #: Lists one folder, in chunks: what a search needs of a server.
    Lister: TypeAlias = Callable[[str], AsyncGenerator[list[RemoteEntry], None]]

__all__ = ["has_wildcards", "match", "walk"]

State = TypeVar("State")

#: When so many entries wait for the consumer, no further ones are asked for.
_UNREAD_ENTRIES = 2_000

_WILDCARDS = re.compile(r"[*?[]")


async def walk(list_one: Lister, folder: str, *, at_once: int) -> AsyncGenerator[RemoteEntry, None]:
    """
    Find the regular files of a whole tree, in no particular order.

    Links are neither followed nor found, so that the walk ends and stays in the tree. A folder that vanishes before it
    is its turn is left out.

    :param list_one: lists one folder.
    :param folder: the root of the tree.
    :param at_once: how many folders are listed at the same time.
    :raises asyncssh.SFTPError: if a folder must not be read or the root is missing.
    """

    def look(entry: RemoteEntry, _: bool) -> tuple[bool, bool]:  # noqa: FBT001 - what is below of a folder, as for match
        return entry.kind == "file", entry.kind == "folder"

    search = _Search(list_one, look, at_once)
    async with aclosing(search.chunks(folder, state=True)) as chunks:
        async for chunk in chunks:
            for entry in chunk:
                yield entry


def has_wildcards(pattern: str) -> bool:
    """Tell whether a path is a pattern."""
    return _WILDCARDS.search(pattern) is not None


async def match(
    list_one: Lister, stat_one: Callable[[str], Awaitable[RemoteEntry]], pattern: str, *, at_once: int
) -> list[RemoteEntry]:
    """
    Find the paths that fit a pattern.

    As in Python's :mod:`glob`: ``*``, ``?`` and ``[...]`` stand for parts of one name and ``**`` for any number of
    folders; a name that begins with a dot is found only by a pattern that has the dot; a slash at the end asks for
    folders. ``**`` does not follow links.

    :param list_one: lists one folder; called once for each that may hold a fitting name.
    :param stat_one: tells what is at one path; called for a pattern without wildcards.
    :param pattern: a path with or without wildcards.
    :param at_once: how many folders are listed at the same time.
    :return: sorted.
    :raises ValueError: if ``..`` comes after a wildcard.
    :raises asyncssh.SFTPError: if a folder must not be read or the one before the first wildcard is missing.
    """
    if not has_wildcards(pattern):
        try:
            return [await stat_one(pattern)]
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            return []
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    start = next(index for index, part in enumerate(parts) if has_wildcards(part))
    if ".." in parts[start:]:
        raise ValueError(f"{pattern!r} goes up after a wildcard")
    root = posixpath.join("/" if pattern.startswith("/") else "", *parts[:start])
    wanted = _Wanted(parts[start:], only_folders=pattern.endswith("/"))
    search = _Search(list_one, wanted.look, at_once)
    async with aclosing(search.chunks(root, state=wanted.first)) as chunks:
        return sorted([entry async for chunk in chunks for entry in chunk])


class _Search(Generic[State]):
    """
    Lists the folders of a tree, several at a time, and keeps what is looked for.

    :param list_one: lists one folder.
    :param look: told an entry and the state of the folder that it is in; returns whether the entry is looked for, and
        the state with which it is to be listed, if that is true.
    :param at_once: how many folders are listed at the same time.
    """

    def __init__(
        self, list_one: Lister, look: Callable[[RemoteEntry, State], tuple[bool, State]], at_once: int
    ) -> None:
        self._list_one = list_one
        self._look = look
        self._at_once = at_once
        self._root = ""
        # Last in, first out: that keeps few folders waiting, as a tree is wider than it is deep.
        self._folders: list[tuple[RemoteEntry, State]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._found: deque[list[RemoteEntry]] = deque()
        self._unread = 0
        self._error: BaseException | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def chunks(self, root: str, *, state: State) -> AsyncGenerator[list[RemoteEntry], None]:
        """Yield what is found below a folder. An error comes after what was found before."""
        self._root = root
        self._add([(RemoteEntry(root, "folder"), state)])
        try:
            while True:
                while self._found:
                    chunk = self._found.popleft()
                    self._unread -= len(chunk)
                    self._room.set()
                    yield chunk
                if self._error is not None:
                    raise self._error
                if not self._workers:
                    return
                self._news.clear()
                await self._news.wait()
        finally:
            self._stop()
            if self._workers:
                await asyncio.wait(self._workers)

    def _add(self, folders: Iterable[tuple[RemoteEntry, State]]) -> None:
        for folder in folders:
            self._folders.append(folder)
            if len(self._workers) < self._at_once:
                worker = asyncio.get_running_loop().create_task(self._work(), name=f"listing of {self._root!r}")
                self._workers.add(worker)
                worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        error = None if worker.cancelled() else worker.exception()
        if worker.cancelled() and not worker.cancelling():
            error = CallCancelled(f"the listing of a folder in {self._root!r} cancelled itself")
        if error is not None and self._error is None:
            self._error = error
            self._stop()
        self._news.set()

    def _stop(self) -> None:
        self._folders.clear()
        for worker in self._workers:
            # Once is enough: a second cancellation would interrupt the clean-up that the first one began.
            if not worker.cancelling():
                worker.cancel()

    async def _work(self) -> None:
        while self._folders:
            folder, state = self._folders.pop()
            try:
                async with aclosing(self._list_one(folder.path)) as chunks:
                    async for chunk in chunks:
                        self._take(chunk, state)
                        while self._unread >= _UNREAD_ENTRIES:
                            self._room.clear()
                            await self._room.wait()
            except Exception as error:
                if folder.path == self._root or not _is_no_folder(folder, error):
                    raise

    def _take(self, chunk: list[RemoteEntry], state: State) -> None:
        found, below = [], []
        for entry in chunk:
            fits, inside = self._look(entry, state)
            if fits:
                found.append(entry)
            if inside:
                below.append((entry, inside))
        self._add(reversed(below))
        if found:
            self._found.append(found)
            self._unread += len(found)
            self._news.set()


def _is_no_folder(folder: RemoteEntry, error: Exception) -> bool:
    """Tell whether an error says that there is nothing to list: a link may lead to a file, a folder may have gone."""
    is_gone = isinstance(error, (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath))
    return is_gone or (folder.kind == "link" and isinstance(error, asyncssh.SFTPError) and not is_lost(error))


class _Wanted:
    """
    The parts of a pattern, and how far a path has come in them.

    A position is the index of the part that the next name has to fit. Because of ``**`` a path can be at several at
    once; keeping them together lists each folder once.
    """

    def __init__(self, parts: list[str], *, only_folders: bool) -> None:
        self._parts = parts
        self._end = len(parts)
        self._only_folders = only_folders
        self._fits = [re.compile(fnmatch.translate(part)).match for part in parts]
        self.first = self._reach({0}) - {self._end}

    def look(self, entry: RemoteEntry, positions: frozenset[int]) -> tuple[bool, frozenset[int]]:
        """Return whether an entry fits the pattern, and the positions of what is in it if it can be entered."""
        name = entry.name
        is_hidden = name.startswith(".")
        by_name: set[int] = set()
        by_stars: set[int] = set()
        for position in positions:
            part = self._parts[position]
            if part == "**":
                if not is_hidden:
                    by_stars.add(position)
            elif self._fits[position](name) and (not is_hidden or part.startswith(".")):
                by_name.add(position + 1)
        if not (by_name or by_stars):
            return False, frozenset()
        reached = self._reach(by_name | by_stars)
        below = reached if entry.kind == "folder" else self._reach(by_name if entry.kind == "link" else set())
        fits = self._end in reached and (entry.kind == "folder" or not self._only_folders)
        return fits, below - {self._end}

    def _reach(self, positions: set[int]) -> frozenset[int]:
        """Add what lies behind each ``**``, which may stand for no folder at all."""
        reached = set(positions)
        for position in range(self._end):
            if position in reached and self._parts[position] == "**":
                reached.add(position + 1)
        return frozenset(reached)
