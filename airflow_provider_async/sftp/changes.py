# SPDX-License-Identifier: Apache-2.0
"""How single remote files are looked at, removed and moved."""

from __future__ import annotations

import errno
import posixpath
from typing import TYPE_CHECKING, get_args

import asyncssh

from airflow_provider_async.sftp.files import Missing, MovedFile, TargetNames, remote_key, remote_path
from airflow_provider_async.sftp.folders import Folders
from airflow_provider_async.sftp.listing import entry_of
from airflow_provider_async.sftp.local import already_exists
from airflow_provider_async.sftp.session import is_lost, settle

if TYPE_CHECKING:
    from pathlib import PurePosixPath

    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.sftp.files import RemoteEntry, RemotePath
    from airflow_provider_async.sftp.local import Existing
    from airflow_provider_async.sftp.operations import Operations
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["Move", "Remove", "rename", "replace", "stat"]

_MISSING = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)


async def stat(session: SFTPSession, path: RemotePath) -> RemoteEntry:
    """
    Tell what is at a remote path, be it a link.

    :param session: a connected session.
    :param path: the path.
    :raises asyncssh.SFTPNoSuchFile: if there is nothing.
    """
    name = remote_path(path)
    return entry_of(name, await session.answer(session.client.lstat(name), f"look at {name!r}"))


async def replace(session: SFTPSession, path: str, new_path: str) -> None:
    """
    Give a remote file another name, in place of any other file of that name: at once where the server can do that.

    :param session: a connected session.
    :param path: the file's path.
    :param new_path: its path from now on; its folder must exist.
    :raises asyncssh.SFTPError: if the server refuses.
    """
    what = f"rename {path!r} to {new_path!r}"
    try:
        await session.answer(session.client.posix_rename(path, new_path), what)
    except asyncssh.SFTPOpUnsupported:
        await settle(_remove_and_rename(session, path, new_path, what))


async def _remove_and_rename(session: SFTPSession, path: str, new_path: str, what: str) -> None:
    client = session.client
    try:
        await session.answer(client.rename(path, new_path), what)
    except asyncssh.SFTPError as error:
        # The protocol's own rename does not replace a file. If there is none, the first error is the true one.
        if is_lost(error) or not await session.answer(client.isfile(new_path), what):
            raise
        # Two paths of one file, such as through a link to its folder: then its removal would be its end.
        if await _true_path(session, path, what) == await _true_path(session, new_path, what):
            return
        await session.answer(client.lstat(path), what)
        await session.answer(client.remove(new_path), what)
        await session.answer(client.rename(path, new_path), what)


async def _true_path(session: SFTPSession, path: str, what: str) -> str:
    folder, name = posixpath.split(path)
    # Without capitals, because to some servers they are all the same.
    return posixpath.join(await session.answer(session.client.realpath(folder or "."), what), name).casefold()


async def rename(session: SFTPSession, path: str, new_path: str) -> None:
    """
    Give a remote file another name, which must be free.

    The protocol's own rename does not replace what has come meanwhile.

    :param session: a connected session.
    :param path: the file's path.
    :param new_path: its path from now on; its folder must exist.
    :raises FileExistsError: if there is something already.
    :raises asyncssh.SFTPError: if the server refuses for another reason.
    """
    try:
        await session.answer(session.client.rename(path, new_path), f"rename {path!r} to {new_path!r}")
    except asyncssh.SFTPError as error:
        if not is_lost(error) and not isinstance(error, _MISSING) and await _find(session, new_path) is not None:
            raise already_exists(new_path) from error
        raise


def _check_missing(missing: str) -> None:
    if missing not in get_args(Missing):
        raise ValueError(f"missing must be 'error' or 'ignore', not {missing!r}")


