# SPDX-License-Identifier: Apache-2.0
"""
An HTTP server that fails on demand, above HTTP and below it, and remembers what it saw.

It speaks HTTP/1.1 by hand, so that a length can be wrong, a body cut and a connection reset; and so that it shares no
code with the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from airflow_provider_async.testing.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = [
    "NOTHING",
    "NOTHING_BUT_RESET",
    "NOT_FOUND",
    "Answer",
    "HTTPServer",
    "Handler",
    "Request",
    "answer_json",
    "in_turn",
]

_REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 400: "Bad Request", 404: "Not Found"}


@dataclass(frozen=True)
class Request:
    """
    What the server saw.

    :param method: in capitals.
    :param path: without the query, decoded.
    :param query: the parameters in their order, with all duplicates.
    :param headers: by name in small letters; of a header that came twice, the last.
    :param body: its bytes.
    :param at: when it came, in seconds of the event loop's clock.
    :param connection: which connection it came on, counted from 1.
    :param base: the server's URL, as the client calls it.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes
    at: float
    connection: int
    base: str = ""

    def param(self, name: str, default: str = "") -> str:
        """Return the last value of a parameter."""
        return dict(self.query).get(name, default)

    def number(self, name: str, default: int) -> int:
        """Return the last value of a parameter that is a number."""
        return int(self.param(name) or default)

    @property
    def authorization(self) -> str | None:
        """The header that proves who asks."""
        return self.headers.get("authorization")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """
    What the server answers, and how it fails at that.

    :param body: its bytes.
    :param status: such as 404.
    :param headers: in addition to the length, or in its place.
    :param length: what ``Content-Length`` says, if that is not the truth.
    :param framing: how the end of the body is told: by its length, by chunks, or by closing the connection.
    :param cut_after: only so many bytes of the body are sent, and then the connection ends.
    :param ending: what becomes of the connection: kept, closed, or reset.
    :param pause_seconds: how long to wait after each piece of the body.
    :param piece_bytes: how large such a piece is.
    """

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    framing: Literal["length", "chunked", "closing"] = "length"
    cut_after: int | None = None
    ending: Literal["kept", "closed", "reset"] = "kept"
    pause_seconds: float = 0.0
    piece_bytes: int = 65536


def answer_json(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with a value as JSON."""
    given = {"Content-Type": "application/json"} | dict(headers or {})
    return Answer(body=json.dumps(value).encode(), status=status, headers=given)


#: Answers the requests for a path.
Handler: TypeAlias = Callable[[Request], "Answer | Awaitable[Answer]"]

NOT_FOUND = Answer(status=404, body=b"no such path")

#: The connection ends before any answer.
NOTHING = Answer(cut_after=-1, ending="closed")
NOTHING_BUT_RESET = Answer(cut_after=-1, ending="reset")


def in_turn(*answers: Answer | Handler) -> Handler:
    """Answer the first request with the first answer, and so on, and all others with the last."""
    left = list(answers)

    def handle(request: Request) -> Answer | Awaitable[Answer]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        return answer if isinstance(answer, Answer) else answer(request)

    return handle


class HTTPServer:
    """
    A server on a free port of the loopback.

    :ivar seen: all requests, in the order in which they came.
    :ivar connections: how many connections there were.
    :ivar most_in_flight: how many were worked on at once, at the most.
    :ivar most_connections: how many connections there were at once, at the most.
    """

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.connections = 0
        self.most_connections = 0
        self.port = 0
        self._handlers: dict[str, Handler] = {}
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Errors of handlers: a test's own mistakes, which must not look like a fault that was asked for.
        self._mistakes: list[Exception] = []

    def on(self, path: str, *answers: Answer | Handler) -> str:
        """
        Say what is answered for a path, in turn; the last answer is repeated.

        :param path: without a query; with a ``*`` at its end, for all paths that begin so.
        :return: the path's URL.
        """
        self._handlers[path] = in_turn(*answers)
        return self.url(path)

    @property
    def open_connections(self) -> int:
        """How many connections there are."""
        return len(self._open)

    def url(self, path: str = "", host: str = "127.0.0.1") -> str:
        """Return the URL of a path."""
        return f"http://{host}:{self.port}{path}"

    def connection(self, **extras: object) -> Connection:
        """Return a Connection to the server; extras that are no options are headers."""
        return Connection("127.0.0.1", self.port, extra_dejson=extras, conn_id="http_test")

    def requests(self, path: str) -> list[Request]:
        """Return the requests for a path."""
        return [request for request in self.seen if request.path == path]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[HTTPServer]:
        """Run it, until the block is left; then an error of a handler is raised."""
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=256)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            for writer in self._open:
                writer.transport.abort()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
        if self._mistakes:
            raise ExceptionGroup("handlers of the server failed", self._mistakes)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served in a task")
        self._tasks.add(task)
        self._open.add(writer)
        self.connections += 1
        self.most_connections = max(self.most_connections, self.open_connections)
        number = self.connections
        try:
            # A client that goes away is no error of the server, nor is the end of the test.
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._serve_one(reader, writer, number):
                    pass
        except Exception as error:  # noqa: BLE001 - raised at the end
            self._mistakes.append(error)
        finally:
            self._open.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> bool:
        """Serve a request, and tell whether there may be another on this connection."""
        request = await self._read(reader, writer, number)
        self.seen.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answered = self._handler(request.path)(request)
            answer = answered if isinstance(answered, Answer) else await answered
            await _write(writer, answer, head_only=request.method == "HEAD")
        finally:
            self.in_flight -= 1
        if answer.ending == "reset":
            _reset(writer)
        return answer.ending == "kept" and answer.framing != "closing" and answer.cut_after is None

    def _handler(self, path: str) -> Handler:
        if path in self._handlers:
            return self._handlers[path]
        fitting = [given for given in self._handlers if given.endswith("*") and path.startswith(given[:-1])]
        return self._handlers[max(fitting, key=len)] if fitting else in_turn(NOT_FOUND)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if headers.get("expect") == "100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join([chunk async for chunk in _read_chunks(reader)])
        else:
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        return Request(
            method,
            unquote(parts.path),
            tuple(parse_qsl(parts.query, keep_blank_values=True)),
            headers,
            body,
            asyncio.get_running_loop().time(),
            number,
            base=f"http://{headers['host']}",
        )


async def _read_chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readline()).partition(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]
    await reader.readline()


async def _write(writer: asyncio.StreamWriter, answer: Answer, *, head_only: bool) -> None:
    """Send an answer as far as it goes."""
    if answer.cut_after is not None and answer.cut_after < 0:
        return
    headers = dict(answer.headers)
    if answer.framing == "chunked":
        headers["Transfer-Encoding"] = "chunked"
    elif answer.framing == "length":
        headers["Content-Length"] = str(len(answer.body) if answer.length is None else answer.length)
    if answer.framing == "closing" or answer.ending != "kept":
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    body = b"" if head_only else answer.body[: answer.cut_after]
    for start in range(0, len(body), answer.piece_bytes):
        piece = body[start : start + answer.piece_bytes]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if answer.framing == "chunked" else piece)
        await writer.drain()
        if answer.pause_seconds:
            await asyncio.sleep(answer.pause_seconds)
    if answer.framing == "chunked" and answer.cut_after is None:
        writer.write(b"0\r\n\r\n")
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST, as a crash does; what was sent may be lost on its way."""
    endpoint: socket.socket = writer.get_extra_info("socket")
    endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
