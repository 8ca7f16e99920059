# SPDX-License-Identifier: Apache-2.0
"""One SSH connection with one SFTP session: how it is opened, shared and closed, and what its errors mean."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from functools import cache, partial
from typing import TYPE_CHECKING, TypeVar, cast

import asyncssh

from airflow_provider_async.core.retry import is_transient as is_transient_in_general
from airflow_provider_async.errors import OperationTimeout
from airflow_provider_async.sftp.wire import CoalescingConnector, open_lean_session

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from airflow_provider_async.sftp.connection import SFTPSettings

__all__ = [
    "SETTLE_SECONDS",
    "LeasedSFTPClient",
    "SFTPSession",
    "is_broken",
    "is_lost",
    "is_transient",
    "open_connection",
    "open_session",
    "settle",
]

# asyncssh reports each connection at INFO, with host and user, and formats a DEBUG record for each packet, which
# costs more than the packet. Whoever wants to see that sets the logger's level before connecting.
if logging.getLogger("asyncssh").level == logging.NOTSET:
    asyncssh.set_log_level(logging.WARNING)

T = TypeVar("T")

log = logging.getLogger(__name__)

#: A session has no more open files than this, those included that are being closed. OpenSSH allows about 1,000 for all
#: sessions of a process, others only some hundred.
_MAX_HANDLES = 100

#: What the server may send before it has to wait for us.
_WINDOW_BYTES = 8 * 1024 * 1024

#: An "open" that is cancelled may leave a file open at the server until the session ends. After so many, a session is
#: replaced.
_MAX_LOST_HANDLES = 100

#: What must not be left half done delays a cancellation by so many seconds at most.
SETTLE_SECONDS = 2.0

#: Reasons of a server that hangs up (RFC 4253, section 11.1) which say nothing about the client.
_TRANSIENT_DISCONNECTS = frozenset(
    {asyncssh.DISC_BY_APPLICATION, asyncssh.DISC_CONNECTION_LOST, asyncssh.DISC_TOO_MANY_CONNECTIONS}
)


class _NoAttributes:
    """What a file is opened with. asyncssh's own describes and encodes its 25 fields for each file, to no effect."""

    _attributes = asyncssh.SFTPAttrs()

    def __str__(self) -> str:
        return ""

    def __getattr__(self, name: str) -> object:
        return getattr(self._attributes, name)

    @cache  # noqa: B019 - there is one, for ever
    def encode(self, sftp_version: int) -> bytes:
        return self._attributes.encode(sftp_version)