class Remove:
    """
    The removals of one call.

    :param operations: of the open pool.
    :param tally: counts those that were gone already.
    :param missing: whether a file that is not there is an ``error``, or is to be taken as removed (``ignore``).
    """

    def __init__(self, operations: Operations, tally: Tally, missing: Missing) -> None:
        _check_missing(missing)
        self._operations = operations
        self._tally = tally
        self._missing = missing

    async def __call__(self, path: RemotePath) -> str:
        """
        Remove one file, or a link, and return its path.

        :raises asyncssh.SFTPNoSuchFile: if it is missing and that is an error.
        :raises IsADirectoryError: if it is a folder.
        """
        name = remote_path(path)
        # An answer was lost with its connection: then the file may be gone because it was removed.
        may_be_done = False

        async def attempt(session: SFTPSession) -> None:
            nonlocal may_be_done
            try:
                await session.answer(session.client.remove(name), f"remove {name!r}")
            except _MISSING:
                if not may_be_done:
                    if self._missing == "error":
                        raise
                    self._tally.skipped += 1
            except Exception as error:
                if is_lost(error):
                    may_be_done = True
                elif isinstance(error, asyncssh.SFTPError) and (await stat(session, name)).kind == "folder":
                    # Servers have many statuses for this, most of which say nothing.
                    raise IsADirectoryError(errno.EISDIR, "is a folder", name) from error
                raise

        await self._operations.retried(attempt)
        return name


class Move:
    """
    The moves of one call into one folder.

    :param operations: of the open pool.
    :param tally: counts those that were skipped.
    :param folder: the remote folder; made if it is missing.
    :param base: the remote folder whose structure is kept; ``None`` for bare names.
    :param existing: what becomes of a file that is there already.
    :param missing: whether a file that is not there is an ``error``, or is skipped (``ignore``).
    """

    def __init__(  # noqa: PLR0917
        self,
        operations: Operations,
        tally: Tally,
        folder: str,
        base: PurePosixPath | None,
        existing: Existing,
        missing: Missing,
    ) -> None:
        if existing not in ("overwrite", "skip", "error"):
            raise ValueError(f"existing must be 'overwrite', 'skip' or 'error', not {existing!r}")
        _check_missing(missing)
        self._operations = operations
        self._tally = tally
        self._folder = folder
        self._names = TargetNames(base)
        self._existing = existing
        self._missing = missing
        self._folders = Folders(operations)

    def key(self, path: RemotePath) -> Key:
        """Return what ``resume`` goes by."""
        return self._names.claim(remote_path(path), remote_key(path))

    async def __call__(self, path: RemotePath) -> MovedFile:
        """
        Move one file.

        :raises asyncssh.SFTPNoSuchFile: if it is missing and that is an error.
        :raises FileExistsError: if the target is there already and that is an error.
        """
        source = remote_path(path)
        move = _OneMove(source, posixpath.join(self._folder, self._names.name(source)), self._existing, self._missing)

        await self._folders.make(posixpath.dirname(move.target))
        is_moved = await self._operations.retried(move.attempt)
        if not is_moved:
            self._tally.skipped += 1
        return MovedFile(source, move.target, skipped=not is_moved)


class _OneMove:
    """One file on its way, with what is known from an attempt before."""

    def __init__(self, source: str, target: str, existing: Existing, missing: Missing) -> None:
        self._source = source
        self.target = target
        self._existing = existing
        self._missing = missing
        self._may_be_done = False

    async def attempt(self, session: SFTPSession) -> bool:
        """Move the file, if it is not moved yet, and return whether it was not skipped."""
        if self._may_be_done and await self._is_done(session):
            return True
        try:
            return await self._move(session)
        except (*_MISSING, FileExistsError):
            if self._missing == "error" or await _find(session, self._source) is not None:
                raise
            return False

    async def _move(self, session: SFTPSession) -> bool:
        if posixpath.normpath(self._source) == posixpath.normpath(self.target):
            await stat(session, self._source)
            if self._existing == "error":
                raise already_exists(self.target)
            return False
        if self._existing != "overwrite" and (there := await _find(session, self.target)) is not None:
            if self._existing == "error":
                raise already_exists(self.target)
            known = (there.kind, there.size, there.modified)
            here = await stat(session, self._source)
            if None not in known and known == (here.kind, here.size, here.modified):
                return False
        try:
            if self._existing == "error":
                await rename(session, self._source, self.target)
            else:
                await replace(session, self._source, self.target)
        except Exception as error:
            # The answer was lost with its connection: then the file may have been moved.
            self._may_be_done = self._may_be_done or is_lost(error)
            raise
        return True

    async def _is_done(self, session: SFTPSession) -> bool:
        return await _find(session, self._source) is None and await _find(session, self.target) is not None


async def _find(session: SFTPSession, path: str) -> RemoteEntry | None:
    try:
        return await stat(session, path)
    except _MISSING:
        return None
