# SPDX-License-Identifier: Apache-2.0
"""A server that answers as each test scripts it, byte by byte, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.http import HTTPClientPool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

#: Waits that nobody notices.
SOON = Retry(attempts=5, initial_seconds=0.01, max_seconds=0.02, budget_seconds=20)


@dataclass
class Fields:
    """What is read of an Airflow Connection."""

    host: str | None = None
    schema: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = None
    extra_dejson: Mapping[str, object] = field(default_factory=dict)
    conn_id: str = "http_test"


@dataclass
class Request:
    """What the server was asked; headers by their names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    writer: asyncio.StreamWriter
    peer_certificate: object = None

    def __post_init__(self) -> None:
        self.peer_certificate = self.writer.get_extra_info("peercert")

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


def answer(
    body: bytes | str = b"", *, status: int = 200, headers: Mapping[str, str] | None = None, length: int | None = None
) -> bytes:
    """Make an answer, whose Content-Length may be a lie."""
    data = body.encode() if isinstance(body, str) else body
    given = {"Content-Length": str(len(data) if length is None else length), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status} Reason\r\n{lines}\r\n".encode() + data


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nobody tells."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.005)


class ScriptedServer:
    """Answers by path; what has no script is answered with 404."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Request] = []
        self.connections = 0
        self._scripts: dict[str, list[bytes] | Callable[[Request], bytes | Awaitable[bytes | None]]] = {}
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on(self, path: str, *answers: bytes) -> None:
        """Give these answers, one after the other; the last one again and again."""
        self._scripts[path] = list(answers)

    def handle(self, path: str, handler: Callable[[Request], bytes | Awaitable[bytes | None]]) -> None:
        """Have a function answer."""
        self._scripts[path] = handler

    def paths(self) -> list[str]:
        return [request.target for request in self.requests]

    async def asked(self, number: int = 1) -> None:
        """Wait until so many requests have come."""
        await until(lambda: len(self.requests) >= number)

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = b""
        if headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        else:
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        request = Request(method, target, headers, body, writer)
        self.requests.append(request)
        script = self._scripts.get(request.path, [answer("no such path", status=404)])
        data: bytes | None
        if isinstance(script, list):
            data = script.pop(0) if len(script) > 1 else script[0]
        else:
            made = script(request)
            data = made if isinstance(made, bytes) else await made
        if data is None:
            return True
        writer.write(data)
        await writer.drain()
        declared = data.partition(b"\r\n\r\n")[0].lower()
        # An answer that is shorter than it says ends with the connection.
        sent = len(data.partition(b"\r\n\r\n")[2])
        length = [int(line[15:]) for line in declared.split(b"\r\n") if line.startswith(b"content-length:")]
        return bool(data) and b"connection: close" not in declared and bool(length) and length[0] <= sent


@asynccontextmanager
async def scripted_server(host: str = "127.0.0.1") -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    listener = await asyncio.start_server(server.serve, host, 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        server.cut()


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with scripted_server() as running:
        yield running


@pytest.fixture
async def other_server() -> AsyncIterator[ScriptedServer]:
    """Another origin: another port."""
    async with scripted_server() as running:
        yield running


@pytest.fixture
async def pool(server: ScriptedServer) -> AsyncIterator[HTTPClientPool]:
    """An open pool at ``server``."""
    async with HTTPClientPool(None, base_url=server.url, retry=SOON) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell says about proxies must not matter."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
