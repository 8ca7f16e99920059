# SPDX-License-Identifier: Apache-2.0
"""
What a Graph server is asked and what it answers.

Neither knows of HTTP's wire, so that a batch can have its parts answered as if each had come alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from airflow_provider_async.testing.msgraph.server import GraphServer

__all__ = ["NOT_FOUND", "RESET", "GraphAnswer", "GraphRequest", "Handler", "Routes", "Row", "error", "throttled"]

#: An object of Graph.
Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class GraphRequest:
    """
    What Graph was asked.

    :param method: in capitals.
    :param path: below the version, decoded, such as ``/users``.
    :param raw_query: as it came.
    :param headers: by name in small letters.
    :param body: its bytes.
    :param version: such as ``v1.0``.
    :param at: when it came, in seconds of the event loop's clock.
    :param is_inner: whether it is a part of a batch.
    :param names: what stands in the path where a route has a name.
    """

    method: str
    path: str
    raw_query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    version: str = "v1.0"
    at: float = 0.0
    is_inner: bool = False
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def query(self) -> dict[str, str]:
        """The parameters, such as ``$top``."""
        return dict(parse_qsl(self.raw_query, keep_blank_values=True))

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def token(self) -> str | None:
        """What proves who asks."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token if kind == "Bearer" else None

    def __str__(self) -> str:
        return f"{self.method} {self.path}{'?' if self.raw_query else ''}{self.raw_query}"


@dataclass(frozen=True, kw_only=True)
class GraphAnswer:
    """
    What Graph answers, and how it fails at that.

    :param status: such as 404.
    :param body: an object to be sent as JSON, or bytes; ``None`` for nothing.
    :param headers: in addition to those that Graph always sends, or in their place.
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
        """The body's bytes."""
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


#: The connection ends before any answer.
RESET = GraphAnswer(reset=True)


def error(
    status: int, code: str, message: str = "", *, headers: Mapping[str, str] | None = None, inner: object = None
) -> GraphAnswer:
    """
    Return an answer with an error, as https://learn.microsoft.com/graph/errors has it.

    :param status: of HTTP.
    :param code: Graph's own, such as ``ErrorItemNotFound``.
    :param message: for people; by default the code.
    :param headers: such as ``Retry-After``.
    :param inner: what the error has as ``innerError``.
    """
    body = {"error": {"code": code, "message": message or code, "innerError": inner or {}}}
    return GraphAnswer(status=status, body=body, headers=headers or {})


def throttled(retry_after: str | None = "0") -> GraphAnswer:
    """
    Return an answer that asks for patience: https://learn.microsoft.com/graph/throttling.

    :param retry_after: seconds, or a date; ``None`` if it does not say for how long.
    """
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return error(429, "TooManyRequests", "Too many requests", headers=headers)


NOT_FOUND = error(404, "Request_ResourceNotFound", "Resource does not exist")

#: Answers a request.
Handler: TypeAlias = "Callable[[GraphServer, GraphRequest], GraphAnswer | Awaitable[GraphAnswer]]"


class Routes:
    """The handlers of one part of Graph, in the order in which they are looked through."""

    def __init__(self) -> None:
        self.handlers: list[tuple[str, re.Pattern[str], Handler]] = []

    def on(self, method: str, path: str) -> Callable[[Handler], Handler]:
        """
        Register a handler.

        :param method: in capitals.
        :param path: a regular expression, with ``{name}`` for one segment and ``{name:path}`` for any number of them.
        """
        pattern = re.sub(r"\{(\w+):path\}", r"(?P<\1>.*)", path)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)

        def register(handler: Handler) -> Handler:
            self.handlers.append((method, re.compile(pattern), handler))
            return handler

        return register
