# SPDX-License-Identifier: Apache-2.0
"""MSGraphClientPool: many requests to Microsoft Graph."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_async.http.hook import transport_pool
from airflow_provider_async.http.options import HTTPOptions
from airflow_provider_async.msgraph.files import GraphFiles
from airflow_provider_async.msgraph.hook import AsyncMSGraphHook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from azure.core.credentials_async import AsyncTokenCredential

    from airflow_provider_async.core.pool import Pool
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.core.shards import Shard
    from airflow_provider_async.core.values import Concurrency, Rate
    from airflow_provider_async.http.connection import ConnectionFields
    from airflow_provider_async.http.transport import Transport
    from airflow_provider_async.msgraph.credentials import GraphToken
    from airflow_provider_async.msgraph.sender import GraphSender

__all__ = ["MSGraphClientPool"]


class MSGraphClientPool(GraphFiles):
    """
    One session that many requests to Microsoft Graph share, with one token, one retry policy and one gate.

    ``async with MSGraphClientPool("msgraph_default") as pool:`` reads the Connection; the token is asked for when the
    first request needs it, replaced ahead of its end by one request alone, and once when Graph refuses it. A pool
    belongs to one event loop and is entered once.

    When Graph asks to wait (``Retry-After``), all requests of the pool wait together; where it refuses without saying
    for how long, they back off. While more than four fifths of a quota are used (``x-ms-throttle-limit-percentage``),
    requests begin more slowly. What is idempotent is also tried again after a lost connection and the statuses 408,
    425, 500, 502, 503 and 504; a POST or PATCH only if ``idempotent=True`` is given with it. ``max_concurrency`` and
    ``rate`` may also stand in the Connection's extras; what is given here wins.

    :param conn_id: the id of an ``msgraph`` Connection.
    :param api_version: ``v1.0`` or ``beta``; by default the Connection's, or ``v1.0``.
    :param scopes: what the token is for; by default the Connection's, or all that the application was granted.
    :param max_concurrency: requests in flight, 16 by default; ``auto`` finds out how many are best, up to 128.
    :param rate: how many requests may begin in a second, or a tuple of a number and seconds; spread evenly.
    :param timeout: seconds for reaching the server, and between two pieces of an answer; 60 by default.
    :param total_timeout: seconds for one answer that is read as a whole; 300 by default.
    :param retry: the policy for requests: by default five attempts within ten minutes; Graph's own pauses count for
        time, but not for an attempt.
    :param credential: asks for tokens instead of the Connection's login; of ``azure.identity.aio``, or with its
        ``get_token``. It is not closed here.
    :param host: another server, such as that of a national cloud; by default the Connection's.
    :param proxies: by scheme, and ``no`` for hosts without one; by default the Connection's.
    :param allowed_hosts: other hosts that may have the token, beside those of the Connection: ``name`` or
        ``name:port``.
    :param max_body_bytes: no answer that is read as a whole may be larger, after decompression; 256 MiB by default.
    :param acquire_timeout: seconds that a request waits for its turn, pauses apart.
    :param close_timeout: seconds that requests have to end when the pool closes.
    :param shard: this task's part of the work, if several share it; the pool then has its share of ``max_connections``,
        ``max_requests`` and ``rate``.
    :param connection: the Connection itself, for scripts and tests without Airflow's database.
    """

    def __init__(
        self,
        conn_id: str = "msgraph_default",
        *,
        api_version: str | None = None,
        scopes: str | Iterable[str] | None = None,
        max_concurrency: Concurrency | None = None,
        rate: Rate | None = None,
        timeout: float | None = None,
        total_timeout: float | None = None,
        retry: Retry | None = None,
        credential: AsyncTokenCredential | None = None,
        host: str | None = None,
        proxies: Mapping[str, str] | None = None,
        allowed_hosts: Iterable[str] = (),
        max_body_bytes: int | None = None,
        acquire_timeout: float = 30.0,
        close_timeout: float = 30.0,
        shard: Shard[Any] | None = None,
        connection: ConnectionFields | None = None,
    ) -> None:
        super().__init__()
        self._given = HTTPOptions.given(
            max_concurrency=max_concurrency,
            rate=rate,
            total_timeout=total_timeout,
            max_body_bytes=max_body_bytes,
            allowed_hosts=allowed_hosts,
        )
        self.conn_id = conn_id
        self._hook = AsyncMSGraphHook(
            conn_id,
            api_version=api_version,
            scopes=scopes,
            host=host,
            proxies=proxies,
            timeout=timeout,
            credential=credential,
            connection=connection,
        )
        self._retry = retry
        self._shard = shard
        self._acquire_timeout = acquire_timeout
        self._close_timeout = close_timeout
        self._token: GraphToken | None = None

    async def _open(self) -> tuple[Pool[Transport, Transport], GraphSender]:
        # aiohttp takes a fifth of a second to import: a DAG file is parsed without it.
        from airflow_provider_async.msgraph.sender import GraphSender

        options = await self._hook.read()
        self._token = self._hook.token(options, name=self._name)
        hosts = (*options.http.allowed_hosts, *self._given.get("allowed_hosts", ()))
        changes = self._given | {"auth": self._token, "allowed_hosts": hosts}
        http = replace(options.http, **changes).within_limits(self._shard)
        pool = transport_pool(
            http, name=self._name, acquire_timeout=self._acquire_timeout, close_timeout=self._close_timeout
        )
        sender = self._sender = GraphSender(http, pool.lease, retry=self._retry)
        return pool, sender

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc, tb)
        finally:
            await self._close_token()

    async def close(self) -> None:
        """End what was begun and close the connections, as leaving ``async with`` does."""
        try:
            await super().close()
        finally:
            await self._close_token()

    async def _close_token(self) -> None:
        if self._token is not None:
            await self._token.close()

    @property
    def _name(self) -> str:
        return f"MSGraphClientPool({self.conn_id!r})"
