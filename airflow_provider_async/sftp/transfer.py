# SPDX-License-Identifier: Apache-2.0
"""How one file is read, downloaded and uploaded over a connected client."""

from __future__ import annotations

import asyncio
import posixpath
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

import asyncssh

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

__all__ = ["download", "make_folders", "read", "remove_quietly", "temporary_name", "upload"]

#: What a failed upload left behind is removed within this time, or stays.
_REMOVE_SECONDS = 5.0

#: See :func:`_is_end`.
_SUSPICIOUS_BYTES = 1024

#: Closings that nobody waits for. A task that nothing refers to may vanish before it is done.
_closings: set[asyncio.Task[None]] = set()


async def read(client: asyncssh.SFTPClient, path: str) -> bytes:
    """
    Read a whole file.

    :param client: a connected client.
    :param path: the file's path.
    :raises asyncssh.SFTPError: if the file is missing or must not be read, or the connection is lost.
    """
    blocks: list[bytes] = []
    await _receive(client, path, blocks.append)
    return blocks[0] if len(blocks) == 1 else b"".join(blocks)


async def download(client: asyncssh.SFTPClient, path: str, target: Path) -> int:
    """
    Copy a remote file to a local one, which appears when it is complete and replaces any other of that name.

    :param client: a connected client.
    :param path: the remote file's path.
    :param target: the local file's path; its folder must exist.
    :return: the number of bytes.
    :raises asyncssh.SFTPError: if the remote file is missing or must not be read, or the connection is lost.
    :raises OSError: if the local file cannot be written.
    """
    temporary = target.with_name(temporary_name())
    # Written right here: a thread costs more than a block's way into the page cache, and one that is cancelled
    # goes on, and could create the file after its removal.
    try:
        with temporary.open("xb") as local:
            await _receive(client, path, local.write)
            size = local.tell()
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return size


async def upload(client: asyncssh.SFTPClient, source: Path, path: str, temporary: str) -> int:
    """
    Copy a local file to a remote one, which appears when it is complete and replaces any other of that name.

    :param client: a connected client.
    :param source: the local file's path.
    :param path: the remote file's path; its folder must exist.
    :param temporary: a remote path in the same folder, free to be overwritten. Nothing is left there, unless the
        connection is lost.
    :return: the number of bytes.
    :raises asyncssh.SFTPError: if the remote file must not be written, or the connection is lost.
    :raises OSError: if the local file cannot be read.
    """
    with source.open("rb") as local:
        try:
            await _send(client, local.read, temporary)
            await _replace(client, temporary, path)
        except BaseException:
            await remove_quietly(client, temporary)
            raise
        return local.tell()


def temporary_name() -> str:
    """Return a name for a file that is not complete yet, which patterns do not find and nobody can foresee."""
    return f".{secrets.token_hex(8)}.part"


async def make_folders(client: asyncssh.SFTPClient, root: str, inside: str, made: set[str]) -> None:
    """
    Make the missing folders below a remote folder.

    :param client: a connected client.
    :param root: the folder, which must exist.
    :param inside: what is to be made in it, a relative path.
    :param made: the folders that are known to exist; those made here are added.
    :raises asyncssh.SFTPError: if a folder cannot be made.
    """
    folder = root
    for name in filter(None, inside.split("/")):
        folder = posixpath.join(folder, name)
        if folder in made:
            continue
        try:
            await client.mkdir(folder)
        except asyncssh.SFTPError:
            # The protocol has no status of its own for what is there already.
            if not await client.isdir(folder):
                raise
        made.add(folder)


async def remove_quietly(client: asyncssh.SFTPClient, path: str) -> None:
    """Remove a file if that can be done soon; its failure is no news after what led here. Not cancelled halfway."""

    async def remove() -> None:
        with suppress(asyncssh.Error, OSError):
            async with asyncio.timeout(_REMOVE_SECONDS):
                await client.remove(path)

    await _to_the_end(remove())


async def _receive(client: asyncssh.SFTPClient, path: str, take: Callable[[bytes], object]) -> None:
    # Three requests for a small file: open, read, close. With a block_size of 0, a read is one request; asyncssh's
    # own reading of a whole file asks for its size first.
    file = await client.open(path, "rb", block_size=0)
    try:
        length, offset = client.limits.max_read_len, 0
        while True:
            block: bytes = await file.read(length, offset)
            if block:
                take(block)
            if _is_end(len(block), length):
                break
            offset += len(block)
    except BaseException:
        _close_in_background(file)
        raise
    await file.close()


def _is_end(received: int, length: int) -> bool:
    """
    Tell whether an answer to a read is the last one of a file.

    Of a regular file, a server sends as much as it is asked for or up to the end (draft-ietf-secsh-filexfer-02, section
    6.4). One that caps its answers nevertheless does so at a round number: then it is asked again.
    """
    return received == 0 or (received < length and received % _SUSPICIOUS_BYTES != 0)


async def _send(client: asyncssh.SFTPClient, take: Callable[[int], bytes], path: str) -> None:
    file = await client.open(path, "wb", block_size=0)
    try:
        offset = 0
        while block := take(client.limits.max_write_len):
            await file.write(block, offset)
            offset += len(block)
    except BaseException:
        _close_in_background(file)
        raise
    # Some servers tell only now that a disk is full.
    await file.close()


def _close_in_background(file: asyncssh.SFTPClientFile) -> None:
    # Whoever is being cancelled, or has met a server that does not answer, cannot wait for one more answer.
    async def close() -> None:
        with suppress(asyncssh.Error, OSError):
            await file.close()

    task = asyncio.get_running_loop().create_task(close())
    _closings.add(task)
    task.add_done_callback(_closings.discard)


async def _replace(client: asyncssh.SFTPClient, temporary: str, path: str) -> None:
    """Give a file its final name, in place of any other file of that name."""
    try:
        await client.posix_rename(temporary, path)
    except asyncssh.SFTPOpUnsupported:
        await _to_the_end(_remove_and_rename(client, temporary, path))


async def _remove_and_rename(client: asyncssh.SFTPClient, temporary: str, path: str) -> None:
    try:
        await client.rename(temporary, path)
    except asyncssh.SFTPError:
        # The protocol's own rename does not replace a file. If there is none, the first error is the true one.
        if not await client.isfile(path):
            raise
        await client.remove(path)
        await client.rename(temporary, path)


async def _to_the_end(coroutine: Coroutine[object, object, None]) -> None:
    """Await what must not be left half done: a cancellation is passed on when it has ended, a second one at once."""
    task = asyncio.ensure_future(coroutine)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
