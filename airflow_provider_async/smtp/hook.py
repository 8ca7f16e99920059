# SPDX-License-Identifier: Apache-2.0
"""AsyncSMTPHook: from an Airflow Connection to a connected client."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from airflow_provider_async.runtime.hooks import find_connection, try_in_thread
from airflow_provider_async.smtp.connection import read_options

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiosmtplib

    from airflow_provider_async.runtime.hooks import ConnectionFields
    from airflow_provider_async.smtp.login import TokenFunction
    from airflow_provider_async.smtp.options import SMTPOptions

__all__ = ["AsyncSMTPHook"]


class AsyncSMTPHook:
    """
    Connects to the server of an ``smtp`` Connection, whose fields mean what they mean to Airflow's SmtpHook.

    The Connection is read once, when it is first needed. TLS is used unless its extra ``disable_ssl`` is true, STARTTLS
    then, unless ``disable_tls`` is true as well. A login that is refused is an error.

    :param smtp_conn_id: the Connection's id.
    :param token: returns a token for XOAUTH2, async or not; asked at each login.
    :param connection: the Connection itself, for scripts and tests without Airflow's database.
    """

    def __init__(
        self,
        smtp_conn_id: str = "smtp_default",
        *,
        token: TokenFunction | None = None,
        connection: ConnectionFields | None = None,
    ) -> None:
        self.smtp_conn_id = smtp_conn_id
        self.token = token
        self._connection = connection
        self._options: SMTPOptions | None = None

    async def read(self) -> SMTPOptions:
        """
        Read the Connection, and check everything that can be checked without the server.

        :return: what the Connection says.
        :raises InvalidConnection: naming the Connection and the field that cannot be used.
        """
        if self._options is None:
            self._options = read_options(*await find_connection(self._connection, self.smtp_conn_id))
        return self._options

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """
        Give one connected client of aiosmtplib, logged in, and end its connection afterwards.

        A pool does more, and is much faster: see :class:`~airflow_provider_async.smtp.SMTPClientPool`.

        :raises InvalidConnection: if a field of the Connection cannot be used.
        :raises aiosmtplib.SMTPException: if the server cannot be reached, or refuses the login.
        """
        from airflow_provider_async.smtp.login import Connecting
        from airflow_provider_async.smtp.session import quit_politely

        options = await self.read()
        # Reading the authorities' certificates takes 20 ms and more.
        tls = await asyncio.to_thread(options.tls)
        client = await Connecting(options, tls, self.token)()
        try:
            yield client
        finally:
            await quit_politely(client)

    def test_connection(self) -> tuple[bool, str]:
        """
        Connect, log in, and say NOOP. Callable from code that is not async, as Airflow's hooks are.

        :return: whether it worked, and a sentence for the user.
        """
        return try_in_thread(self._try)

    async def _try(self) -> None:
        async with self.connect() as client:
            await client.noop()
