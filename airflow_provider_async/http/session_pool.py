# SPDX-License-Identifier: Apache-2.0
"""The life of a pool that sends its requests over one session of aiohttp: entered once, and closed at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from airflow_provider_async.errors import PoolClosed
from airflow_provider_async.http.hook import start

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_async.core.attached import Closeable
    from airflow_provider_async.core.pool import Pool, PoolStatistics
    from airflow_provider_async.http.sender import Sender
    from airflow_provider_async.http.transport import Transport

__all__ = ["SessionPool"]


class SessionPool(ABC):
    """What pools over HTTP have in common, whatever they ask their servers."""

    _pool: Pool[Transport, Transport] | None = None

    @property
    @abstractmethod
    def _name(self) -> str:
        """What errors call it."""

    @abstractmethod
    async def _open(self) -> tuple[Pool[Transport, Transport], Sender]:
        """Read the Connection, and make what sends requests and the pool that it leases from."""

    async def __aenter__(self) -> Self:
        """
        Read the Connection and get ready to connect.

        :raises InvalidConnection: naming a field of the Connection that cannot be used.
        """
        if self._pool is not None:
            raise RuntimeError(f"{self._name} was entered before; a pool is entered once")
        self._pool, sender = await self._open()
        await self._pool.__aenter__()
        start(self._pool, sender)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._opened.__aexit__(exc_type, exc, tb)

    async def close(self) -> None:
        """End what was begun and close the connections, as leaving ``async with`` does."""
        await self._opened.close()

    def statistics(self) -> PoolStatistics:
        """Return the counts of this moment: leases, waiters; the connections are aiohttp's."""
        return self._opened.statistics()

    def _attach(self, iterator: Closeable) -> None:
        """Take note of what has to end before the connections are closed."""
        self._opened.attach(iterator)

    @property
    def _opened(self) -> Pool[Transport, Transport]:
        if self._pool is None:
            raise PoolClosed(f"{self._name} is not open; use 'async with'")
        return self._pool

    def __repr__(self) -> str:
        return f"<{self._name}: {self._pool or 'not open'}>"
