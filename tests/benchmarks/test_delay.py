# SPDX-License-Identifier: Apache-2.0
"""The line with a delay loses nothing, is no faster than it says, and ends with its connections."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from benchmarks.support.delay import delayed
from tests.servers.sftp import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RTT_MS = 20
SECONDS = 20


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serve each connection in a thread, on a port of the loopback."""
    threads: list[threading.Thread] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=serve_one, args=(connection,)))
                threads[-1].start()

    def serve_one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            connection.settimeout(SECONDS)
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
    for thread in threads:
        thread.join()


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=SECONDS)


def read_to_end(connection: socket.socket) -> bytes:
    parts = []
    while data := connection.recv(65536):
        parts.append(data)
    return b"".join(parts)


@pytest.fixture
def line() -> Iterator[int]:
    """The port of a line to a server that sends back what it is sent."""
    with listening(echo) as port, delayed(port, rtt_ms=RTT_MS) as delay:
        yield delay.port


def test_bytes_arrive_complete_and_in_order_and_the_end_arrives_after_them(line: int) -> None:
    sent = b"".join(number.to_bytes(4, "big") for number in range(500_000))
    with connect(line) as connection:

        def send() -> None:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = read_to_end(connection)
        sender.join()
    assert received == sent


def test_a_round_trip_takes_no_less_than_it_should(line: int) -> None:
    began = time.monotonic()
    with connect(line) as connection:
        for _ in range(3):
            connection.sendall(b"ping")
            assert connection.recv(4) == b"ping"
    # One of the four is for the connection.
    assert time.monotonic() - began >= 4 * RTT_MS / 1000


def test_requests_that_are_under_way_together_share_their_delay(line: int) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(line)) for _ in range(40)]
        for number, connection in enumerate(connections):
            connection.sendall(bytes([number]))
        assert [connection.recv(1) for connection in connections] == [bytes([number]) for number in range(40)]


def test_a_client_that_reads_nothing_holds_up_no_other() -> None:
    def flood(connection: socket.socket) -> None:
        if connection.recv(1) == b"f":
            for _ in range(1024):
                connection.sendall(bytes(256 * 1024))
        else:
            connection.sendall(b"here")

    with (
        listening(flood) as port,
        delayed(port, rtt_ms=RTT_MS) as delay,
        connect(delay.port) as idle,
        connect(delay.port) as busy,
    ):
        idle.sendall(b"f")
        assert idle.recv(1, socket.MSG_PEEK) == b"\0"
        busy.sendall(b"b")
        assert read_to_end(busy) == b"here"


def test_a_connection_is_closed_when_its_other_end_is_gone() -> None:
    def leave(connection: socket.socket) -> None:
        connection.recv(1)

    with listening(leave) as port, delayed(port, rtt_ms=RTT_MS) as delay, connect(delay.port) as connection:
        connection.sendall(b"x")
        assert read_to_end(connection) == b""


def test_a_connection_is_closed_when_there_is_no_server() -> None:
    with delayed(free_port(), rtt_ms=RTT_MS) as delay, connect(delay.port) as connection:
        assert read_to_end(connection) == b""


def test_it_tells_how_much_computing_time_it_has_used() -> None:
    with listening(echo) as port, delayed(port, rtt_ms=RTT_MS) as delay:
        assert delay.cpu_seconds() >= 0
