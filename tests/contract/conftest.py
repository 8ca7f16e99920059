# SPDX-License-Identifier: Apache-2.0
"""The pools that keep the contract, each with a server of its own; a new protocol adds its harness here."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self, cast

import pytest
from azure.core.credentials import AccessToken

from airflow_provider_async.core.pool import Pool
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.http import HTTPClientPool
from airflow_provider_async.msgraph import MSGraphClientPool
from airflow_provider_async.sftp import SFTPClientPool
from airflow_provider_async.smtp import SMTPClientPool
from tests.http.conftest import Fields
from tests.servers.sftp import AsyncsshServer, Proxy, asyncssh_server
from tests.servers.smtp import FaultyServer, faulty_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path
    from types import TracebackType

    import aiosmtplib
    import asyncssh

    from airflow_provider_async.core.pool import PoolStatistics
    from airflow_provider_async.http.caller import Caller
    from airflow_provider_async.http.transport import Transport

SOON = Retry(initial_seconds=0.01, max_seconds=0.05)


class AnyPool(Protocol):
    """What all pools have in common."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    async def close(self) -> None: ...

    def statistics(self) -> PoolStatistics: ...


class Harness(ABC):
    """One kind of pool and its server."""

    #: What stands in the errors and must not, respectively.
    name: str
    secret: str

    #: Whether a connection that is cut is an error for whoever uses it; aiohttp sends a request again that an idle
    #: connection has not answered.
    notices_cuts: bool = True

    @abstractmethod
    def pool(
        self, *, size: int, acquire_timeout: float = 10.0, close_timeout: float = 10.0, password: str | None = None
    ) -> AnyPool:
        """Make a pool of ``size`` connections; the password is the right one if it is not given."""

    @abstractmethod
    def lease(self, pool: AnyPool) -> AbstractAsyncContextManager[object]:
        """Borrow from a pool that :meth:`pool` made."""

    @abstractmethod
    async def use(self, client: object) -> None:
        """Ask the server something."""

    @abstractmethod
    def cut(self) -> None:
        """Cut all connections at the server's side."""

    @property
    @abstractmethod
    def logins(self) -> int:
        """How many logins were tried."""

    @property
    @abstractmethod
    def open(self) -> int:
        """How many connections the server has."""

    async def all_closed(self) -> bool:
        """Tell whether the server soon has no connection."""
        async with asyncio.timeout(5):
            while self.open:  # noqa: ASYNC110 - the server's side tells nobody
                await asyncio.sleep(0.005)
        return True


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class CoreHarness(Harness):
    """The Pool itself, over a server that wants a password and then repeats what it is told."""

    name = "core"
    secret = "sesame"

    def __init__(self) -> None:
        self.port = 0
        self._logins = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            password = await reader.readline()
            if password:
                self._logins += 1
            if password.decode().strip() == self.secret:
                writer.write(b"welcome\n")
                while line := await reader.readline():
                    writer.write(line)
            else:
                writer.write(b"no\n")
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def pool(
        self, *, size: int, acquire_timeout: float = 10.0, close_timeout: float = 10.0, password: str | None = None
    ) -> Pool[Stream, Stream]:
        async def connect() -> Stream:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(f"{password or self.secret}\n".encode())
            answer = await reader.readline()
            if answer == b"no\n":
                writer.close()
                raise PermissionError("wrong password")
            if not answer:
                raise ConnectionResetError
            return reader, writer

        async def close(stream: Stream) -> None:
            stream[1].close()

        return Pool(
            connect,
            close=close,
            size=size,
            leases=1,
            is_usable=lambda stream: not (stream[0].at_eof() or stream[0].exception() or stream[1].is_closing()),
            is_broken=lambda error: isinstance(error, ConnectionError),
            after_cancel="discard",
            acquire_timeout=acquire_timeout,
            close_timeout=close_timeout,
            retry=SOON,
            name=self.name,
        )

    def lease(self, pool: AnyPool) -> AbstractAsyncContextManager[object]:
        assert isinstance(pool, Pool)
        return pool.lease()

    async def use(self, client: object) -> None:
        reader, writer = cast("Stream", client)
        writer.write(b"hello\n")
        if await reader.readline() != b"hello\n":
            raise ConnectionResetError

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    @property
    def logins(self) -> int:
        return self._logins

    @property
    def open(self) -> int:
        return len(self._writers)


@dataclass
class SFTPHarness(Harness):
    """SFTPClientPool over asyncssh's server, behind a proxy that cuts."""

    server: AsyncsshServer
    proxy: Proxy
    name = "SFTPClientPool('sftp_default')"
    secret = "right"

    def pool(
        self, *, size: int, acquire_timeout: float = 10.0, close_timeout: float = 10.0, password: str | None = None
    ) -> SFTPClientPool:
        connection = replace(self.server.connection(), port=self.proxy.port, password=password or self.secret)
        return SFTPClientPool(
            connection=connection,
            pool_size=size,
            max_concurrency=size,
            acquire_timeout=acquire_timeout,
            close_timeout=close_timeout,
            retry=SOON,
        )

    def lease(self, pool: AnyPool) -> AbstractAsyncContextManager[asyncssh.SFTPClient]:
        assert isinstance(pool, SFTPClientPool)
        return pool.get_sftp_client()

    async def use(self, client: object) -> None:
        await cast("asyncssh.SFTPClient", client).listdir("/")

    def cut(self) -> None:
        self.proxy.cut()

    @property
    def logins(self) -> int:
        return len(self.server.attempts)

    @property
    def open(self) -> int:
        return self.proxy.connections


