# SPDX-License-Identifier: Apache-2.0
"""
A line with a delay: ``python -m benchmarks.support.delay PORT SECONDS`` passes on what it is sent, that late.

It says on its standard output where it listens, and ends when its standard input does. Bandwidth is not limited: all
bytes lie in one queue with the time when they are due, and since the delay is the same for all, the first is always the
next one. Making a connection takes a round trip, as on a real line.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent.parent

READ_BYTES = 512 * 1024

#: What may be on its way to one end; beyond it, the other end has to wait. A line of 1 GiB/s and 60 ms has as much.
IN_FLIGHT_BYTES = 64 * 1024 * 1024


class End:
    """One of the two sockets of a connection: bytes that came in here are due, later, at the other end."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.other = self
        self.unsent: deque[memoryview] = deque()
        self.in_flight_bytes = 0
        self.input_ended = False
        self.output_ended = False

    def send(self) -> None:
        """Send what is due here, as far as the socket takes it."""
        while self.unsent:
            data = self.unsent[0]
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                return
            self.in_flight_bytes -= sent
            if sent < len(data):
                self.unsent[0] = data[sent:]
                continue
            self.unsent.popleft()
            if not data:
                self.sock.shutdown(socket.SHUT_WR)
                self.output_ended = True


class Line:
    """
    Listens on a free port of the loopback.

    :param port: where the server listens.
    :param seconds: how long a byte takes, in either direction.
    """

    def __init__(self, port: int, seconds: float) -> None:
        self._server_port = port
        self._seconds = seconds
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self._due: deque[tuple[float, Callable[[], None]]] = deque()
        self._ends: dict[int, End] = {}
        self._buffer = memoryview(bytearray(READ_BYTES))

    def run(self, stop: int) -> None:
        """
        Pass bytes on.

        :param stop: a file descriptor; ends when there is something to read from it.
        """
        while True:
            # select takes microseconds; epoll would round a delay up to whole milliseconds.
            readable = [number for number, end in self._ends.items() if self._takes(end)]
            writable = [number for number, end in self._ends.items() if end.unsent]
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else None
            ready, sendable, _ = select.select([stop, self._listener.fileno(), *readable], writable, [], wait)
            if stop in ready:
                return
            now = time.monotonic()
            for number in ready:
                if number == self._listener.fileno():
                    self._accept(now)
                elif end := self._ends.get(number):
                    self._receive(end, now)
            for number in sendable:
                if end := self._ends.get(number):
                    self._guarded(end, end.send)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                self._due.popleft()[1]()

    @staticmethod
    def _takes(end: End) -> bool:
        return not end.input_ended and end.other.in_flight_bytes < IN_FLIGHT_BYTES

    def _accept(self, now: float) -> None:
        with contextlib.suppress(BlockingIOError):
            client, _ = self._listener.accept()
            # There and back, before the client may send.
            self._later(now, lambda: self._later(time.monotonic(), lambda: self._connect(client)))

    def _later(self, now: float, action: Callable[[], None]) -> None:
        self._due.append((now + self._seconds, action))

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._server_port))
        except OSError:
            client.close()
            return
        ends = End(client), End(server)
        for end, other in zip(ends, reversed(ends), strict=True):
            end.other = other
            end.sock.settimeout(0)
            end.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends[end.sock.fileno()] = end

    def _receive(self, end: End, now: float) -> None:
        try:
            count = end.sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError:
            self._close(end)
            return
        end.input_ended = not count
        end.other.in_flight_bytes += count
        # Empty, it stands for the end of the input.
        data = memoryview(bytes(self._buffer[:count]))
        self._later(now, lambda: self._guarded(end.other, lambda: self._deliver(end.other, data)))

    def _deliver(self, end: End, data: memoryview) -> None:
        end.unsent.append(data)
        end.send()

    def _guarded(self, end: End, action: Callable[[], None]) -> None:
        """Act on an end of a connection; close both when that fails, or when both have said all."""
        if end.sock.fileno() < 0:
            return
        try:
            action()
        except OSError:
            over = True
        else:
            over = end.output_ended and end.other.output_ended
        if over:
            self._close(end)

    def _close(self, end: End) -> None:
        for one in (end, end.other):
            del self._ends[one.sock.fileno()]
            one.sock.close()


class Delay:
    """
    A running line.

    :param port: where clients connect.
    """

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._pid = pid

    def cpu_seconds(self) -> float:
        """Tell how much computing time it has used so far."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def delayed(port: int, *, rtt_ms: float) -> Iterator[Delay]:
    """
    Run a line in a process of its own.

    :param port: where the server listens.
    :param rtt_ms: the round trip, in milliseconds.
    """
    command = [sys.executable, "-m", "benchmarks.support.delay", str(port), str(rtt_ms / 2000)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        listens_on = int(process.stdout.readline())
        try:
            yield Delay(listens_on, process.pid)
        finally:
            process.stdin.close()
            process.wait()


if __name__ == "__main__":
    line = Line(int(sys.argv[1]), float(sys.argv[2]))
    print(line.port, flush=True)
    line.run(sys.stdin.fileno())
