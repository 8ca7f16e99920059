# SPDX-License-Identifier: Apache-2.0
"""What an open pool does: each operation borrows a session for as long as it takes, and another if that one is lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import asyncssh

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import PoolError
from airflow_provider_async.sftp.session import is_lost, is_transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_async.core.pool import Pool
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["Operations", "connect_retry", "operation_retry"]

T = TypeVar("T")

#: How asyncssh says that a connection is gone, in the middle of one thing or another.
_LOST = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.ConnectionLost, ConnectionError)


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
    Runs operations on the sessions of a pool.

    :param pool: the open pool.
    :param retry: which errors of an operation are tried again; by default a lost connection, five attempts.
    """

    def __init__(self, pool: Pool[SFTPSession, SFTPSession], retry: Retry | None = None) -> None:
        self._pool = pool
        self._retry = operation_retry(retry)
        #: As many are never run at once, wherever the limit is at the moment.
        self.most = pool.limit
        #: Blocks of large files that are on their way, or wait to be written here: what bounds their memory.
        self.blocks = asyncio.Semaphore(pool.limit)

    @property
    def name(self) -> str:
        """What errors call the pool."""
        return self._pool.name

    def with_retry(self, retry: Retry | None) -> Operations:
        """Return the same operations under another policy."""
        if retry is None:
            return self
        operations = Operations(self._pool, retry)
        operations.blocks = self.blocks
        return operations

    async def run(self, operation: Callable[[SFTPSession], Awaitable[T]]) -> T:
        """
        Run an operation on a session that has room for it, once.

        :param operation: given the session, which others use at the same time.
        :raises asyncssh.SFTPConnectionLost: if the connection is lost meanwhile.
        :raises OperationTimeout: if the server does not answer in time.
        """
        async with self._pool.lease() as session:
            try:
                return await operation(session)
            except _LOST as error:
                # asyncssh fails all requests of a lost connection with one and the same object.
                raise asyncssh.SFTPConnectionLost(f"{self.name}: {error}") from error

    async def retried(self, operation: Callable[[SFTPSession], Awaitable[T]]) -> T:
        """
        Run an operation, again on another session when its connection is lost.

        :param operation: given the session; called once for each attempt.
        :raises asyncssh.SFTPError: what the server answered, or that the connection was lost at each attempt.
        """
        return await self._retry.call(partial(self.run, operation))
