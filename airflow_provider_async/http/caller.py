# SPDX-License-Identifier: Apache-2.0
"""What a caller asks for, as requests; and their answers, read as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec
from multidict import istr
from yarl import URL

from airflow_provider_async.http import policy
from airflow_provider_async.http.bodies import read_body
from airflow_provider_async.http.origins import append, as_given, link_of, origin_of
from airflow_provider_async.http.requests import PageResponse
from airflow_provider_async.http.response import Response
from airflow_provider_async.http.sender import FORM, Sender
from airflow_provider_async.http.transport import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import ClientResponse

    from airflow_provider_async.core.lease import Lease
    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.options import HTTPOptions
    from airflow_provider_async.http.requests import PageRequest
    from airflow_provider_async.http.transport import Transport
    from airflow_provider_async.http.values import Check, Params, Scalar

__all__ = ["Caller"]

_CONTENT_ENCODING = istr("Content-Encoding")

#: How what is appended to the base URL begins, if it is no path.
_NO_PATH = frozenset({"", "?"})


class Caller(Sender):
    """
    Makes requests of what callers give, and sends them.

    :param options: what the Connection and the caller say.
    :param lease: lends a transport for one request.
    :param retry: the policy.
    :param check: sees each answer of success and raises what is wrong with it.
    """

    def __init__(
        self,
        options: HTTPOptions,
        lease: Callable[[], Lease[Transport, Transport]],
        *,
        retry: Retry | None = None,
        check: Check | None = None,
    ) -> None:
        super().__init__(options, lease, retry=retry)
        self._base = None if options.base_url is None else URL(options.base_url)
        self._prefix = "" if self._base is None else f"{str(self._base).rstrip('/')}/"
        self._check = check

    def call(
        self,
        method: str,
        url: str | URL,
        *,
        params: Params | None = None,
        json: object = None,
        data: bytes | str | Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
    ) -> Call:
        """
        Make a request of what :meth:`HTTPClient.request` is given, without sending it.

        :param url: as there, or an absolute one to be sent as it is.
        :raises ValueError: if it makes no sense.
        """
        base = self._base
        body: bytes | None = None
        is_home = False
        if isinstance(url, URL):
            target = url
        elif base is not None and "://" not in url and url[:1] not in _NO_PATH and url[:2] != "//":
            # Most are paths.
            target, is_home = URL(self._prefix + url.removeprefix("/")), True
        else:
            target = append(base, url)
        if params:
            target = target.update_query(_query(params))
        if json is not None or data is not None:
            body, content_type = _body(json, data)
            if content_type is not None:
                headers = {"Content-Type": content_type, **(headers or {})}
        method = method.upper()
        return Call(
            method,
            target,
            headers,
            body,
            method in policy.IDEMPOTENT_METHODS if idempotent is None else idempotent,
            self.options.checks_status,
            is_home=is_home,
            chosen=origin_of(target) if base is None else None,
        )

    @staticmethod
    def query(params: Params | None) -> tuple[tuple[str, str], ...]:
        """Return parameters as they stand in a URL."""
        return tuple(_query(params)) if params else ()

    def page_fetcher(self, first: PageRequest) -> Callable[[PageRequest], Awaitable[PageResponse]]:
        """
        Return what fetches the pages of a listing.

        :param first: the request for the first page. Links that lead to another origin get neither the login nor
            headers that could be one.
        """
        begun_at = append(self._base, first.url)
        origin = origin_of(begun_at)
        home = f"{(self._base or begun_at).origin()}/"

        def call_of(page: PageRequest) -> Call:
            is_link = page.url != first.url and "://" in page.url
            # Most links lead to where the login belongs, and nothing more needs to be looked up for that.
            is_home = is_link and page.url.startswith(home)
            url: str | URL = page.url
            if is_link and not page.params:
                url = as_given(page.url) if is_home else link_of(page.url)
            call = self.call(
                page.method, url, params=page.params, json=page.json, headers=page.headers, idempotent=True
            )
            if is_link:
                call.chosen = None if self._base is not None else origin
                call.is_home = is_home
                if not is_home and origin_of(call.url) != origin:
                    call.linked_from = begun_at
            return call

        async def fetch(page: PageRequest) -> PageResponse:
            call = call_of(page)
            call.checks_status = True
            response = await self.send(call)
            body = response.json()
            return PageResponse(
                url=response.url,
                status=response.status,
                headers=response.headers,
                body=body,
                excerpt=partial(self._excerpt, body),
            )

        return fetch

    def _excerpt(self, body: JSON) -> str:
        # As it was decoded: the bytes that came are not kept beside it.
        return self.redactor.excerpt(msgspec.json.encode(body))

    def send(self, call: Call, *, retry: Retry | None = None, check: Check | None = None) -> Awaitable[Response]:
        """
        Send a request and read its answer as a whole.

        :param call: the request.
        :param retry: another policy.
        :param check: another check.
        """
        return self.run(call, self.read if check is None else partial(self.read, check=check), retry=retry)

    async def read(
        self, response: ClientResponse, *, check: Check | None = None, tally: Tally | None = None
    ) -> Response:
        """
        Read an answer as a whole.

        :param response: as it has begun.
        :param check: another check.
        :param tally: counts bytes.
        """
        length, headers = response.content_length, response.headers
        if length is not None and length <= self.options.max_body_bytes and _CONTENT_ENCODING not in headers:
            content = response.content
            # A small one has come with its head, and aiohttp's coroutines would cost a tenth of the request.
            body = content.read_nowait() if content.is_eof() else await response.read()
        else:
            body = await read_body(response, self.options.max_body_bytes)
        url, login = response.url, self._auth.query
        if login:
            url = url.with_query([pair for pair in url.query.items() if pair[0] not in login])
        answer = Response(response.status, headers, url, body, self.redactor)
        if (check := check or self._check) is not None:
            check(answer)
        if tally is not None:
            tally.bytes += len(body)
        return answer


def _query(params: Params) -> list[tuple[str, str]]:
    pairs = params.items() if isinstance(params, Mapping) else params
    return [(name, _text(value)) for name, value in pairs if value is not None]


def _text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _body(json: object, data: bytes | str | Mapping[str, str] | None) -> tuple[bytes, str | None]:
    if json is not None:
        if data is not None:
            raise ValueError("json and data are both given; give one of them")
        return msgspec.json.encode(json), "application/json"
    if isinstance(data, bytes):
        return data, None
    if isinstance(data, str):
        return data.encode(), "text/plain; charset=utf-8"
    return urlencode(data or {}).encode(), FORM
