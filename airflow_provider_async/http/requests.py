# SPDX-License-Identifier: Apache-2.0
"""What is asked for one page and what comes back: all that the client and the pagination know of each other."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote_plus, unquote_plus, urlsplit, urlunsplit

from airflow_provider_async.core.keys import hash_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_async.core.values import JSON

__all__ = ["PageRequest", "PageResponse", "redacted"]

#: Parameters whose values are nobody's business. The token of a page is none of them.
_SECRET = re.compile(
    r"(api|access|auth|subscription|private)?[_-]?(key|token|sig|signature)"
    r"|.*(secret|password|passwd|passphrase|credential|authorization|access[_-]?token|api[_-]?key|subscription[_-]?key"
    r"|security[_-]?token|signature)"
    r"|auth|jwt|code|assertion",
    re.IGNORECASE,
)

_MOST_CHARACTERS = 300


@dataclass(frozen=True, kw_only=True, repr=False)
class PageRequest:
    """
    What is asked for one page. What a run of pages has come to is said by its next request, and by nothing else.

    :param method: the HTTP method.
    :param url: absolute, or relative to the client's base URL; with or without a query. A link that a server gave
        stands here as it is, and is sent so.
    :param params: of the query, in addition to the URL's own.
    :param json: the body, if there is one.
    :param headers: in addition to the client's own.
    :param past_end: the statuses by which the server says that there is no such page any more.
    """

    method: str = "GET"
    url: str = ""
    params: tuple[tuple[str, str], ...] = ()
    json: JSON | None = None
    headers: Mapping[str, str] | None = None
    past_end: frozenset[int] = frozenset()

    def __str__(self) -> str:
        return f"{self.method} {redacted(self.url, self.params)}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self}>"

    @functools.cached_property
    def query(self) -> tuple[tuple[str, str], ...]:
        """The parameters, those in the URL included."""
        return (*_pairs(self.url.partition("#")[0].partition("?")[2]), *self.params)

    def param(self, name: str) -> str | None:
        """Return the value of a parameter, wherever it stands; ``None`` if there is none."""
        return next((value for given, value in self.query if given == name), None)

    def at_link(self, url: str) -> PageRequest:
        """Return this request for another URL, which has all its parameters itself."""
        # Not by replace(), which takes three times as long.
        return PageRequest(method=self.method, url=url, json=self.json, headers=self.headers, past_end=self.past_end)

    def with_params(self, params: Mapping[str, str | int]) -> PageRequest:
        """Return this request with other values for some parameters, each of which it then has once."""
        parts = urlsplit(self.url)
        if parts.query:
            kept = [one for one in parts.query.split("&") if unquote_plus(one.partition("=")[0]) not in params]
            parts = parts._replace(query="&".join(kept))
        others = [(name, value) for name, value in self.params if name not in params]
        added = [(name, str(value)) for name, value in params.items()]
        return replace(self, url=urlunsplit(parts), params=(*others, *added))

    @functools.cached_property
    def key(self) -> int:
        """What tells this request from others, whatever the order of its parameters, as 64 bits."""
        return self.key_at(self.url, self.params)

    def key_at(self, url: str, params: tuple[tuple[str, str], ...] = ()) -> int:
        """
        Return what :attr:`key` would be elsewhere.

        :param url: in place of this request's.
        :param params: likewise.
        """
        where, _, query = url.partition("#")[0].partition("?")
        text = f"{self.method} {where}"
        if query or params:
            text = f"{text}\n{sorted((*_pairs(query), *params))}"
        if self.json is not None:
            text = f"{text}\n{json.dumps(self.json, sort_keys=True)}"
        return hash_key(text)


@dataclass(frozen=True, kw_only=True)
class PageResponse:
    """
    What came back.

    :param url: of the page, after redirects.
    :param status: the HTTP status.
    :param headers: found whatever their case.
    :param body: decoded.
    :param excerpt: returns the beginning of the body, without secrets, for errors.
    """

    url: str
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: JSON = field(repr=False)
    excerpt: Callable[[], str] = field(default=str, repr=False, compare=False)


def redacted(url: str, params: Iterable[tuple[str, str]] = ()) -> str:
    """
    Return a URL to be shown: without login, fragment and the values of parameters that may be secret.

    :param url: with or without a query.
    :param params: of the query, in addition to the URL's own.
    """
    parts = urlsplit(url)
    query = [*parse_qsl(parts.query, keep_blank_values=True), *params]
    shown = "&".join(
        f"{quote_plus(name)}={'***' if _SECRET.fullmatch(name) else quote_plus(value)}" for name, value in query
    )
    host = parts.netloc.rpartition("@")[2]
    text = urlunsplit(parts._replace(netloc=host, query=shown, fragment=""))
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True) if query else []