_NO_ATTRIBUTES = cast("asyncssh.SFTPAttrs", _NoAttributes())


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
    :param conn_id: what errors call the Connection.
    :param operation_seconds: how long the server may take to answer one request.
    :param round_trip_seconds: how long it took to answer one when it had nothing else to do.
    """

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        client: asyncssh.SFTPClient,
        *,
        conn_id: str,
        operation_seconds: float,
        round_trip_seconds: float,
    ) -> None:
        self.connection = connection
        self.client = client
        self.round_trip_seconds = round_trip_seconds
        self.lost_handles = 0
        self._conn_id = conn_id
        self._operation_seconds = operation_seconds
        self._handles = asyncio.Semaphore(_MAX_HANDLES)
        self._closings: set[asyncio.Task[None]] = set()

    def is_usable(self) -> bool:
        """Tell whether another operation may begin here, as far as is known without asking the server."""
        return not self.connection.is_closed() and self.lost_handles < _MAX_LOST_HANDLES

    def view(self) -> LeasedSFTPClient:
        """Return a client on this session with a working directory of its own."""
        return LeasedSFTPClient(self.client)

    async def answer(self, request: Awaitable[T], what: str) -> T:
        """
        Await the answer to a request.

        :param request: what is awaited; cancelled when it takes too long.
        :param what: is said in the error, such as ``read '/in/a.xml'``.
        :raises OperationTimeout: if the server does not answer in time.
        """
        timeout = asyncio.timeout(self._operation_seconds)
        try:
            async with timeout:
                return await request
        except TimeoutError as error:
            if not timeout.expired():
                raise
            seconds = f"{self._operation_seconds:g} s"
            raise OperationTimeout(f"{self._conn_id}: no answer from the server for {seconds} to {what}") from error

    async def open(self, path: str, mode: str) -> asyncssh.SFTPClientFile:
        """
        Open a remote file; to be closed by :meth:`close_file` or :meth:`close_later`, whatever happens.

        With its ``block_size`` of 0, each read and each write of the file is one request.

        :param path: the file's path.
        :param mode: as for Python's own ``open``.
        :raises asyncssh.SFTPError: if the file is missing or must not be opened, or the connection is lost.
        :raises OperationTimeout: if the server does not answer in time.
        """
        return await self.answer(self.open_within(path, mode), f"open {path!r}")

    async def open_within(self, path: str, mode: str) -> asyncssh.SFTPClientFile:
        """As :meth:`open`, for a request that is a part of what :meth:`answer` bounds in time."""
        await self._handles.acquire()
        try:
            return await self.client.open(path, mode, _NO_ATTRIBUTES, block_size=0)
        except asyncio.CancelledError:
            # The server may open it nevertheless, and nobody will know the handle.
            self.lost_handles += 1
            self._handles.release()
            raise
        except BaseException:
            self._handles.release()
            raise

    async def close_file(self, file: asyncssh.SFTPClientFile) -> None:
        """
        Close a remote file and wait for the server's answer: some tell only now that a disk is full.

        :raises asyncssh.SFTPError: if the server reports an error, or the connection is lost.
        :raises OperationTimeout: if the server does not answer in time.
        """
        try:
            await self.answer(file.close(), "close a file")
        finally:
            self._handles.release()

    def close_later(self, file: asyncssh.SFTPClientFile) -> None:
        """
        Close a remote file in the background. Its failure is logged; too many that are not closed hold up :meth:`open`.

        For files that were read, and for whoever is being cancelled and cannot wait for one more answer.
        """
        closing = asyncio.get_running_loop().create_task(file.close())
        self._closings.add(closing)
        closing.add_done_callback(self._closed_later)

    def _closed_later(self, closing: asyncio.Task[None]) -> None:
        self._closings.discard(closing)
        self._handles.release()
        # With its connection, the file is closed in any case.
        if not closing.cancelled() and (error := closing.exception()) and not self.connection.is_closed():
            log.warning("%s: a file could not be closed: %s", self._conn_id, error)

    async def close(self) -> None:
        """Close the session and its connection, which does not take the server's consent."""
        self.connection.close()
        await self.connection.wait_closed()
        if self._closings:
            await asyncio.wait(self._closings)


async def settle(request: Awaitable[T]) -> T:
    """
    Await what must not be left half done: a cancellation is passed on when it has ended, or has had its time.

    :param request: what is awaited, in a task of its own.
    """
    task = asyncio.ensure_future(request)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        # Its error is no news any more, and asyncio reports those that nobody has looked at.
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        await asyncio.wait([task], timeout=SETTLE_SECONDS)
        raise
    return task.result()


async def open_session(
    settings: SFTPSettings, options: asyncssh.SSHClientConnectionOptions, *, operation_seconds: float
) -> SFTPSession:
    """
    Connect, log in and open an SFTP session.

    :param settings: the Connection.
    :param options: of :func:`~airflow_provider_async.sftp.options.connect_options`.
    :param operation_seconds: how long the server may take to answer one request.
    :raises asyncssh.Error: as :func:`open_connection` does, and if the server offers no SFTP.
    """
    connection = await open_connection(settings, options)
    # asyncssh's own window, 2 MiB, is less than what a fast wire holds at 10 ms.
    open_session = partial(open_lean_session, connection.open_session, window=_WINDOW_BYTES)
    connection.open_session = open_session  # type: ignore[method-assign, assignment]
    try:
        async with asyncio.timeout(settings.connect_seconds):
            # Names that are not UTF-8 become strings and bytes again as they do in Python's os module.
            client = await connection.start_sftp_client(path_errors="surrogateescape")
            round_trip_seconds = await _measure_round_trip(client)
    except BaseException as error:
        was_lost = connection.is_closed()
        connection.abort()
        await connection.wait_closed()
        if was_lost and isinstance(error, asyncssh.ChannelOpenError):
            raise asyncssh.ConnectionLost(error.reason) from error
        raise
    return SFTPSession(
        connection,
        client,
        conn_id=settings.conn_id,
        operation_seconds=operation_seconds,
        round_trip_seconds=round_trip_seconds,
    )


