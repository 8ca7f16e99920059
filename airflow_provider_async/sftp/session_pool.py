# SPDX-License-Identifier: Apache-2.0
"""A few SSH connections: opened when they are needed, shared, and closed at the end."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_async.core.checks import check_at_least, check_concurrency
from airflow_provider_async.core.governor import govern
from airflow_provider_async.core.pool import Pool
from airflow_provider_async.errors import PoolClosed
from airflow_provider_async.sftp.hook import AsyncSFTPHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    import asyncssh

    from airflow_provider_async.core.pool import PoolStatistics
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.core.shards import Shard
    from airflow_provider_async.core.values import Concurrency
    from airflow_provider_async.runtime.hooks import ConnectionFields
    from airflow_provider_async.sftp.operations import Operations
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["SFTPSessionPool"]

#: What keeps a connection busy at a round trip of 10 ms and more.
OPERATIONS_A_CONNECTION = 32

#: More are never tried.
MOST_OPERATIONS_A_CONNECTION = 64


class SFTPSessionPool:
    """The sessions of an :class:`~airflow_provider_async.sftp.SFTPClientPool`, which documents the arguments."""

    def __init__(
        self,
        sftp_conn_id: str = "sftp_default",
        *,
        pool_size: int | None = None,
        max_concurrency: Concurrency | None = None,
        acquire_timeout: float = 30.0,
        close_timeout: float = 30.0,
        max_idle: float | None = None,
        max_lifetime: float | None = None,
        operation_timeout: float | None = None,
        retry: Retry | None = None,
        shard: Shard[Any] | None = None,
        connection: ConnectionFields | None = None,
    ) -> None:
        check_at_least(1, pool_size=pool_size)
        check_concurrency("max_concurrency", max_concurrency)
        if operation_timeout is not None and not operation_timeout > 0:
            raise ValueError(f"operation_timeout must be above zero, not {operation_timeout}")
        self.sftp_conn_id = sftp_conn_id
        self._hook = AsyncSFTPHook(sftp_conn_id, connection=connection)
        self._pool_size = pool_size
        self._max_concurrency = max_concurrency
        self._acquire_timeout = acquire_timeout
        self._close_timeout = close_timeout
        self._max_idle = max_idle
        self._max_lifetime = max_lifetime
        self._operation_timeout = operation_timeout
        self._retry = retry
        self._shard = shard
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
        limits = settings.limits.share(self._shard, settings.conn_id)
        size = limits.connections(self._pool_size or settings.pool_size)
        wanted = self._max_concurrency or settings.max_concurrency or OPERATIONS_A_CONNECTION * size
        limit = limits.requests(MOST_OPERATIONS_A_CONNECTION * size if wanted == "auto" else wanted)
        pool: Pool[SFTPSession, SFTPSession] = Pool(
            partial(self._hook.open_session, operation_seconds=self._operation_timeout),
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
        if wanted == "auto":
            govern(pool, most=limit)
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
                session.lost_handles += 1
                raise

    def statistics(self) -> PoolStatistics:
        """Return the counts of this moment: connections, leases, waiters."""
        return self._pool.statistics()

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
