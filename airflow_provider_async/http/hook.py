# SPDX-License-Identifier: Apache-2.0
"""AsyncHTTPHook: from an Airflow Connection to a client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_async.core.governor import govern
from airflow_provider_async.core.pool import Pool
from airflow_provider_async.http.client import HTTPClient
from airflow_provider_async.http.connection import read_options
from airflow_provider_async.http.options import HTTPOptions
from airflow_provider_async.runtime.extras import invalid
from airflow_provider_async.runtime.hooks import find_connection, try_in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_async.http.auth import Auth
    from airflow_provider_async.http.connection import ConnectionFields
    from airflow_provider_async.http.sender import Sender
    from airflow_provider_async.http.transport import Transport

__all__ = ["AsyncHTTPHook"]


class AsyncHTTPHook:
    """
    Sends requests to the server of an ``http`` Connection, whose fields mean what they mean to Airflow's HttpHook.

    The Connection is read once, when it is first needed: its base URL, its login, and its extras, which are headers
    unless they are options such as ``timeout``, ``verify``, ``cert``, ``proxies`` or ``max_redirects``.

    :param http_conn_id: the Connection's id; ``None`` for no Connection, if all URLs are absolute.
    :param auth: what proves who asks, instead of the Connection's login.
    :param connection: the Connection itself, for scripts and tests without Airflow's database.
    """

    def __init__(
        self,
        http_conn_id: str | None = "http_default",
        *,
        auth: Auth | None = None,
        connection: ConnectionFields | None = None,
    ) -> None:
        self.http_conn_id = http_conn_id
        self._auth = auth
        self._connection = connection
        self._options: HTTPOptions | None = None

    async def read(self) -> HTTPOptions:
        """
        Read the Connection, and check everything that can be checked without the server.

        :return: what the Connection says.
        :raises InvalidConnection: naming the Connection and the field that cannot be used.
        """
        if self._options is None:
            self._options = replace(await self._read(), auth=self._auth)
        return self._options

    async def _read(self) -> HTTPOptions:
        if self._connection is None and self.http_conn_id is None:
            return HTTPOptions(conn_id="")
        return read_options(*await find_connection(self._connection, self.http_conn_id or ""))

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[HTTPClient]:
        """
        Give a client, and close its connections at the end.

        It is aiohttp's session with what that leaves out: the Connection's headers and login never reach another host,
        requests are tried again, and errors have no secrets in them. A pool does more: see
        :class:`~airflow_provider_async.http.HTTPClientPool`.

        :raises InvalidConnection: naming a field of the Connection that cannot be used.
        """
        from airflow_provider_async.http.caller import Caller

        options = (await self.read()).within_limits()
        async with transport_pool(options, name=f"AsyncHTTPHook({self.http_conn_id!r})") as pool:
            sender = Caller(options, pool.lease)
            start(pool, sender)
            yield HTTPClient(sender)

    def test_connection(self) -> tuple[bool, str]:
        """
        Get the Connection's URL. Callable from code that is not async, as Airflow's hooks are.

        :return: whether it worked, and a sentence for the user.
        """
        return try_in_thread(self._try)

    async def _try(self) -> None:
        from airflow_provider_async.core.retry import Retry

        async with self.connect() as client:
            await client.request("GET", "", retry=Retry(attempts=1))


def start(pool: Pool[Transport, Transport], sender: Sender) -> None:
    """Have a sender ended before its pool closes, and find out the best limit if that is wanted."""
    pool.attach(sender)
    pool.follow(sender, most=sender.limit)
    if sender.options.is_auto:
        govern(pool, most=sender.limit, load=sender.load)


def transport_pool(
    options: HTTPOptions, *, name: str, acquire_timeout: float = 30.0, close_timeout: float = 30.0
) -> Pool[Transport, Transport]:
    """
    Make a pool of one transport and as many leases as requests may be in flight.

    :param options: of the client.
    :param name: stands in errors.
    :param acquire_timeout: seconds that a request waits for its turn.
    :param close_timeout: seconds that requests have to end when the pool closes.
    :raises InvalidConnection: if a file that the Connection names cannot be used.
    :raises ValueError: if one of the allowed hosts is none.
    """
    from yarl import URL

    from airflow_provider_async.http.origins import TrustedOrigins
    from airflow_provider_async.http.transport import Transport

    try:
        tls = options.tls()
    except OSError as error:
        files = [file for file in (options.verify, *(options.certificate or ())) if isinstance(file, str)]
        problem = f"names a file that cannot be used: {error.strerror or error}: {', '.join(files)}"
        raise invalid(options.conn_id, "extra verify or cert", problem) from error
    base = None if options.base_url is None else URL(options.base_url)
    trusted = TrustedOrigins(base, options.allowed_hosts)
    return Pool(
        partial(Transport.open, options, tls, trusted),
        close=Transport.close,
        size=1,
        leases=options.max_concurrency,
        limit=options.max_concurrency,
        is_usable=Transport.is_usable,
        acquire_timeout=acquire_timeout,
        close_timeout=close_timeout,
        name=name,
    )