async def _measure_round_trip(client: asyncssh.SFTPClient) -> float:
    asked = time.monotonic()
    try:
        await client.realpath(".")
    except asyncssh.SFTPError as error:
        # Whatever the server says of its folder, it has answered.
        if is_lost(error):
            raise
    return time.monotonic() - asked


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
    # Where ~/.ssh/config names a way to the server (ProxyJump, ProxyCommand), that way is taken.
    is_direct = not options.tunnel and not options.proxy_command
    connector = CoalescingConnector(family=options.family, local_addr=options.local_addr)
    try:
        return await asyncssh.connect(
            settings.host, settings.port, options=options, tunnel=connector if is_direct else ()
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise asyncssh.HostKeyNotVerifiable(_explain_host_key(settings)) from error
    except asyncssh.PermissionDenied as error:
        raise asyncssh.PermissionDenied(_explain_refusal(settings, options.username)) from error
    except socket.gaierror as error:
        problem = f"Connection {settings.conn_id!r}: host {settings.host!r} is not found: {error.strerror}"
        raise socket.gaierror(error.errno, problem) from error


def _server(settings: SFTPSettings) -> str:
    return f"Connection {settings.conn_id!r}: {settings.host} port {settings.port}"


def _explain_refusal(settings: SFTPSettings, user: str) -> str:
    """Say who was refused, and what was offered; a server says no more, so that nobody learns which names exist."""
    offered = ["the password"] if settings.password is not None else []
    if settings.private_key is not None:
        offered.append("extra private_key")
    elif settings.key_file is not None:
        offered.append(f"the key in {str(settings.key_file)!r}")
    elif settings.look_for_keys:
        offered.append("keys of ~/.ssh or an agent")
    with_what = " and ".join(offered) or "neither a password nor a key"
    return (
        f"{_server(settings)} refuses user {user!r} with {with_what}: correct the Connection's login, password or key"
    )


def _explain_host_key(settings: SFTPSettings) -> str:
    server = _server(settings)
    if settings.host_key is not None:
        return f"{server} does not have the key in extra host_key: it was changed, or this is another server"
    return (
        f"{server} has a host key that is not in {settings.known_hosts or '~/.ssh/known_hosts'}: add it there, or give "
        "it as extra host_key ('ssh-keyscan' prints it; have it confirmed). Extra no_host_key_check switches the check "
        "off, and then anybody can pose as the server"
    )


def is_lost(error: BaseException) -> bool:
    """
    Tell whether an error of an operation says that its connection is gone or dead, so that it may succeed on another.

    A status of the server's, such as a missing file, does not.
    """
    lost = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, ConnectionError, OperationTimeout)
    return isinstance(error, lost) or (isinstance(error, asyncssh.DisconnectError) and is_transient(error))


def is_broken(error: BaseException) -> bool:
    """
    Tell whether the session of a lease must not be used any more after an error.

    Only asyncssh's own errors say so: a ``ConnectionError`` in a lease may come from anything that its owner does, and
    if it was ours, the connection is closed anyway.
    """
    # SFTPBadMessage: the server sent what is no answer, whereupon asyncssh has ended the session.
    # A server that does not answer has lost its session too, whatever its TCP connection says.
    lost = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.SFTPBadMessage, OperationTimeout)
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
