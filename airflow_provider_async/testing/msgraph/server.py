# SPDX-License-Identifier: Apache-2.0
"""The Graph server: who may ask, which part of it answers, and what goes wrong."""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
import uuid
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from aiohttp import web

from airflow_provider_async.testing.certificates import self_signed, server_context
from airflow_provider_async.testing.connection import Connection
from airflow_provider_async.testing.msgraph import batches, deltas, files, rows
from airflow_provider_async.testing.msgraph.answers import NOT_FOUND, GraphAnswer, GraphRequest, Row, error
from airflow_provider_async.testing.msgraph.paging import Paging
from airflow_provider_async.testing.msgraph.tokens import CLIENT_ID, SECRET, TENANT, Entra, Tokens

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from airflow_provider_async.testing.msgraph.answers import Handler

__all__ = ["GraphServer"]

#: Whoever asks first whether a request is theirs comes first.
_PARTS = (batches, files, deltas, rows)

_TOKEN_PATH = re.compile(r"/([^/]+)/oauth2/v2\.0/token")

#: By default, aiohttp takes one megabyte.
_MOST_BYTES = 1 << 30


class GraphServer:
    """
    A Graph server on a free port of the loopback, and the Entra that gives its tokens.

    :param scheme: ``https``, with a certificate that :meth:`connection` names; or ``http``, for clients that have a
        credential of their own, which gives tokens of ``tokens.issue()``: Entra is never asked without TLS.
    :ivar seen: all requests, those inside of batches included, in the order in which they came.
    :ivar collections: rows by the paths of their collections, such as ``users``; see :meth:`collection`.
    :ivar paging: how collections are cut into pages, and what is wrong with their links.
    :ivar deltas: the links of delta queries; ``deltas.expire()`` makes them all answer 410.
    :ivar drive: the drive, whichever is asked for, and its files.
    :ivar batches: what was asked in each batch: the inner requests as they came.
    :ivar sent: the bodies of ``sendMail``.
    :ivar tokens: those that are taken; ``tokens.revoke()`` makes the next request answer 401.
    :ivar entra: gives the tokens: ``entra.faults`` are the statuses with which it fails next.
    :ivar needs_token: whether requests without a token are refused.
    :ivar rtt_seconds: how long each answer takes.
    :ivar quota_used: of a request, how much of a quota is used, as a part of 1; ``None`` if Graph says nothing of it.
    :ivar most_in_flight: how many requests of HTTP were worked on at once, at the most.
    """

    def __init__(self, *, scheme: str = "https") -> None:
        self.scheme = scheme
        self.seen: list[GraphRequest] = []
        self.collections: dict[str, list[Row]] = {"users": [], "groups": []}
        self.paging = Paging()
        self.deltas = deltas.Deltas()
        self.drive = files.Drive()
        self.batches: list[list[Row]] = []
        self.sent: list[Row] = []
        self.tokens = Tokens()
        self.entra = Entra(tokens=self.tokens)
        self.needs_token = True
        self.rtt_seconds = 0.0
        self.quota_used: Callable[[GraphRequest], float | None] = lambda _: None
        self.in_flight = 0
        self.most_in_flight = 0
        self.port = 0
        self._certificate: Path | None = None
        self._own: dict[tuple[str, str], Handler] = {}
        self._faults: dict[str, list[GraphAnswer | None]] = {}
        #: Errors of handlers: a test's own mistakes, which must not look like a fault that was asked for.
        self._mistakes: list[Exception] = []

    @property
    def origin(self) -> str:
        """The server's URL, without a version."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL of Graph's version 1.0."""
        return f"{self.origin}/v1.0"

    def connection(self, **extras: object) -> Connection:
        """
        Return a Connection that works, unless the extras say otherwise.

        :param extras: such as ``max_requests``; ``None`` leaves out one that would be there.
        """
        has_entra = self.scheme == "https"
        given = self._entra_extras() if has_entra else {}
        known = {name: value for name, value in {**given, **extras}.items() if value is not None}
        login, password = (CLIENT_ID, SECRET) if has_entra else (None, None)
        return Connection("127.0.0.1", self.port, login, password, known, schema=self.scheme, conn_id="msgraph_test")

    def _entra_extras(self) -> dict[str, object]:
        certificate = str(self._certificate)
        extras: dict[str, object] = {"tenant_id": TENANT, "authority": self.origin, "verify": certificate}
        return extras | {"disable_instance_discovery": True}

    def collection(self, path: str, content: Iterable[Row] | None = None) -> list[Row]:
        """
        Return the rows of a collection: what a test adds, changes or removes there, Graph's answers and deltas show.

        :param path: such as ``users``, or ``users/alice@contoso.com/messages``.
        :param content: what the collection has from now on; each row needs an ``id``.
        """
        key = rows.key_of(self, path) or rows.canonical(self, path)
        if content is not None:
            self.collections[key] = [*content]
        return self.collections[key]

    def on(self, path: str, *answers: GraphAnswer | Callable[[GraphRequest], GraphAnswer], method: str = "GET") -> None:
        """
        Say what is answered for a path, in turn; the last answer is repeated.

        :param path: such as ``/reports/getUserCounts``.
        :param answers: or functions, each of which makes one of a request.
        :param method: in capitals.
        """
        left = list(answers)

        def handle(_: GraphServer, request: GraphRequest) -> GraphAnswer:
            answer = left.pop(0) if len(left) > 1 else left[0]
            return answer if isinstance(answer, GraphAnswer) else answer(request)

        self._own[method, _rooted(path)] = handle

    def fail(self, path: str, *answers: GraphAnswer | None) -> None:
        """
        Give these answers to the next requests for a path, whether they come alone or in a batch.

        :param path: such as ``/users``; ``*`` is any.
        :param answers: such as :func:`throttled`, :func:`error` or ``RESET``; ``None`` for the right one.
        """
        self._faults.setdefault(path if path == "*" else _rooted(path), []).extend(answers)

    def requests(self, path: str, method: str | None = None) -> list[GraphRequest]:
        """
        Return the requests for a path.

        :param path: such as ``/users``.
        :param method: only those of this method.
        """
        return [one for one in self.seen if one.path == _rooted(path) and method in (None, one.method)]

    @asynccontextmanager
    async def running(self, *, port: int = 0) -> AsyncIterator[GraphServer]:
        """
        Run it, until the block is left; then an error of a handler is raised.

        :param port: 0 for one that is free.
        """
        with self._certified() as tls:
            runner = web.ServerRunner(web.Server(self._serve, access_log=None), shutdown_timeout=1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
            self.port = runner.addresses[0][1]
            try:
                yield self
            finally:
                await runner.cleanup()
        if self._mistakes:
            raise ExceptionGroup("handlers of the server failed", self._mistakes)

    @contextmanager
    def _certified(self) -> Iterator[ssl.SSLContext | None]:
        if self.scheme == "http":
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="graph-server-") as folder:
            self._certificate = self_signed(Path(folder))
            yield server_context(self._certificate)

    async def handle(self, request: GraphRequest) -> GraphAnswer:
        """Answer a request, or a part of a batch."""
        request = replace(request, at=asyncio.get_running_loop().time())
        self.seen.append(request)
        answer = await self._answer(request)
        headers = {"request-id": str(uuid.uuid4()), "Date": time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())}
        if "client-request-id" in request.headers:
            headers["client-request-id"] = request.headers["client-request-id"]
        if (used := self.quota_used(request)) is not None:
            headers["x-ms-throttle-limit-percentage"] = f"{used:.2f}"
        return replace(answer, headers=headers | dict(answer.headers))

    async def _answer(self, request: GraphRequest) -> GraphAnswer:
        for path in (request.path, "*"):
            if self._faults.get(path) and (fault := self._faults[path].pop(0)) is not None:
                return fault
        for names, handler in self._handlers(request):
            if (refusal := self._refusal(request)) is not None:
                return refusal
            answer = handler(self, replace(request, names=names))
            return answer if isinstance(answer, GraphAnswer) else await answer
        return NOT_FOUND

    def _handlers(self, request: GraphRequest) -> Iterator[tuple[dict[str, str], Handler]]:
        if (own := self._own.get((request.method, request.path))) is not None:
            yield {}, own
        for part in _PARTS:
            for method, pattern, handler in part.ROUTES.handlers:
                if method == request.method and (found := pattern.fullmatch(request.path)) is not None:
                    yield found.groupdict(), handler

    def _refusal(self, request: GraphRequest) -> GraphAnswer | None:
        if files.is_public(request.path):
            if request.token is not None:
                return error(401, "unauthenticated", "A pre-authenticated URL takes no Authorization header.")
        elif self.needs_token and not request.is_inner and not self.tokens.is_good(request.token):
            return error(401, "InvalidAuthenticationToken", "Access token has expired or is not valid.")
        return None

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.clone(client_max_size=_MOST_BYTES).read()
        if (found := _TOKEN_PATH.fullmatch(request.path)) is not None:
            answer = self.entra.give_token(found[1], dict(parse_qsl(body.decode())), url=f"{self.origin}{request.path}")
            return await send(request, answer)
        version, _, path = request.rel_url.raw_path.lstrip("/").partition("/")
        asked = GraphRequest(
            method=request.method,
            path=f"/{unquote(path)}",
            raw_query=request.rel_url.raw_query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
            version=version,
        )
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = await self.handle(asked)
            if seconds := answer.delay_seconds + self.rtt_seconds:
                await asyncio.sleep(seconds)
        except Exception as mistake:
            self._mistakes.append(mistake)
            raise
        finally:
            self.in_flight -= 1
        return await send(request, answer)


def _rooted(path: str) -> str:
    return f"/{path.lstrip('/')}"


async def send(request: web.BaseRequest, answer: GraphAnswer) -> web.StreamResponse:
    """
    Send an answer as far as it goes.

    :param request: of HTTP.
    """
    transport = request.transport
    if answer.reset:
        if transport is not None:
            transport.abort()
        return web.Response(status=500)
    data = answer.data
    headers = dict(answer.headers)
    if answer.body is not None and "Content-Type" not in headers:
        binary = isinstance(answer.body, bytes)
        headers["Content-Type"] = "application/octet-stream" if binary else "application/json; odata.metadata=minimal"
    if answer.cut_after is None:
        return web.Response(status=answer.status, body=data or None, headers=headers)
    response = web.StreamResponse(status=answer.status, headers=headers | {"Content-Length": str(len(data))})
    await response.prepare(request)
    await response.write(data[: answer.cut_after])
    if transport is not None:
        transport.abort()
    return response
