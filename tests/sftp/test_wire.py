# SPDX-License-Identifier: Apache-2.0
"""What lies between asyncssh and its socket, with a plain protocol in asyncssh's place."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from asyncssh.logging import SSHLogger
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.sftp.wire import CoalescingConnector, open_lean_session
from tests.servers.sftp import free_port, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_async.sftp.wire import GatheringWriter, PortionReader


class Session(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.portions: list[bytes] = []
        self.events: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.portions.append(data)

    def eof_received(self) -> None:
        self.events.append("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append(f"lost: {exc}")


class Peer:
    """The other end, which counts what arrives in one piece."""

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = False
        self.port = 0
        self.writer: asyncio.StreamWriter

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        while data := await reader.read(1 << 20):
            self.received += data
        self.ended = True
        writer.close()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    async with server:
        yield peer


@pytest.fixture
async def session(peer: Peer) -> AsyncIterator[Session]:
    session = Session()
    transport, protocol = await CoalescingConnector().create_connection(lambda: session, "127.0.0.1", peer.port)
    assert protocol is session
    yield session
    transport.close()
    await until(lambda: peer.ended)


async def test_what_one_pass_of_the_loop_writes_is_sent_at_once(
    session: Session, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    send = socket.socket.send

    def count(self: socket.socket, data: bytes) -> int:
        sent.append(len(data))
        return send(self, data)

    monkeypatch.setattr(socket.socket, "send", count)

    for _ in range(100):
        session.transport.write(b"packet")
    await until(lambda: len(peer.received) == 600)

    assert sent == [600]


async def test_what_is_too_much_for_one_pass_is_sent_before_its_end(session: Session, peer: Peer) -> None:
    for number in range(100):
        session.transport.write(bytes([number]) * 10_000)
    await until(lambda: len(peer.received) == 1_000_000)

    assert bytes(peer.received) == b"".join(bytes([number]) * 10_000 for number in range(100))


async def test_input_is_handed_on_in_small_portions_and_in_order(session: Session, peer: Peer) -> None:
    session.transport.write(b"hello")
    await until(lambda: peer.received)
    data = bytes(range(256)) * 4096

    peer.writer.write(data)
    await until(lambda: sum(map(len, session.portions)) == len(data))

    assert b"".join(session.portions) == data
    assert max(map(len, session.portions)) <= 65536


async def test_what_was_written_before_a_close_arrives(session: Session, peer: Peer) -> None:
    session.transport.write(b"goodbye")

    session.transport.close()
    await until(lambda: peer.ended)

    assert peer.received == b"goodbye"
    assert session.transport.is_closing()
    assert session.events == ["lost: None"]


async def test_what_was_written_before_an_abort_is_dropped(session: Session, peer: Peer) -> None:
    session.transport.write(b"hello")
    await until(lambda: peer.received)
    session.transport.write(b"never")

    session.transport.abort()
    await until(lambda: session.events)
    await until(lambda: peer.ended)

    assert peer.received == b"hello"


async def test_the_end_of_the_input_is_handed_on(session: Session, peer: Peer) -> None:
    session.transport.write(b"hello")
    await until(lambda: peer.received)

    peer.writer.write_eof()
    await until(lambda: "eof" in session.events)


async def test_the_socket_is_there_to_be_asked_for(session: Session) -> None:
    assert session.transport.get_extra_info("peername")[0] == "127.0.0.1"
    assert session.transport.get_extra_info("nothing", 5) == 5


async def test_a_server_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ConnectionRefusedError):
        await CoalescingConnector().create_connection(Session, "127.0.0.1", free_port())


async def test_the_local_address_can_be_chosen(peer: Peer) -> None:
    connector = CoalescingConnector(family=socket.AF_INET, local_addr=("127.0.0.2", 0))

    transport, _ = await connector.create_connection(Session, "127.0.0.1", peer.port)

    assert transport.get_extra_info("sockname")[0] == "127.0.0.2"
    transport.close()
    await until(lambda: peer.ended)


# The streams of a session.


class Channel:
    """What a stream of asyncssh's says of its channel."""

    closing = False

    def is_closing(self) -> bool:
        return self.closing


