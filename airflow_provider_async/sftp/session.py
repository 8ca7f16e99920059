# SPDX-License-Identifier: Apache-2.0
"""One SSH connection with one SFTP session: how it is opened, shared and closed, and what its errors mean."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import asyncssh

from airflow_provider_async.core.retry import is_transient as is_transient_in_general

if TYPE_CHECKING:
    from airflow_provider_async.sftp.connection import SFTPSettings

__all__ = [
    "LeasedSFTPClient",
    "SFTPSession",
    "is_broken",
    "is_lost",
    "is_transient",
    "open_connection",
    "open_session",
]

# asyncssh reports each connection at INFO, with host and user, and formats a DEBUG record for each packet, which
# costs more than the packet. Whoever wants to see that sets the logger's level, before or later.
if logging.getLogger("asyncssh").level == logging.NOTSET:
    asyncssh.set_log_level(logging.WARNING)

#: An "open" that is cancelled may leave a file open at the server until the session ends, and a process of OpenSSH's
#: may have 1,024 of them. After so many cancelled leases a session is replaced.
_MAX_CANCELLED_LEASES = 100

#: Reasons of a server that hangs up (RFC 4253, section 11.1) which say nothing about the client.
_TRANSIENT_DISCONNECTS = frozenset(
    {asyncssh.DISC_BY_APPLICATION, asyncssh.DISC_CONNECTION_LOST, asyncssh.DISC_TOO_MANY_CONNECTIONS}
)


class LeasedSFTPClient(asyncssh.SFTPClient):
    """
    A view of a shared SFTP client, with a working directory of its own.

    An ``asyncssh.SFTPClient`` is the handler of a session, an encoding and a working directory: another object with
    the same state is another client on the same session, without a round trip. Only ending the session is not up to it.

    :param client: the client of the session.
    """

    def __init__(self, client: asyncssh.SFTPClient) -> None:
        vars(self).update(vars(client))

    def exit(self) -> None:
        """Do nothing: the session is the pool's."""

    async def wait_closed(self) -> None:
        """Return at once: the session is the pool's."""


class SFTPSession:
    """
    One SSH connection with one SFTP session, which many operations may use at once.

    :param connection: the SSH connection; closed with the session.
    :param client: the SFTP client. It is everybody's, so its working directory must stay as it is.
    """

    def __init__(self, connection: asyncssh.SSHClientConnection, client: asyncssh.SFTPClient) -> None:
        self.connection = connection
        self.client = client
        self.cancelled_leases = 0

    def is_usable(self) -> bool:
        """Tell whether another operation may begin here, as far as is known without asking the server."""
        return not self.connection.is_closed() and self.cancelled_leases < _MAX_CANCELLED_LEASES

    def view(self) -> LeasedSFTPClient:
        """Return a client on this session with a working directory of its own."""
        return LeasedSFTPClient(self.client)

    async def close(self) -> None:
        """Close the session and its connection, which does not take the server's consent."""
        self.connection.close()
        await self.connection.wait_closed()


async def open_session(settings: SFTPSettings, options: asyncssh.SSHClientConnectionOptions) -> SFTPSession:
    """
    Connect, log in and open an SFTP session.

    :param settings: the Connection.
    :param options: of :func:`~airflow_provider_async.sftp.options.connect_options`.
    :raises asyncssh.Error: as :func:`open_connection` does, and if the server offers no SFTP.
    """
    connection = await open_connection(settings, options)
    try:
        # Names that are not UTF-8 become strings and bytes again as they do in Python's os module.
        client = await connection.start_sftp_client(path_errors="surrogateescape")
    except BaseException as error:
        was_lost = connection.is_closed()
        connection.abort()
        await connection.wait_closed()
        if was_lost and isinstance(error, asyncssh.ChannelOpenError):
            raise asyncssh.ConnectionLost(error.reason) from error
        raise
    return SFTPSession(connection, client)


async def open_connection(
    settings: SFTPSettings, options: asyncssh.SSHClientConnectionOptions
) -> asyncssh.SSHClientConnection:
    """
    Connect and log in.

    :param settings: the Connection.
    :param options: of :func:`~airflow_provider_async.sftp.options.connect_options`.
    :raises asyncssh.PermissionDenied: if the login is refused.
    :raises asyncssh.HostKeyNotVerifiable: if the server's key is unknown or another one.
    :raises asyncssh.Error: for other errors of the protocol.
    :raises OSError: if the server cannot be reached, or not in time.
    """
    try:
        return await asyncssh.connect(settings.host, settings.port, options=options)
    except asyncssh.HostKeyNotVerifiable as error:
        raise asyncssh.HostKeyNotVerifiable(_explain_host_key(settings)) from error


def _explain_host_key(settings: SFTPSettings) -> str:
    server = f"Connection {settings.conn_id!r}: {settings.host} port {settings.port}"
    if settings.host_key is not None:
        return f"{server} does not have the key in extra host_key: it was changed, or this is another server"
    return (
        f"{server} has a host key that is not in {settings.known_hosts or '~/.ssh/known_hosts'}: add it there, or give "
        "it as extra host_key ('ssh-keyscan' prints it; have it confirmed). Extra no_host_key_check switches the check "
        "off, and then anybody can pose as the server"
    )


def is_lost(error: BaseException) -> bool:
    """
    Tell whether an error of an operation says that its connection is gone, so that it may succeed on another.

    A status of the server's, such as a missing file, does not.
    """
    lost = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, ConnectionError)
    return isinstance(error, lost) or (isinstance(error, asyncssh.DisconnectError) and is_transient(error))


def is_broken(error: BaseException) -> bool:
    """
    Tell whether the session of a lease must not be used any more after an error.

    Only asyncssh's own errors say so: a ``ConnectionError`` in a lease may come from anything that its owner does, and
    if it was ours, the connection is closed anyway.
    """
    # SFTPBadMessage: the server sent what is no answer, whereupon asyncssh has ended the session.
    lost = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.SFTPBadMessage)
    return isinstance(error, (*lost, asyncssh.DisconnectError))


def is_transient(error: BaseException) -> bool:
    """
    Tell whether an error of connecting may be gone at the next attempt.

    A server that is away, has too much to do or hangs up (OpenSSH does at ``MaxStartups`` unfinished logins) may be
    back; a login or a host key that was refused stays refused.
    """
    if isinstance(error, asyncssh.DisconnectError):
        return error.code in _TRANSIENT_DISCONNECTS
    return isinstance(error, asyncssh.SFTPConnectionLost) or is_transient_in_general(error)
