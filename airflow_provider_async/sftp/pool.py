# SPDX-License-Identifier: Apache-2.0
"""SFTPClientPool: many files over few connections."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self, TypeVar

from airflow_provider_async.core.amap import amap
from airflow_provider_async.core.pool import Pool
from airflow_provider_async.errors import PoolClosed
from airflow_provider_async.sftp.files import RemotePath
from airflow_provider_async.sftp.hook import AsyncSFTPHook

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
    from types import TracebackType

    import asyncssh

    from airflow_provider_async.core.amap import AsyncMap
    from airflow_provider_async.core.pool import PoolStatistics
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.sftp.connection import ConnectionFields
    from airflow_provider_async.sftp.files import RemoteEntry, RemoteFile, TransferredFile
    from airflow_provider_async.sftp.operations import Operations
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["SFTPClientPool"]

T = TypeVar("T")
R = TypeVar("R")
Remote = TypeVar("Remote", bound=RemotePath)
Local = TypeVar("Local", bound="str | os.PathLike[str]")


class SFTPClientPool:
    """
    A few SSH connections that many operations share.

    ``async with SFTPClientPool("sftp_default") as pool:`` reads the Connection; connections are opened when they are
    needed, and all are closed at the end. On each, many operations run at once. A pool belongs to one event loop and is
    entered once.

    ``pool_size`` and ``max_concurrency`` may also stand in the Connection's extras; what is given here wins.

    :param sftp_conn_id: the id of an ``sftp`` or ``ssh`` Connection.
    :param pool_size: connections, 2 by default.
    :param max_concurrency: operations in flight over all connections, leases included; 64 by default.
    :param acquire_timeout: seconds that an operation waits for its turn, and for a connection.
    :param close_timeout: seconds that operations have to end when the pool closes, and a connection has to close.
    :param max_idle: seconds after which an unused connection is closed.
    :param max_lifetime: seconds after which a connection is replaced.
    :param retry: how connecting is retried; by default with back-off for as long as an operation waits. A refused
        login or host key never is.
    :param connection: the Connection itself, for scripts and tests without Airflow's database.
    """

    def __init__(
        self,
        sftp_conn_id: str = "sftp_default",
        *,
        pool_size: int | None = None,
        max_concurrency: int | None = None,
        acquire_timeout: float = 30.0,
        close_timeout: float = 30.0,
        max_idle: float | None = None,
        max_lifetime: float | None = None,
        retry: Retry | None = None,
        connection: ConnectionFields | None = None,
    ) -> None:
        for argument, count in (("pool_size", pool_size), ("max_concurrency", max_concurrency)):
            if count is not None and count < 1:
                raise ValueError(f"{argument} must be at least 1, not {count}")
        self.sftp_conn_id = sftp_conn_id
        self._hook = AsyncSFTPHook(sftp_conn_id, connection=connection)
        self._pool_size = pool_size
        self._max_concurrency = max_concurrency
        self._acquire_timeout = acquire_timeout
        self._close_timeout = close_timeout
        self._max_idle = max_idle
        self._max_lifetime = max_lifetime
        self._retry = retry
        self._opened: tuple[Pool[SFTPSession, SFTPSession], Operations] | None = None

    async def __aenter__(self) -> Self:
        """
        Read the Connection and get ready to connect.

        :raises InvalidConnection: naming a field of the Connection that cannot be used.
        """
        # asyncssh takes half a second to import: a DAG file is parsed without it.
        from airflow_provider_async.sftp.operations import Operations, connect_retry
        from airflow_provider_async.sftp.session import SFTPSession, is_broken

        if self._opened is not None:
            raise RuntimeError(f"{self._name} was entered before; a pool is entered once")
        settings = await self._hook.read()
        size = self._pool_size or settings.pool_size
        limit = self._max_concurrency or settings.max_concurrency
        pool: Pool[SFTPSession, SFTPSession] = Pool(
            self._hook.open_session,
            close=SFTPSession.close,
            size=size,
            leases=-(-limit // size),
            limit=limit,
            is_usable=SFTPSession.is_usable,
            is_broken=is_broken,
            acquire_timeout=self._acquire_timeout,
            close_timeout=self._close_timeout,
            max_idle=self._max_idle,
            max_lifetime=self._max_lifetime,
            retry=connect_retry(self._retry),
            name=self._name,
        )
        await pool.__aenter__()
        self._opened = pool, Operations(pool)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._pool.__aexit__(exc_type, exc, tb)

    async def close(self) -> None:
        """End what was begun and close the connections, as leaving ``async with`` does."""
        await self._pool.close()

    @asynccontextmanager
    async def get_sftp_client(self) -> AsyncIterator[asyncssh.SFTPClient]:
        """
        Borrow a connected client: ``async with pool.get_sftp_client() as client:``.

        It shares its connection with others, and has a working directory of its own.

        :raises PoolTimeout: if none was free within the acquire time-out.
        :raises PoolConnectError: if the login or the server's host key is refused.
        :raises PoolClosed: if the pool is closed, or is being closed.
        """
        async with self._pool.lease() as session:
            try:
                yield session.view()
            except asyncio.CancelledError:
                session.cancelled_leases += 1
                raise

    def statistics(self) -> PoolStatistics:
        """Return the counts of this moment: connections, leases, waiters."""
        return self._pool.statistics()

    async def listdir(self, folder: str | PurePosixPath = ".") -> list[str]:
        """
        Return the names in a remote folder, sorted, without ``.`` and ``..``.

        :param folder: the folder's path.
        :raises asyncssh.SFTPError: if it is missing or must not be read.
        """
        return sorted(entry.name for entry in await self._operations.list_folder(str(folder)))

    async def glob(self, pattern: str | PurePosixPath) -> list[str]:
        """
        Return the remote paths that fit a pattern, sorted.

        As in Python's :mod:`glob`: ``*``, ``?`` and ``[...]`` stand for parts of one name and ``**`` for any number of
        folders; a name that begins with a dot is found only by a pattern that has the dot. ``**`` follows no links.

        :param pattern: a path with or without wildcards.
        :return: the paths, empty if nothing fits.
        :raises asyncssh.SFTPError: if the folder before the first wildcard is missing, or one must not be read.
        """
        from airflow_provider_async.sftp import listing

        path = str(pattern)
        if not listing.has_wildcards(path):
            return [path] if await self._operations.exists(path) else []
        return await listing.match(self._operations.list_folder, path)

    def walk(self, folder: str | PurePosixPath = ".") -> AsyncIterator[RemoteEntry]:
        """
        Iterate over the regular files of a whole tree; links are neither followed nor found.

        :param folder: the root of the tree.
        :return: entries with path, size and time, as they are found.
        :raises asyncssh.SFTPError: while iterating, if a folder is missing or must not be read.
        """
        from airflow_provider_async.sftp import listing

        return listing.walk(self._operations.list_folder, str(folder))

    def read_many(
        self,
        paths: Iterable[Remote] | AsyncIterable[Remote],
        *,
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        label: str | None = None,
    ) -> AsyncMap[Remote, RemoteFile]:
        """
        Read many files into memory.

        :param paths: of the files, or entries of :meth:`walk`.
        :param limit: how many are read at once; ``max_concurrency`` by default and at most.
        :param ordered: yield them in the order of ``paths`` instead of as they arrive.
        :param retry: which errors are tried again; by default a lost connection, five attempts. A status of the
            server's, such as a missing file, is not, unless the policy says so.
        :param label: what the work is called in errors.
        :return: what to iterate over, once: files with ``path`` and ``data``.
        """
        from airflow_provider_async.sftp.operations import operation_retry

        return self._map(
            self._operations.read,
            paths,
            limit,
            ordered=ordered,
            retry=operation_retry(retry),
            label=label or "read_many",
        )

    def download_many(
        self,
        paths: Iterable[Remote] | AsyncIterable[Remote],
        local_dir: str | os.PathLike[str],
        *,
        base: str | PurePosixPath | None = None,
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        label: str | None = None,
    ) -> AsyncMap[Remote, TransferredFile]:
        """
        Download many files into a local folder.

        Each appears there when it is complete, and replaces a file of the same name. Nothing is written outside of the
        folder, whatever the remote names are.

        :param paths: of the files, or entries of :meth:`walk`.
        :param local_dir: the local folder; made if it is missing.
        :param base: the remote folder whose structure is kept; without it, all files are put side by side, and two of
            the same name are refused.
        :param limit: how many are downloaded at once; ``max_concurrency`` by default and at most.
        :param ordered: yield in the order of ``paths`` instead of as they are complete.
        :param retry: as in :meth:`read_many`.
        :param label: what the work is called in errors.
        :return: what to iterate over, once: files with ``path``, ``local_path`` and ``size``.
        """
        from airflow_provider_async.sftp.operations import Download, operation_retry

        download = Download(self._operations, Path(local_dir), None if base is None else PurePosixPath(base))
        return self._map(
            download, paths, limit, ordered=ordered, retry=operation_retry(retry), label=label or "download_many"
        )

    def upload_many(
        self,
        paths: Iterable[Local] | AsyncIterable[Local],
        remote_dir: str | PurePosixPath,
        *,
        base: str | os.PathLike[str] | None = None,
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        label: str | None = None,
    ) -> AsyncMap[Local, TransferredFile]:
        """
        Upload many files into a remote folder.

        Each appears there when it is complete, and replaces a file of the same name: at once where the server can do
        that (OpenSSH's can), else with a moment in between.

        :param paths: of the local files.
        :param remote_dir: the remote folder, which must exist.
        :param base: the local folder whose structure is kept, with folders made as needed; without it, all files
            are put side by side, and two of the same name are refused.
        :param limit: how many are uploaded at once; ``max_concurrency`` by default and at most.
        :param ordered: yield in the order of ``paths`` instead of as they are complete.
        :param retry: as in :meth:`read_many`.
        :param label: what the work is called in errors.
        :return: what to iterate over, once: files with ``path``, ``local_path`` and ``size``.
        """
        from airflow_provider_async.sftp.operations import Upload, operation_retry

        folder = None if base is None else Path(base)
        upload = Upload(self._operations, str(remote_dir), folder, operation_retry(retry))
        return self._map(upload, paths, limit, ordered=ordered, retry=None, label=label or "upload_many")

    def _map(
        self,
        function: Callable[[T], Awaitable[R]],
        items: Iterable[T] | AsyncIterable[T],
        limit: int | None,
        *,
        ordered: bool,
        retry: Retry | None,
        label: str,
    ) -> AsyncMap[T, R]:
        # More calls than leases would only wait for one until the acquire time-out.
        at_most = self._pool.limit
        results = amap(
            function,
            items,
            limit=at_most if limit is None else min(limit, at_most),
            ordered=ordered,
            retry=retry,
            label=label,
        )
        self._pool.attach(results)
        return results

    @property
    def _name(self) -> str:
        return f"SFTPClientPool({self.sftp_conn_id!r})"

    @property
    def _pool(self) -> Pool[SFTPSession, SFTPSession]:
        return self._open[0]

    @property
    def _operations(self) -> Operations:
        return self._open[1]

    @property
    def _open(self) -> tuple[Pool[SFTPSession, SFTPSession], Operations]:
        if self._opened is None:
            raise PoolClosed(f"{self._name} is not open; use 'async with'")
        return self._opened

    def __repr__(self) -> str:
        return f"<{self._name}: {self._opened[0] if self._opened else 'not open'}>"
