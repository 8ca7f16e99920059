# SPDX-License-Identifier: Apache-2.0
"""How one remote file becomes a file on this side."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_async.errors import FileChanged, VerificationFailed
from airflow_provider_async.sftp.blocks import MAX_BLOCK_BYTES, BlockFile
from airflow_provider_async.sftp.files import RemoteEntry, TargetNames, TransferredFile, remote_key, remote_path
from airflow_provider_async.sftp.local import State, already_exists, check_options, is_same
from airflow_provider_async.sftp.object_storage import open_target
from airflow_provider_async.sftp.parts import LARGE_BYTES, digest_of, open_part
from airflow_provider_async.sftp.reading import has_changed
from airflow_provider_async.sftp.verify import check_sha256

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    import asyncssh

    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.sftp.files import RemotePath
    from airflow_provider_async.sftp.local import Existing, LocalPath, Verify
    from airflow_provider_async.sftp.operations import Operations
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["Download"]


class Download:
    """
    The downloads of one call into one folder.

    A file appears there when it is complete, with the time of modification that it has on the server. A large one that
    fails leaves a hidden part beside its final name, and the next attempt, be it in another process, goes on from there
    if the remote file is still the same. On the way to object storage, the part is in the folder for temporary files.

    :param operations: of the open pool; they are retried.
    :param target: the folder on this side; made if it is missing.
    :param base: the remote folder whose structure is kept; ``None`` for bare names.
    :param existing: what happens to a file that is there: ``overwrite``; ``skip`` it if it has the same size and the
        same time to the second, in object storage the same size, and overwrite it otherwise; or ``error``.
    :param verify: ``size``, or ``checksum`` to have the server compute SHA-256 as well, if it runs commands.
    :param tally: counts bytes, and files that were skipped.
    """

    def __init__(
        self,
        operations: Operations,
        target: LocalPath,
        *,
        base: PurePosixPath | None,
        existing: Existing,
        verify: Verify,
        tally: Tally,
    ) -> None:
        check_options(existing, verify)
        self._operations = operations
        self._target = open_target(target)
        self._names = TargetNames(base)
        self._existing = existing
        self._verify = verify
        self._tally = tally

    def key(self, path: RemotePath) -> Key:
        """Return what ``resume`` goes by."""
        return self._names.claim(remote_path(path), remote_key(path))

    async def __call__(self, path: RemotePath) -> TransferredFile:
        """
        Download one file.

        :raises asyncssh.SFTPError: if the remote file is missing or must not be read, or the connection is lost.
        :raises OSError: if the local file cannot be written, or exists and must not.
        :raises FileChanged: if the remote file was changed while it was read.
        :raises VerificationFailed: if what arrived differs from it, or could not be compared.
        :raises UnsafePath: if the file would be outside of the target folder, or replace another one's.
        """
        source = remote_path(path)
        target = await self._target.prepare(self._names.name(source))
        known = _known(path)
        if self._existing != "overwrite" and (found := await self._target.find(target)) is not None:
            if self._existing == "error":
                raise already_exists(str(self._target.local_path(target)))
            if known is None:
                known = await self._operations.retried(partial(_stat, path=source))
            if is_same(found, known):
                self._tally.skipped += 1
                return TransferredFile(source, self._target.local_path(target), found.size, skipped=True)
        small = None
        if known is None or known.size <= MAX_BLOCK_BYTES:
            small = await self._operations.retried(partial(_read_small, path=source, known=known))
        if small is None:
            size = await self._receive_large(source, target)
        else:
            data, modified = small
            size = len(data)
            self._tally.bytes += size
            if self._verify == "checksum":
                await self._check(source, size, hashlib.sha256(data).hexdigest())
            await self._target.store(target, data, modified, replace=self._existing != "error")
        return TransferredFile(source, self._target.local_path(target), size)

    async def _receive_large(self, source: str, target: str) -> int:
        async with BlockFile(self._operations, source, "rb") as file:
            before = await file.stat()
            size = _size(before, source)
            digest = None
            if size > LARGE_BYTES:
                server = await self._operations.retried(_server)
                digest = digest_of(*server, source, size, before.mtime)
            folder, name = self._target.staging(target)
            with open_part(folder, name, digest, size) as part:
                async with aclosing(file.blocks(part.length, size)) as blocks:
                    await part.write_all(blocks, self._count)
                if has_changed(before, await file.stat(), part.length):
                    raise FileChanged(f"{source!r} was changed while it was read")
                if self._verify == "checksum":
                    await self._check(source, size, await asyncio.to_thread(part.sha256))
                await self._target.store_part(part.path, target, before.mtime, replace=self._existing != "error")
        return size

    def _count(self, written_bytes: int) -> None:
        self._tally.bytes += written_bytes

    async def _check(self, source: str, size: int, checksum: str) -> None:
        await self._operations.retried(partial(check_sha256, path=source, size=size, expected=checksum))


async def _read_small(session: SFTPSession, *, path: str, known: State | None) -> tuple[bytes, float | None] | None:
    """
    Read a file of one block: open, read, close in the background.

    :param known: what a listing has told. Without it, the server is asked together with the reading; and if it is not
        true any more, afterwards.
    :return: the bytes and the time of modification, or ``None`` for a file of more than one block.
    """
    length = min(session.client.limits.max_read_len, MAX_BLOCK_BYTES)
    if known is not None and known.size > length:
        return None
    return await session.answer(_read_block(session, path, known, length), f"read {path!r}")


async def _read_block(
    session: SFTPSession, path: str, known: State | None, length: int
) -> tuple[bytes, float | None] | None:
    data: bytes
    file = await session.open_within(path, "rb")
    try:
        if known is None:
            data, attributes = await asyncio.gather(file.read(length, 0), file.stat())
        else:
            data = await file.read(length, 0)
            if len(data) == known.size < length:
                return data, known.modified
            attributes = await file.stat()
    finally:
        session.close_later(file)
    size = _size(attributes, path)
    if size < len(data):
        raise FileChanged(f"{path!r} was changed while it was read")
    return (data, attributes.mtime) if size == len(data) else None


async def _stat(session: SFTPSession, *, path: str) -> State:
    attributes = await session.answer(session.client.stat(path), f"tell the size of {path!r}")
    return State(_size(attributes, path), attributes.mtime)


async def _server(session: SFTPSession) -> tuple[object, ...]:
    return tuple(session.connection.get_extra_info(name) for name in ("host", "port", "username"))


def _known(path: RemotePath) -> State | None:
    # A link's own size says nothing about the file that it leads to.
    if not isinstance(path, RemoteEntry) or path.kind != "file" or path.size is None or path.modified is None:
        return None
    return State(path.size, path.modified)


def _size(attributes: asyncssh.SFTPAttrs, path: str) -> int:
    if attributes.size is None:
        raise VerificationFailed(f"the server does not tell the size of {path!r}")
    return attributes.size