class Writer:
    """An asyncssh writer that notes what it is told."""

    def __init__(self) -> None:
        self.channel = Channel()
        self.written: list[bytes | str] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def write_eof(self) -> None:
        self.written.append("eof")

    def close(self) -> None:
        self.written.append("closed")


class Reader:
    """An asyncssh reader that has some pieces of data, and then the end."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)
        self.logger = SSHLogger(logging.getLogger("asyncssh"))

    async def read(self, size: int) -> bytes:
        if not self.pieces:
            return b""
        piece, rest = self.pieces[0][:size], self.pieces[0][size:]
        self.pieces[:1] = [rest] if rest else []
        return piece

    async def readexactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += await self.read(size - len(data))
        return data

    def get_extra_info(self, name: str) -> str:
        return name


async def lean_session(writer: Writer, reader: Reader) -> tuple[GatheringWriter, PortionReader]:
    async def open_session(**options: object) -> Any:  # noqa: ANN401 - asyncssh's streams
        assert options == {"window": 5}
        return writer, reader, reader

    lean_writer, lean_reader, _ = await open_lean_session(open_session, window=5)
    return lean_writer, lean_reader


async def test_the_requests_of_one_pass_are_written_at_once() -> None:
    writer = Writer()
    lean, _ = await lean_session(writer, Reader())

    for request in (b"a", b"b", b"c"):
        lean.write(request)
    assert writer.written == []
    await asyncio.sleep(0)
    assert writer.written == [b"abc"]

    lean.write(b"d")
    lean.write_eof()
    lean.close()
    await asyncio.sleep(0)
    assert writer.written == [b"abc", b"d", "eof", "closed"]


async def test_many_bytes_are_written_before_a_pass_is_over() -> None:
    writer = Writer()
    lean, _ = await lean_session(writer, Reader())

    lean.write(bytes(300_000))

    assert writer.written == [bytes(300_000)]


async def test_what_was_written_before_a_channel_was_lost_is_dropped() -> None:
    writer = Writer()
    lean, _ = await lean_session(writer, Reader())
    lean.write(b"a")
    writer.channel.closing = True

    await asyncio.sleep(0)

    assert writer.written == []
    assert lean.channel is writer.channel


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300)), sizes=st.lists(st.integers(0, 60)))
def test_what_is_read_does_not_depend_on_the_pieces_that_it_comes_in(
    data: bytes, cuts: list[int], sizes: list[int]
) -> None:
    edges = sorted({0, *(cut for cut in cuts if cut < len(data)), len(data)})
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]

    async def read() -> None:
        _, lean = await lean_session(Writer(), Reader(*pieces))
        at = 0
        for size in sizes:
            if at + size <= len(data):
                assert await lean.readexactly(size) == data[at : at + size]
                at += size
            else:
                with pytest.raises(asyncio.IncompleteReadError) as raised:
                    await lean.readexactly(size)
                assert raised.value.partial == data[at:]
                return

    asyncio.run(read())


async def test_a_large_packet_between_small_ones_is_read() -> None:
    data = bytes(range(256)) * 2000
    _, lean = await lean_session(Writer(), Reader(data[:70_000], data[70_000:]))

    read = [await lean.readexactly(size) for size in (4, 200_000, 10)]

    assert read == [data[:4], data[4:200_004], data[200_004:200_014]]


async def test_a_session_is_logged_only_if_somebody_wants_to_see_it(caplog: pytest.LogCaptureFixture) -> None:
    def log(reader: PortionReader) -> None:
        child = reader.logger.get_child("sftp")
        child.debug1("request %d", 1)
        child.debug2("request %d", 2)
        child.packet(1, b"abc", "request %d", 3)

    _, quiet = await lean_session(Writer(), Reader())
    log(quiet)
    assert caplog.messages == []

    with caplog.at_level(logging.DEBUG, logger="asyncssh"):
        _, loud = await lean_session(Writer(), Reader())
        log(loud)
    assert caplog.messages == ["request 1"]
    assert loud.get_extra_info("server_version") == "server_version"
