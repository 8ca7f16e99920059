# SPDX-License-Identifier: Apache-2.0
"""What a pool finds out about remote files: the names in a folder, paths that fit a pattern, trees, sizes and times."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_async.core.pooled import amap_over
from airflow_provider_async.core.progress import Tally
from airflow_provider_async.sftp.files import RemoteEntry, RemotePath, remote_key
from airflow_provider_async.sftp.session_pool import SFTPSessionPool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Iterable
    from pathlib import PurePosixPath

    from airflow_provider_async.core.amap import AsyncMap
    from airflow_provider_async.core.pooled import Ack
    from airflow_provider_async.core.retry import Retry

__all__ = ["SFTPLookups"]

Remote = TypeVar("Remote", bound=RemotePath)

#: Folders that are listed at once: more don't help, as the answers of a few fill any wire.
_FOLDERS_AT_ONCE = 32


class SFTPLookups(SFTPSessionPool):
    """The lookups of an :class:`~airflow_provider_async.sftp.SFTPClientPool`, which documents the arguments."""

    async def listdir(self, folder: str | PurePosixPath = ".") -> list[str]:
        """
        Return the names in a remote folder, sorted, without ``.`` and ``..``.

        :param folder: the folder's path.
        :raises asyncssh.SFTPError: if it is missing or must not be read.
        """
        return sorted([entry.name async for entries in self._list(str(folder)) for entry in entries])

    async def glob(self, pattern: str | PurePosixPath) -> list[RemoteEntry]:
        """
        Return the remote paths that fit a pattern, sorted. Each is a string that carries its ``size`` and time.

        As in Python's :mod:`glob`: ``*``, ``?`` and ``[...]`` stand for parts of one name and ``**`` for any number of
        folders; a name that begins with a dot is found only by a pattern that has the dot. ``**`` follows no links.

        :param pattern: a path with or without wildcards.
        :return: the paths, empty if nothing fits.
        :raises asyncssh.SFTPError: if the folder before the first wildcard is missing, or one must not be read.
        """
        from airflow_provider_async.sftp import changes, search

        async def look(path: str) -> RemoteEntry:
            return await self._operations.retried(partial(changes.stat, path=path))

        return await search.match(self._list, look, str(pattern), at_once=self._folders_at_once)

    def walk(self, folder: str | PurePosixPath = ".") -> AsyncGenerator[RemoteEntry, None]:
        """
        Iterate over the regular files of a whole tree, in no particular order; links are neither followed nor found.

        Several folders are listed at once, and only as fast as the files are taken.

        :param folder: the root of the tree.
        :return: paths that carry their ``size`` and time.
        :raises asyncssh.SFTPError: while iterating, if a folder is missing or must not be read.
        """
        from airflow_provider_async.sftp import search

        files = search.walk(self._list, str(folder), at_once=self._folders_at_once)
        self._pool.attach(files)
        return files

    def stat_many(
        self,
        paths: Iterable[Remote] | AsyncIterable[Remote],
        *,
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[Remote, RemoteEntry]:
        """
        Ask what is at many remote paths; a link is a link, whatever it leads to.

        :param paths: the paths.
        :return: the paths, which carry ``kind``, ``size`` and time; a missing one is an ``asyncssh.SFTPNoSuchFile``.
        """
        from airflow_provider_async.sftp import changes

        operations = self._operations.with_retry(retry)

        async def look(path: Remote) -> RemoteEntry:
            return await operations.retried(partial(changes.stat, path=path))

        return amap_over(
            self._pool,
            look,
            paths,
            key=remote_key,
            limit=limit,
            ordered=ordered,
            resume=resume,
            ack=ack,
            label=label or "stat_many",
            tally=Tally(),
        )

    def _list(self, folder: str) -> AsyncGenerator[list[RemoteEntry], None]:
        from airflow_provider_async.sftp import listing

        return listing.read_folder(self._operations.retried, folder)

    @property
    def _folders_at_once(self) -> int:
        return min(_FOLDERS_AT_ONCE, self._operations.most)
