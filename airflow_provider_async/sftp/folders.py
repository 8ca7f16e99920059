# SPDX-License-Identifier: Apache-2.0
"""Remote folders that files are put into."""

from __future__ import annotations

import asyncio
import posixpath
from functools import partial
from typing import TYPE_CHECKING

import asyncssh

from airflow_provider_async.sftp.session import is_lost

if TYPE_CHECKING:
    from airflow_provider_async.sftp.operations import Operations
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["Folders"]


class Folders:
    """
    Makes each remote folder once, however many files wait for it.

    :param operations: of the open pool.
    """

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._made = {"", ".", "/"}
        self._locks: dict[str, asyncio.Lock] = {}

    async def make(self, folder: str) -> None:
        """
        Make a remote folder, and those above it, if they are missing.

        :raises asyncssh.SFTPError: if one cannot be made, with a note that names it.
        """
        if folder in self._made:
            return
        async with self._locks.setdefault(folder, asyncio.Lock()):
            if folder in self._made:
                return
            if not await self._operations.retried(partial(_is_folder, path=folder)):
                await self.make(posixpath.dirname(folder.rstrip("/")))
                await self._operations.retried(partial(_make_folder, path=folder))
            self._made.add(folder)


async def _is_folder(session: SFTPSession, *, path: str) -> bool:
    return await session.answer(session.client.isdir(path), f"look for {path!r}")


async def _make_folder(session: SFTPSession, *, path: str) -> None:
    try:
        await session.answer(session.client.mkdir(path), f"make {path!r}")
    except asyncssh.SFTPError as error:
        # Another process may have made it. The protocol has no status of its own for what is there already.
        if is_lost(error) or not await _is_folder(session, path=path):
            error.add_note(f"folder {path!r}")
            raise
