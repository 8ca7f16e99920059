# SPDX-License-Identifier: Apache-2.0
"""
What a Graph server is made of: requests, answers, routes, faults on demand, and who may ask.

Handlers know nothing of HTTP's wire, so that a batch can have its parts answered as if each had come alone.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl, unquote

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.msgraph.server_paging import Paging


@dataclass(frozen=True, kw_only=True)
class GraphRequest:
    """
    What Graph was asked.

    :param path: below the version, decoded, such as ``/users``.
    :param raw_query: as it came.
    :param headers: by name in small letters.
    :param at: when, in seconds of the event loop's clock.
    :param is_inner: whether it is a part of a batch.
    """

    method: str
    path: str
    raw_query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    version: str = "v1.0"
    at: float = 0.0
    is_inner: bool = False

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)

    @property
    def token(self) -> str | None:
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind == "Bearer" else None

    def __str__(self) -> str:
        return f"{self.method} {self.path}{'?' if self.raw_query else ''}{self.raw_query}"


@dataclass(frozen=True, kw_only=True)
class GraphAnswer:
    """
    What Graph answers.

    :param body: an object to be sent as JSON, or bytes; ``None`` for nothing.
    :param reset: the connection ends before any answer.
    :param cut_after: only so many bytes of the body are sent, and then the connection ends.
    :param delay_seconds: how long the answer takes.
    """

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    reset: bool = False
    cut_after: int | None = None
    delay_seconds: float = 0.0

    @property
    def data(self) -> bytes:
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


RESET = GraphAnswer(reset=True)


def error(
    status: int, code: str, message: str = "", *, headers: Mapping[str, str] | None = None, inner: object = None
) -> GraphAnswer:
    """Answer with an error as https://learn.microsoft.com/graph/errors has it."""
    body = {"error": {"code": code, "message": message or code, "innerError": inner or {}}}
    return GraphAnswer(status=status, body=body, headers=headers or {})


def throttled(retry_after: str | None = "0") -> GraphAnswer:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return error(429, "TooManyRequests", "Too many requests", headers=headers)


Handler: TypeAlias = "Callable[[GraphServer, GraphRequest, dict[str, str]], GraphAnswer | Awaitable[GraphAnswer]]"

NOT_FOUND = error(404, "Request_ResourceNotFound", "Resource does not exist")


class Routes:
    """The handlers of one part of Graph, in the order in which they are looked through."""

    def __init__(self) -> None:
        self.handlers: list[tuple[str, re.Pattern[str], Handler]] = []

    def on(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """
        Register a handler.

        :param path: with ``{name}`` for one segment and ``{name:path}`` for any number of them.
        """
        pattern = re.sub(r"\{(\w+):path\}", r"(?P<\1>.*)", path)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)

        def register(handler: Handler) -> Handler:
            self.handlers.append((method, re.compile(pattern), handler))
            return handler

        return register


class Tokens:
    """The tokens that Graph takes, and until when."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self.lifetime_seconds = 3600.0

    def issue(self) -> str:
        token = f"token-{next(self._numbers)}"
        self._until[token] = time.time() + self.lifetime_seconds
        return token

    def revoke(self) -> None:
        """Take no token any more that was given until now."""
        self._until.clear()

    def is_good(self, token: str | None) -> bool:
        return token is not None and self._until.get(token, 0.0) > time.time()


class GraphServer:
    """
    A Graph server on a free port of the loopback.

    :ivar seen: all requests, those inside of batches included, in the order in which they came.
    :ivar paging: how listings are cut into pages, and what is wrong with their links.
    :ivar data: what the parts of the server keep, by their names.
    :ivar most_in_flight: how many requests of HTTP were worked on at once, at the most.
    """

    def __init__(self, parts: Mapping[str, Routes], paging: Paging) -> None:
        self.seen: list[GraphRequest] = []
        self.tokens = Tokens()
        self.paging = paging
        self.data: dict[str, Any] = {}
        self.needs_token = True
        self.rtt_seconds = 0.0
        self.quota_used: Callable[[GraphRequest], float | None] = lambda _: None
        self.in_flight = 0
        self.most_in_flight = 0
        self.port = 0
        self.scheme = "http"
        self._handlers = [handler for routes in parts.values() for handler in routes.handlers]
        self._faults: dict[str, list[GraphAnswer | None]] = {}
        #: Errors of handlers: a test's own mistakes, which must not look like a fault that was asked for.
        self.mistakes: list[Exception] = []

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/v1.0"

    def fail(self, path: str, *answers: GraphAnswer | None) -> None:
        """Give these answers to the next requests for a path, ``None`` for the right one; ``*`` is any path."""
        self._faults.setdefault(path, []).extend(answers)

    def requests(self, path: str, method: str | None = None) -> list[GraphRequest]:
        return [one for one in self.seen if one.path == path and (method is None or one.method == method)]

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
        for method, pattern, handler in self._handlers:
            if method == request.method and (found := pattern.fullmatch(request.path)) is not None:
                if self.needs_token and not request.is_inner and not is_public(request.path):
                    if not self.tokens.is_good(request.token):
                        return error(401, "InvalidAuthenticationToken", "Access token has expired or is not valid.")
                elif request.token is not None and is_public(request.path):
                    return error(401, "unauthenticated", "A pre-authenticated URL takes no Authorization header.")
                answer = handler(self, request, found.groupdict())
                return answer if isinstance(answer, GraphAnswer) else await answer
        return NOT_FOUND

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer over HTTP."""
        version, _, path = request.rel_url.raw_path.lstrip("/").partition("/")
        asked = GraphRequest(
            method=request.method,
            path=f"/{unquote(path)}",
            raw_query=request.rel_url.raw_query_string,
            headers={name.lower(): value for name, value in request.headers.items()},
            # By default, aiohttp takes one megabyte.
            body=await request.clone(client_max_size=1 << 30).read(),
            version=version,
        )
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = await self.handle(asked)
            if seconds := answer.delay_seconds + self.rtt_seconds:
                await asyncio.sleep(seconds)
        except Exception as mistake:
            self.mistakes.append(mistake)
            raise
        finally:
            self.in_flight -= 1
        return await _send(request, answer)


#: Below this, whoever knows the URL may ask, and must not send a token.
PUBLIC = "/public/"


def is_public(path: str) -> bool:
    return path.startswith(PUBLIC)


async def _send(request: web.BaseRequest, answer: GraphAnswer) -> web.StreamResponse:
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