@dataclass
class SMTPHarness(Harness):
    """SMTPClientPool over a server that asks for a login."""

    server: FaultyServer
    name = "SMTPClientPool('smtp_default')"
    secret = "sesame"

    def pool(
        self, *, size: int, acquire_timeout: float = 10.0, close_timeout: float = 10.0, password: str | None = None
    ) -> AnyPool:
        return SMTPClientPool(
            connection=replace(self.server.connection(), login="alice", password=password or self.secret),
            pool_size=size,
            acquire_timeout=acquire_timeout,
            close_timeout=close_timeout,
            retry=SOON,
        )

    def lease(self, pool: AnyPool) -> AbstractAsyncContextManager[object]:
        assert isinstance(pool, SMTPClientPool)
        return pool.get_smtp_client()

    async def use(self, client: object) -> None:
        await cast("aiosmtplib.SMTP", client).noop()

    def cut(self) -> None:
        self.server.cut()

    @property
    def logins(self) -> int:
        return sum(command.startswith(b"AUTH") for command in self.server.books.commands)

    @property
    def open(self) -> int:
        return len(self.server.open)


class HTTPHarness(Harness):
    """HTTPClientPool over a server that answers everything, and counts its connections."""

    name = "HTTPClientPool('http_default')"
    secret = "sesame"
    notices_cuts = False

    def __init__(self) -> None:
        self.port = 0
        self._connections = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        self._writers.add(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def pool(
        self, *, size: int, acquire_timeout: float = 10.0, close_timeout: float = 10.0, password: str | None = None
    ) -> AnyPool:
        return HTTPClientPool(
            connection=Fields(host="127.0.0.1", port=self.port, login="ali", password=password or self.secret),
            max_concurrency=size,
            acquire_timeout=acquire_timeout,
            close_timeout=close_timeout,
            retry=SOON,
        )

    @asynccontextmanager
    async def lease(self, pool: AnyPool) -> AsyncIterator[object]:
        assert isinstance(pool, HTTPClientPool)
        async with pool._opened.lease() as transport:
            yield pool.sender, transport

    async def use(self, client: object) -> None:
        sender, transport = cast("tuple[Caller, Transport]", client)
        credentials = sender._ready_credentials()
        assert credentials is not None
        response = await transport.send(sender.call("GET", "/"), credentials)
        assert await response.read() == b"hello"

    def cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    @property
    def logins(self) -> int:
        return self._connections

    @property
    def open(self) -> int:
        return len(self._writers)


class GraphHarness(HTTPHarness):
    """MSGraphClientPool over the same server; its token is the secret."""

    name = "MSGraphClientPool('msgraph_default')"

    def pool(
        self, *, size: int, acquire_timeout: float = 10.0, close_timeout: float = 10.0, password: str | None = None
    ) -> AnyPool:
        return MSGraphClientPool(
            connection=Fields(host="127.0.0.1", port=self.port, schema="http"),
            credential=OneToken(password or self.secret),
            max_concurrency=size,
            acquire_timeout=acquire_timeout,
            close_timeout=close_timeout,
            retry=SOON,
        )

    @asynccontextmanager
    async def lease(self, pool: AnyPool) -> AsyncIterator[object]:
        assert isinstance(pool, MSGraphClientPool)
        async with pool._opened.lease() as transport:
            await pool.sender._fetch_credentials()
            yield pool.sender, transport


@dataclass
class OneToken:
    """A credential of azure-identity's kind, with a token that everybody takes."""

    token: str

    async def get_token(self, *_: str, **__: object) -> AccessToken:
        return AccessToken(self.token, int(time.time()) + 3600)

    async def close(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


@asynccontextmanager
async def serving(harness: CoreHarness | HTTPHarness) -> AsyncIterator[Harness]:
    listener = await asyncio.start_server(harness.serve, "127.0.0.1", 0)
    harness.port = listener.sockets[0].getsockname()[1]
    try:
        yield harness
    finally:
        listener.close()
        harness.cut()


def core_harness(_: Path) -> AbstractAsyncContextManager[Harness]:
    return serving(CoreHarness())


def graph_harness(_: Path) -> AbstractAsyncContextManager[Harness]:
    return serving(GraphHarness())


def http_harness(_: Path) -> AbstractAsyncContextManager[Harness]:
    return serving(HTTPHarness())


@asynccontextmanager
async def sftp_harness(folder: Path) -> AsyncIterator[Harness]:
    async with asyncssh_server(folder) as server, Proxy(server.port).running() as proxy:
        yield SFTPHarness(server, proxy)


@asynccontextmanager
async def smtp_harness(_: Path) -> AsyncIterator[Harness]:
    async with faulty_server(FaultyServer(password=SMTPHarness.secret)) as server:
        yield SMTPHarness(server)


#: Those whose connections begin with a login; an HTTP client logs in with each request.
LOGGING_IN = {"core": core_harness, "sftp": sftp_harness, "smtp": smtp_harness}

HARNESSES = {**LOGGING_IN, "http": http_harness, "msgraph": graph_harness}


@pytest.fixture(params=[*HARNESSES.values()], ids=[*HARNESSES])
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Harness]:
    async with request.param(tmp_path) as running:
        yield running
