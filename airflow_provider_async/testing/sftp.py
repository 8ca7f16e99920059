# SPDX-License-Identifier: Apache-2.0
"""An SFTP server, asyncssh's, that serves a folder and fails on demand."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncssh

from airflow_provider_async.testing.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["SFTPServer"]


class SFTPServer:
    """
    A server on a free port of the loopback, for one user.

    :param root: the folder that it serves as ``/``.
    :param login: the user's name.
    :param password: the user's password.
    :ivar opened: the paths of the files that were opened, in their order.
    :ivar logins: how many logins were tried.
    :ivar connections: how many connections there are.
    :ivar most_connections: how many there were at once, at the most.
    """

    def __init__(self, root: Path, *, login: str = "alice", password: str = "right") -> None:  # noqa: S107
        self.root = root
        self.login = login
        self.password = password
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0
        self.opened: list[str] = []
        self.logins = 0
        self.most_connections = 0
        self._open: set[asyncssh.SSHServerConnection] = set()
        self._failures: dict[str, list[Exception | None]] = {}
        self._refusals = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return len(self._open)

    def connection(self, **extras: object) -> Connection:
        """
        Return a Connection that works, unless the extras say otherwise.

        :param extras: such as ``max_connections``; ``None`` leaves out one that would be there.
        """
        public_key = " ".join(self.host_key.export_public_key().decode().split()[:2])
        given = {"host_key": public_key, "look_for_keys": False, **extras}
        known = {name: value for name, value in given.items() if value is not None}
        return Connection("127.0.0.1", self.port, self.login, self.password, known, conn_id="sftp_test")

    def fail(self, path: str, *, error: Exception | None = None, times: int = 1) -> None:
        """
        Answer the next openings of a file with an error.

        :param path: of the file, from the root on.
        :param error: one of asyncssh's, by default ``SFTPFailure``.
        :param times: how many.
        """
        self._failures.setdefault(path, []).extend([error or asyncssh.SFTPFailure("failing on demand")] * times)

    def lose_connection_at(self, path: str, *, times: int = 1) -> None:
        """
        Cut the connection when a file is opened.

        :param path: of the file, from the root on.
        :param times: how often.
        """
        self._failures.setdefault(path, []).extend([None] * times)

    def refuse_connections(self, times: int) -> None:
        """
        Hang up on those who connect next, as OpenSSH does at too many logins.

        :param times: how many.
        """
        self._refusals = times

    def lose_all_connections(self) -> None:
        """Cut all connections; new ones are accepted."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SFTPServer]:
        """Run it, until the block is left."""
        self._loop = asyncio.get_running_loop()
        acceptor = await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: _Login(self),
            server_host_keys=[self.host_key],
            sftp_factory=lambda channel: _Files(channel, self),
        )
        self.port = acceptor.get_port()
        try:
            async with acceptor:
                yield self
                self._cut()
        finally:
            self._loop = None

    def _cut(self) -> None:
        for connection in [*self._open]:
            connection.abort()

    def _began(self, connection: asyncssh.SSHServerConnection) -> None:
        self._open.add(connection)
        self.most_connections = max(self.most_connections, len(self._open))
        if self._refusals:
            self._refusals -= 1
            connection.abort()

    def _ended(self, connection: asyncssh.SSHServerConnection) -> None:
        self._open.discard(connection)

    def _has_right_login(self, login: str, password: str) -> bool:
        self.logins += 1
        return (login, password) == (self.login, self.password)

    def _opens(self, path: str, connection: asyncssh.SSHServerConnection | None) -> None:
        failures = self._failures.get(path)
        if failures:
            failure = failures.pop(0)
            if failure is not None:
                raise failure
            if connection is not None:
                connection.abort()
            raise asyncssh.SFTPConnectionLost("cut on demand")
        self.opened.append(path)


class _Login(asyncssh.SSHServer):
    _connection: asyncssh.SSHServerConnection

    def __init__(self, server: SFTPServer) -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._server._began(conn)  # noqa: SLF001 - the other half of it

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._server._ended(self._connection)  # noqa: SLF001

    def begin_auth(self, username: str) -> bool:  # noqa: ARG002
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return self._server._has_right_login(username, password)  # noqa: SLF001


class _Files(asyncssh.SFTPServer):
    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], server: SFTPServer) -> None:
        super().__init__(channel, chroot=os.fsencode(server.root))
        self._server = server
        self._connection = channel.get_connection()

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        self._server._opens(os.fsdecode(path), self._connection)  # type: ignore[arg-type] # noqa: SLF001
        return super().open(path, pflags, attrs)
