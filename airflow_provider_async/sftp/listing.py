# SPDX-License-Identifier: Apache-2.0
"""What lies in one remote folder, however large it is."""

from __future__ import annotations

import asyncio
from array import array
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import asyncssh

from airflow_provider_async.errors import UnsafePath
from airflow_provider_async.sftp.files import RemoteEntry
from airflow_provider_async.sftp.session import is_lost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from typing import TypeAlias

    from airflow_provider_async.sftp.files import Kind
    from airflow_provider_async.sftp.session import SFTPSession

    #: Runs an operation, again where its connection is lost: ``Operations.retried``.
    Retried: TypeAlias = Callable[[Callable[[SFTPSession], Awaitable[list[RemoteEntry]]]], Awaitable[list[RemoteEntry]]]

__all__ = ["entry_of", "list_folder", "read_folder"]

#: As many names as OpenSSH puts into one answer. A chunk that is full waits for no further one.
_CHUNK_NAMES = 100

#: A chunk of a server that sends its names one by one is full after so long: a time-out is one of a single request.
_CHUNK_SECONDS = 1.0

#: Whoever leaves a listing waits so long for the server to close the folder.
_CLOSE_SECONDS = 1.0

#: Closings that nobody waits for any more. A task that nothing refers to may vanish before it is done.
_closings: set[asyncio.Task[None]] = set()

_KINDS: dict[int, Kind] = {
    asyncssh.FILEXFER_TYPE_REGULAR: "file",
    asyncssh.FILEXFER_TYPE_DIRECTORY: "folder",
    asyncssh.FILEXFER_TYPE_SYMLINK: "link",
}


def entry_of(path: str, attributes: asyncssh.SFTPAttrs) -> RemoteEntry:
    """Return a path with what a server tells of it."""
    return RemoteEntry(path, _KINDS.get(attributes.type, "other"), attributes.size, attributes.mtime)


async def list_folder(session: SFTPSession, folder: str) -> AsyncGenerator[list[RemoteEntry], None]:
    """
    List a folder over one session, in chunks, without ``.`` and ``..``, in the server's order.

    :param session: the session; where the consumer is slow, it may be used without being borrowed.
    :param folder: the folder's path.
    :raises UnsafePath: if the server sends a name that cannot be one, such as ``../passwd``.
    :raises asyncssh.SFTPError: if the folder is missing or must not be read, or the connection is lost.
    """
    what = f"list folder {folder!r}"
    # asyncssh declares an iterator; it is a generator, and closes the folder when it is closed.
    names = cast("AsyncGenerator[asyncssh.SFTPName, None]", session.client.scandir(folder or "."))
    inside = "" if folder in ("", ".") else f"{folder.rstrip('/')}/"
    asking: asyncio.Task[list[asyncssh.SFTPName]] | None = None
    at_end = False
    try:
        while not at_end:
            # A task that is never cancelled: a folder whose opening is not waited for would stay open at the server.
            asking = asyncio.create_task(_take(names))
            found = await session.answer(asyncio.shield(asking), what)
            at_end = not found
            chunk = []
            for each in found:
                name = cast("str", each.filename)
                if name in (".", ".."):
                    continue
                if not name or "/" in name or "\0" in name:
                    raise UnsafePath(f"in {folder!r} the server lists {name!r}, which cannot be the name of a file")
                path, attributes = inside + name, each.attrs
                if attributes.permissions is None and attributes.type == asyncssh.FILEXFER_TYPE_UNKNOWN:
                    attributes = await session.answer(session.client.lstat(path), f"look at {path!r}")
                chunk.append(entry_of(path, attributes))
            if chunk:
                yield chunk
    finally:
        if not at_end:
            closing = asyncio.create_task(_close(names, asking))
            _closings.add(closing)
            closing.add_done_callback(_closings.discard)
            await asyncio.wait([closing], timeout=_CLOSE_SECONDS)


async def read_folder(retried: Retried, folder: str) -> AsyncGenerator[list[RemoteEntry], None]:
    """
    List a folder, in chunks, without ``.`` and ``..``, in the server's order; each name once.

    A session is borrowed while the server is asked, and not while a chunk is looked at: however slow the consumer is,
    others have their turn. If the connection is lost halfway, the folder is listed again over another; names that
    were delivered already are left out.

    :param retried: ``Operations.retried``.
    :param folder: the folder's path.
    :raises Exception: what :func:`list_folder` raises, with a note that names the folder.
    """
    reader = _Reader(folder)
    try:
        while chunk := await retried(reader.read):
            # As hashes: a million names take 8 MB, and two of them share one in less than one case of ten million.
            reader.delivered.extend(map(hash, chunk))
            yield chunk
    except Exception as error:
        error.add_note(f"folder {folder!r}")
        raise
    finally:
        if reader.chunks is not None:
            await reader.chunks.aclose()


class _Reader:
    """A folder that is being listed, over one session at a time."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._session: SFTPSession | None = None
        self._known: frozenset[int] = frozenset()
        self.delivered = array("q")
        self.chunks: AsyncGenerator[list[RemoteEntry], None] | None = None

    async def read(self, session: SFTPSession) -> list[RemoteEntry]:
        """Return the next entries that were not delivered yet, none at the end."""
        while True:
            if self._session is None or self.chunks is None:
                self._session, self.chunks = session, list_folder(session, self._folder)
                self._known = frozenset(self.delivered)
            try:
                async for chunk in self.chunks:
                    if new := [entry for entry in chunk if hash(entry) not in self._known]:
                        return new
            except BaseException as error:
                asked, self._session = self._session, None
                # The folder is open on the session where it was opened, whichever is lent this time. If that one was
                # lost, the other is as good as it was.
                if asked is session or not is_lost(error):
                    raise
            else:
                return []


async def _take(names: AsyncGenerator[asyncssh.SFTPName, None]) -> list[asyncssh.SFTPName]:
    """Return the next names, none at the end."""
    taken: list[asyncssh.SFTPName] = []
    now = asyncio.get_running_loop().time
    enough = now() + _CHUNK_SECONDS
    async for name in names:
        taken.append(name)
        if len(taken) >= _CHUNK_NAMES or now() > enough:
            break
    return taken


async def _close(
    names: AsyncGenerator[asyncssh.SFTPName, None], asking: asyncio.Task[list[asyncssh.SFTPName]] | None
) -> None:
    if asking is not None:
        await asyncio.wait([asking])
        # Looked at, because asyncio reports errors that nobody has seen.
        _ = asking.cancelled() or asking.exception()
    # asyncssh lets statuses pass, and a lost connection has closed the folder already.
    with suppress(asyncssh.Error, OSError):
        await names.aclose()
