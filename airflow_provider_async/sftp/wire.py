# SPDX-License-Identifier: Apache-2.0
"""
Fewer packets, fewer system calls and fewer copies between asyncssh's SFTP client and its socket.

asyncssh makes each SFTP request an SSH packet, puts an empty one before it, and hands each to its transport, which
sends it at once: two encryptions and two system calls for a request of 50 bytes. And it cuts each packet that it has
read off the front of its input, copying the rest: with 256 KiB of small answers in it, that costs more than deciphering
them. Here, the requests of one pass of the event loop go out together, in few packets and one call, and input is handed
on in small portions.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

from asyncssh.logging import SSHLogger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeAlias

    import asyncssh

    _Streams: TypeAlias = tuple[asyncssh.SSHWriter[bytes], asyncssh.SSHReader[bytes], asyncssh.SSHReader[bytes]]

__all__ = ["CoalescingConnector", "open_lean_session"]

#: What asyncssh is given of the input at a time: two of the largest packets that a server may send it.
_PORTION_BYTES = 64 * 1024

#: More than this is sent before the event loop's pass is over.
_GATHERED_BYTES = 256 * 1024


class CoalescingConnector:
    """
    What ``asyncssh.connect(tunnel=...)`` may be given: opens the TCP connection that SSH is to run over.

    :param family: the address family, as for ``loop.create_connection``.
    :param local_addr: the address to bind to, as for ``loop.create_connection``.
    """

    def __init__(self, *, family: int = 0, local_addr: tuple[str, int] | None = None) -> None:
        self._family = family
        self._local_addr = local_addr

    async def create_connection(
        self, session_factory: Callable[[], asyncio.Protocol], remote_host: str, remote_port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """
        Connect, and return the transport and the SSH connection that uses it.

        :param session_factory: makes the SSH connection, which is an asyncio protocol.
        :param remote_host: the server's name or address.
        :param remote_port: the server's port.
        :raises OSError: if the server cannot be reached.
        """
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(
            lambda: _Portions(session_factory()),
            remote_host,
            remote_port,
            family=self._family,
            local_addr=self._local_addr,
        )
        return transport, protocol.session


async def open_lean_session(
    open_session: Callable[..., Awaitable[_Streams]], **options: object
) -> tuple[GatheringWriter, PortionReader, asyncssh.SSHReader[bytes]]:
    """
    Open an SSH session with streams that cost an SFTP client less than asyncssh's own.

    :param open_session: the ``open_session`` of an asyncssh connection.
    :param options: what it is given.
    """
    writer, reader, errors = await open_session(**options)
    return GatheringWriter(writer), PortionReader(reader), errors


class PortionReader:
    """
    An ``asyncssh.SSHReader`` that copies what it has read once, and not once more for each of the packets in it.

    :param reader: what it reads from.
    """

    def __init__(self, reader: asyncssh.SSHReader[bytes]) -> None:
        self._reader = reader
        self._portion = b""
        self._at = 0
        # Formatting what nobody will see costs more than the packets that it describes.
        sees_all = reader.logger.isEnabledFor(logging.DEBUG)
        self.logger = reader.logger if sees_all else _QuietLogger(logging.getLogger("asyncssh"))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a reader can do
        return getattr(self._reader, name)

    async def readexactly(self, size: int) -> bytes:
        """
        Read so many bytes.

        :raises asyncio.IncompleteReadError: if the stream ends before.
        """
        if len(self._portion) < self._at + size:
            if size > _PORTION_BYTES:
                # A block of a large file: what is missing of it is copied by asyncssh alone.
                begun, self._portion, self._at = self._portion[self._at :], b"", 0
                return begun + await self._reader.readexactly(size - len(begun))
            await self._fill(size)
        start, self._at = self._at, self._at + size
        return self._portion[start : self._at]

    async def _fill(self, size: int) -> None:
        pieces = [self._portion[self._at :]]
        missing = size - len(pieces[0])
        while missing > 0:
            more = await self._reader.read(max(_PORTION_BYTES, missing))
            if not more:
                raise asyncio.IncompleteReadError(b"".join(pieces), size)
            pieces.append(more)
            missing -= len(more)
        self._portion, self._at = b"".join(pieces), 0


class _QuietLogger(SSHLogger):
    """asyncssh's logger without its debugging."""

    def debug1(self, msg: str, *args: object, **kwargs: object) -> None:
        pass

    def debug2(self, msg: str, *args: object, **kwargs: object) -> None:
        pass

    def packet(self, pktid: int | None, packet: bytes, msg: str, *args: object, **kwargs: object) -> None:
        pass


class _Gatherer:
    """
    Hands on at once what one pass of the event loop writes.

    :param send: what it hands that on to.
    """

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0

    def write(self, data: bytes) -> None:
        if not self._gathered:
            self._loop.call_soon(self.flush)
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= _GATHERED_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._gathered:
            data = b"".join(self._gathered)
            self.drop()
            self._send(data)

    def drop(self) -> None:
        self._gathered.clear()
        self._gathered_bytes = 0


class GatheringWriter:
    """
    An ``asyncssh.SSHWriter`` that hands on at once what one pass of the event loop writes.

    :param writer: what it hands that on to.
    """

    def __init__(self, writer: asyncssh.SSHWriter[bytes]) -> None:
        self._writer = writer
        self._gatherer = _Gatherer(self._send)
        self.write = self._gatherer.write

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else a writer can do
        return getattr(self._writer, name)

    def _send(self, data: bytes) -> None:
        # It may have been closed meanwhile, and then nobody waits for an answer.
        if not self._writer.channel.is_closing():
            self._writer.write(data)

    def write_eof(self) -> None:
        """Say that nothing more will be written."""
        self._gatherer.flush()
        self._writer.write_eof()

    def close(self) -> None:
        """Close the session, after what was written."""
        self._gatherer.flush()
        self._writer.close()


class _Portions(asyncio.Protocol):
    """Hands a connection's input on in small portions, and gives its writer a coalescing transport."""

    def __init__(self, session: asyncio.Protocol) -> None:
        self.session = session
        self._receive = session.data_received

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.session.connection_made(_CoalescingTransport(cast("asyncio.Transport", transport)))

    def data_received(self, data: bytes) -> None:
        if len(data) <= _PORTION_BYTES:
            self._receive(data)
            return
        for start in range(0, len(data), _PORTION_BYTES):
            self._receive(data[start : start + _PORTION_BYTES])

    def eof_received(self) -> None:
        self.session.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.session.connection_lost(exc)


class _CoalescingTransport(asyncio.Transport):
    """Sends at once what was written during one pass of the event loop."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._gatherer = _Gatherer(transport.write)

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self._gatherer.write(bytes(data))

    def close(self) -> None:
        self._gatherer.flush()
        self._transport.close()

    def abort(self) -> None:
        self._gatherer.drop()
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - asyncio's own types
        return self._transport.get_extra_info(name, default)
