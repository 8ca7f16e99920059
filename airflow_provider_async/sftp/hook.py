# SPDX-License-Identifier: Apache-2.0
"""AsyncSFTPHook: from an Airflow Connection to a connected client."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from airflow_provider_async.runtime.hooks import find_connection, try_in_thread
from airflow_provider_async.sftp.connection import read_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncssh

    from airflow_provider_async.runtime.hooks import ConnectionFields
    from airflow_provider_async.sftp.connection import SFTPSettings
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["AsyncSFTPHook"]


class AsyncSFTPHook:
    """
    Connects to the server of an ``sftp`` or ``ssh`` Connection, whose fields mean what they mean to Airflow's SFTPHook.

    The Connection is read once, when it is first needed. Host keys are checked unless its extra
    ``no_host_key_check`` is true.

    :param sftp_conn_id: the Connection's id.
    :param connection: the Connection itself, for scripts and tests without Airflow's database.
    """

    def __init__(self, sftp_conn_id: str = "sftp_default", *, connection: ConnectionFields | None = None) -> None:
        self.sftp_conn_id = sftp_conn_id
        self._connection = connection
        self._settings: SFTPSettings | None = None
        self._options: asyncssh.SSHClientConnectionOptions | None = None

    async def read(self) -> SFTPSettings:
        """
        Read the Connection, load its keys, and check everything that can be checked without the server.

        :return: what the Connection says.
        :raises InvalidConnection: naming the Connection and the field that cannot be used.
        """
        settings, _ = await self._read()
        return settings

    async def _read(self) -> tuple[SFTPSettings, asyncssh.SSHClientConnectionOptions]:
        from airflow_provider_async.sftp.options import connect_options

        if self._settings is None or self._options is None:
            settings = read_settings(*await find_connection(self._connection, self.sftp_conn_id))
            self._settings, self._options = settings, connect_options(settings)
        return self._settings, self._options

    async def open_connection(self) -> asyncssh.SSHClientConnection:
        """
        Connect and log in; the caller closes the connection.

        :raises InvalidConnection: if a field of the Connection cannot be used.
        :raises asyncssh.Error: if the login or the server's host key is refused, or the protocol fails.
        :raises OSError: if the server cannot be reached, or not in time.
        """
        from airflow_provider_async.sftp.session import open_connection

        return await open_connection(*await self._read())

    async def _get_conn(self) -> asyncssh.SSHClientConnection:
        """As :meth:`open_connection`: what Airflow's SFTPHookAsync calls it, and what examples for that use."""
        return await self.open_connection()

    async def open_session(self, *, operation_seconds: float | None = None) -> SFTPSession:
        """
        Connect, log in and open an SFTP session; the caller closes it. Raises what :meth:`open_connection` does.

        :param operation_seconds: how long the server may take to answer one request; by default as the extra
            ``operation_timeout`` says, or 60.
        :raises asyncssh.ChannelOpenError: if the server offers no SFTP.
        """
        from airflow_provider_async.sftp.session import open_session

        settings, options = await self._read()
        return await open_session(settings, options, operation_seconds=operation_seconds or settings.operation_seconds)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[asyncssh.SFTPClient]:
        """
        Give one connected SFTP client, and close its connection at the end. Raises what :meth:`open_session` does.

        A pool is better for more than a few files: see :class:`~airflow_provider_async.sftp.SFTPClientPool`.
        """
        session = await self.open_session()
        try:
            yield session.client
        finally:
            await session.close()

    def test_connection(self) -> tuple[bool, str]:
        """
        Connect and ask for the working directory. Callable from code that is not async, as Airflow's hooks are.

        :return: whether it worked, and a sentence for the user.
        """
        return try_in_thread(self._try)

    async def _try(self) -> None:
        async with self.connect() as client:
            await client.realpath(".")
