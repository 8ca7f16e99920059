# SPDX-License-Identifier: Apache-2.0
"""What an open pool does: each operation borrows a session for as long as it takes, and another if that one is lost."""

from __future__ import annotations

import asyncio
import posixpath
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import asyncssh

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import PoolError, UnsafePath
from airflow_provider_async.sftp import listing, transfer
from airflow_provider_async.sftp.files import RemoteFile, TargetNames, TransferredFile, remote_path
from airflow_provider_async.sftp.session import is_lost, is_transient

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable

    from airflow_provider_async.core.pool import Pool
    from airflow_provider_async.sftp.files import RemoteEntry, RemotePath
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["Download", "Operations", "Upload", "connect_retry", "operation_retry"]

T = TypeVar("T")

#: What an upload left behind on a connection that was lost is removed over another within this time, or stays.
_REMOVE_SECONDS = 5.0


def connect_retry(retry: Retry | None) -> Retry:
    """Return a policy for connecting: the given one, which also knows SSH's own errors."""
    policy = retry or Retry()
    return replace(policy, is_transient=lambda error: is_transient(error) or policy.is_transient(error))


def operation_retry(retry: Retry | None) -> Retry:
    """Return a policy for operations: they are repeated on a lost connection, and where the given policy says so."""
    if retry is None:
        return Retry(is_transient=is_lost)

    def is_worth_it(error: BaseException) -> bool:
        # The pool has already tried for as long as it was allowed to.
        return is_lost(error) or (not isinstance(error, PoolError) and retry.is_transient(error))

    return replace(retry, is_transient=is_worth_it)


class Operations:
    """
    The operations that one lease is enough for.

    :param pool: the open pool.
    """

    def __init__(self, pool: Pool[SFTPSession, SFTPSession]) -> None:
        self._pool = pool
        self._retry = operation_retry(None)

    async def run(self, operation: Callable[[asyncssh.SFTPClient], Awaitable[T]]) -> T:
        """
        Run an operation on a session that has room for it.

        :param operation: given the session's client, which others use at the same time.
        :raises asyncssh.SFTPConnectionLost: if the connection is lost meanwhile.
        """
        async with self._pool.lease() as session:
            try:
                return await operation(session.client)
            except asyncio.CancelledError:
                session.cancelled_leases += 1
                raise
            except Exception as error:
                if is_lost(error):
                    # asyncssh fails all requests of a lost connection with one and the same object.
                    raise asyncssh.SFTPConnectionLost(f"{self._pool.name}: {error}") from error
                raise

    async def list_folder(self, folder: str) -> list[RemoteEntry]:
        """List a remote folder. The error of one that cannot be listed has a note with its path."""
        try:
            return await self._retry.call(partial(self.run, partial(listing.list_folder, folder=folder)))
        except asyncssh.SFTPError as error:
            error.add_note(f"{self._pool.name}: folder {folder!r}")
            raise

    async def exists(self, path: str) -> bool:
        """Tell whether there is anything at a remote path, be it a link that leads nowhere."""
        return await self._retry.call(partial(self.run, lambda client: client.lexists(path)))

    async def read(self, path: RemotePath) -> RemoteFile:
        """Read a remote file into memory."""
        source = remote_path(path)
        return RemoteFile(source, await self.run(partial(transfer.read, path=source)))

    async def discard(self, path: str) -> None:
        """Remove a remote file, if that can be done soon."""
        with suppress(PoolError, asyncssh.Error, OSError):
            async with asyncio.timeout(_REMOVE_SECONDS):
                await self.run(partial(transfer.remove_quietly, path=path))


class Download:
    """
    The downloads of one call into one folder.

    :param operations: of the open pool.
    :param folder: the local folder; made if it is missing.
    :param base: the remote folder whose structure is kept; ``None`` for bare names.
    """

    def __init__(self, operations: Operations, folder: Path, base: PurePosixPath | None) -> None:
        self._operations = operations
        self._folder = folder
        self._names = TargetNames(base)
        self._safe: set[Path] = set()

    async def __call__(self, path: RemotePath) -> TransferredFile:
        """Download one file."""
        source = remote_path(path)
        target = self._folder / self._names.name(PurePosixPath(source))
        self._prepare(target.parent)
        size = await self._operations.run(partial(transfer.download, path=source, target=target))
        return TransferredFile(source, target, size)

    def _prepare(self, folder: Path) -> None:
        if folder in self._safe:
            return
        # Before anything is made: a link that lies in the folder already could lead anywhere.
        if not folder.resolve().is_relative_to(self._folder.resolve()):
            raise UnsafePath(f"{str(folder)!r} leads out of {str(self._folder)!r} through a link")
        folder.mkdir(parents=True, exist_ok=True)
        self._safe.add(folder)


class Upload:
    """
    The uploads of one call into one folder.

    :param operations: of the open pool.
    :param folder: the remote folder, which must exist.
    :param base: the local folder whose structure is kept; ``None`` for bare names.
    :param retry: which errors are tried again. Here and not around, so that all attempts share a temporary name, and
        what one of them could not remove is overwritten by the next.
    """

    def __init__(self, operations: Operations, folder: str, base: Path | None, retry: Retry) -> None:
        self._operations = operations
        self._folder = folder
        self._names = TargetNames(base)
        self._retry = retry
        self._made = {folder}

    async def __call__(self, path: str | os.PathLike[str]) -> TransferredFile:
        """Upload one file."""
        source = Path(path)
        inside = self._names.name(source)
        target = posixpath.join(self._folder, inside)
        temporary = posixpath.join(posixpath.dirname(target), transfer.temporary_name())

        async def attempt(client: asyncssh.SFTPClient) -> int:
            await transfer.make_folders(client, self._folder, posixpath.dirname(inside), self._made)
            return await transfer.upload(client, source, target, temporary)

        try:
            size = await self._retry.call(partial(self._operations.run, attempt))
        except asyncssh.SFTPConnectionLost:
            await self._operations.discard(temporary)
            raise
        return TransferredFile(target, source, size)
