# SPDX-License-Identifier: Apache-2.0
"""How a whole remote file is read."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_async.errors import FileChanged
from airflow_provider_async.sftp.blocks import MAX_BLOCK_BYTES, BlockFile
from airflow_provider_async.sftp.files import RemoteEntry, RemoteFile, remote_path

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import asyncssh

    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.sftp.files import RemotePath
    from airflow_provider_async.sftp.operations import Operations
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["has_changed", "is_end", "read", "read_first", "read_to_end"]

#: See :func:`is_end`.
_SUSPICIOUS_BYTES = 1024


async def read(operations: Operations, tally: Tally, path: RemotePath) -> RemoteFile:
    """
    Read a whole file into memory.

    :param operations: of the open pool.
    :param tally: counts the bytes.
    :param path: the file's path, or its entry in a listing.
    :raises asyncssh.SFTPError: if the file is missing or must not be read, or the connection is lost.
    :raises FileChanged: if the file was changed while it was read.
    """
    name = remote_path(path)
    # A link's own size says nothing about the file that it leads to.
    expected = path.size if isinstance(path, RemoteEntry) and path.kind == "file" else None
    if expected is None or expected <= MAX_BLOCK_BYTES:
        data, is_all = await operations.retried(partial(read_first, path=name))
        if is_all and (expected is None or len(data) == expected or await _is_size(operations, name, len(data))):
            tally.bytes += len(data)
            return RemoteFile(name, data)
        if is_all:
            raise FileChanged(f"{operations.name}: {name!r} was changed while it was read")
    blocks: list[bytes] = []
    async with BlockFile(operations, name, "rb") as file:
        before = await file.stat()
        async with aclosing(read_to_end(file, before.size)) as contents:
            async for block in contents:
                blocks.append(block)
                tally.bytes += len(block)
        if has_changed(before, await file.stat(), sum(map(len, blocks))):
            raise FileChanged(f"{operations.name}: {name!r} was changed while it was read")
    return RemoteFile(name, b"".join(blocks))


async def read_first(session: SFTPSession, path: str) -> tuple[bytes, bool]:
    """
    Read as much of a file as one request gives, which is all of a small one.

    That takes three requests, and nobody waits for the last: open, read, close. asyncssh's own reading of a whole file
    asks for its size first.

    :param session: a connected session.
    :param path: the file's path.
    :return: the bytes, and whether they are all.
    :raises asyncssh.SFTPError: if the file is missing or must not be read, or the connection is lost.
    """
    return await session.answer(_read_first(session, path), f"read {path!r}")


async def _read_first(session: SFTPSession, path: str) -> tuple[bytes, bool]:
    file = await session.open_within(path, "rb")
    try:
        length = min(session.client.limits.max_read_len, MAX_BLOCK_BYTES)
        data: bytes = await file.read(length, 0)
        if is_end(len(data), length):
            return data, True
        if len(data) < length:
            return data, not await file.read(1, len(data))
        return data, False
    finally:
        session.close_later(file)


async def read_to_end(file: BlockFile, size: int | None) -> AsyncGenerator[bytes, None]:
    """
    Read a whole file in blocks, in order.

    :param file: the open file.
    :param size: its size, if the server tells; otherwise one block is read after the other.
    """
    if size is not None:
        async with aclosing(file.blocks(0, size)) as blocks:
            async for block in blocks:
                yield block
        return
    offset = 0
    while True:
        async with aclosing(file.blocks(offset, offset + await file.block_bytes())) as blocks:
            async for block in blocks:
                if not block:
                    return
                yield block
                offset += len(block)


def has_changed(before: asyncssh.SFTPAttrs, after: asyncssh.SFTPAttrs, received_bytes: int) -> bool:
    """Tell whether a file was changed while it was read, as far as size and time tell."""
    if before.size is not None and before.size != received_bytes:
        return True
    return (before.size, before.mtime) != (after.size, after.mtime)


def is_end(received_bytes: int, asked_bytes: int) -> bool:
    """
    Tell whether an answer to a read is the last one of a file.

    Of a regular file, a server sends as much as it is asked for or up to the end (draft-ietf-secsh-filexfer-02, section
    6.4). One that caps its answers nevertheless does so at a round number: then it is asked again.
    """
    return received_bytes == 0 or (received_bytes < asked_bytes and received_bytes % _SUSPICIOUS_BYTES != 0)


async def _is_size(operations: Operations, path: str, size: int) -> bool:
    async def stat(session: SFTPSession) -> int | None:
        return (await session.answer(session.client.stat(path), f"tell the size of {path!r}")).size

    return await operations.retried(stat) == size
