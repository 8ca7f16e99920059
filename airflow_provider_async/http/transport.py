# SPDX-License-Identifier: Apache-2.0
"""One request and its redirects, each on the session of aiohttp that may make it."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from aiohttp import ClientTimeout, TCPConnector
from multidict import istr
from yarl import URL

from airflow_provider_async.errors import UnsafeURL
from airflow_provider_async.http.bodies import ACCEPTED_ENCODINGS
from airflow_provider_async.http.options import bypasses
from airflow_provider_async.http.origins import (
    PublicResolver,
    as_given,
    check_address,
    is_public_host,
    origin_of,
    safe_headers,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Mapping

    from aiohttp import ClientResponse
    from aiohttp.payload import Payload

    from airflow_provider_async.http.options import HTTPOptions
    from airflow_provider_async.http.origins import Origin, TrustedOrigins

__all__ = ["REDIRECTS", "Call", "Credentials", "Transport"]

#: RFC 9110, section 15.4, without 300 and 304, which name no other place.
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SEE_OTHER = 303
_MOVED = frozenset({301, 302})

#: So many connections are kept to hosts that links and redirects lead to.
_FOREIGN_CONNECTIONS = 16

#: Headers that belong to a body, and go with it when a redirect leaves it behind.
_BODY_HEADERS = frozenset({"content-length", "content-type"})


class Call(msgspec.Struct, eq=False):
    """
    A request as it is to be sent, again and again if need be.

    :param method: in capitals.
    :param url: absolute.
    :param headers: of the caller's own; the Connection's and the login are added for those who may have them.
    :param body: the bytes to be sent, or what makes a payload of aiohttp's.
    :param idempotent: whether sending it twice does no harm.
    :param checks_status: whether a status of 400 or above is an error.
    :param timeout: its bounds, if aiohttp keeps them: those of a request whose answer is read as a whole are kept by
        :class:`~airflow_provider_async.http.watch.Watch`.
    :param chosen: without a base URL, the origin that the caller has chosen, which may have the login.
    :param is_anonymous: whether it has neither the Connection's headers nor its login.
    :param is_home: whether the URL was appended to the Connection's, so that nobody need ask where it leads.
    :param linked_from: if a server's answer said to ask this: where that came from.
    :param credentials: what the last attempt had.
    """

    method: str
    url: URL
    headers: Mapping[str, str] | None
    body: bytes | Callable[[], Payload] | None
    idempotent: bool
    checks_status: bool = True
    timeout: ClientTimeout | None = None
    is_anonymous: bool = False
    chosen: Origin | None = None
    is_home: bool = False
    linked_from: URL | None = None
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    What only trusted origins get.

    :param headers: the Connection's and those of the login.
    :param query: parameters of the login.
    :param has_login: whether any of it proves who asks.
    :param made: what the login gave.
    """

    headers: Mapping[str, str]
    query: Mapping[str, str]
    has_login: bool
    made: Mapping[str, str]


@dataclass(slots=True)
class _Hop:
    """A request as it is sent to one of the URLs that redirects lead through."""

    method: str
    url: URL
    headers: Mapping[str, str] | None
    body: bytes | Callable[[], Payload] | None
    session: aiohttp.ClientSession
    trusted: bool

    def redirect(self, target: URL, status: int) -> None:
        """Become the request that a redirect asks for (RFC 9110, section 15.4, as browsers read it)."""
        self.url = target
        if (status == _SEE_OTHER and self.method != "HEAD") or (status in _MOVED and self.method == "POST"):
            self.method, self.body = "GET", None
            kept = (self.headers or {}).items()
            self.headers = {name: value for name, value in kept if name.lower() not in _BODY_HEADERS}


class Transport:
    """
    A session of aiohttp for a Connection's server, and others for where links and redirects lead.

    :param options: of the client.
    :param tls: what TLS connections are made with.
    :param trusted: who may have the Connection's headers and its login.
    """

    def __init__(self, options: HTTPOptions, tls: ssl.SSLContext | bool, trusted: TrustedOrigins) -> None:  # noqa: FBT001
        self._options = options
        self._tls = tls
        self._trusted = trusted
        self._timeout = ClientTimeout(total=None, sock_connect=options.connect_seconds)
        self._proxies: dict[Origin, URL | None] = {}
        self._has_proxies = bool(options.proxies) or (options.trust_env and bool(urllib.request.getproxies()))
        self._public: dict[str, bool] = {}
        self._home = self._session(TCPConnector(limit=0, ssl=self._tls))
        self._foreign: dict[bool, aiohttp.ClientSession] = {}

    @classmethod
    async def open(cls, options: HTTPOptions, tls: ssl.SSLContext | bool, trusted: TrustedOrigins) -> Transport:  # noqa: FBT001
        """Make one; connections are opened when they are needed."""
        return cls(options, tls, trusted)

    def is_usable(self) -> bool:
        """Tell whether it was not closed."""
        return not self._home.closed

    async def close(self) -> None:
        """Close all connections."""
        await self._home.close()
        for session in self._foreign.values():
            await session.close()

    def send(self, call: Call, credentials: Credentials) -> Awaitable[ClientResponse]:
        """
        Send a request; the body of the answer is still to be read, and a redirect to be followed with :meth:`follow`.

        :raises UnsafeURL: if a link leads where it must not.
        :raises aiohttp.ClientError: if there is no answer.
        """
        if self._is_trusted(call):
            return self._ask(self._home, call, call.method, call.url, call.headers, call.body, credentials)
        return self._send_elsewhere(call, credentials)

    async def _send_elsewhere(self, call: Call, credentials: Credentials) -> ClientResponse:
        session, headers = await self._way(call, credentials)
        return await self._ask(session, call, call.method, call.url, headers, call.body, None)

    def _is_trusted(self, call: Call) -> bool:
        return call.is_home or self._trusted.is_trusted(call.url, call.chosen)

    async def _way(
        self, call: Call, credentials: Credentials
    ) -> tuple[aiohttp.ClientSession, Mapping[str, str] | None]:
        """Return the session and the headers of a request."""
        if call.linked_from is None or self._is_trusted(call):
            return self._home, call.headers
        return await self._lead(call.linked_from, call.url, call.headers, credentials)

    async def follow(self, response: ClientResponse, call: Call, credentials: Credentials) -> ClientResponse:
        """
        Follow the redirects that an answer begins, if the options say so.

        :raises UnsafeURL: if one leads where it must not.
        :raises aiohttp.ClientError: if there is no answer.
        """
        if not self._options.follows_redirects:
            return response
        session, headers = await self._way(call, credentials)
        hop = _Hop(call.method, call.url, headers, call.body, session, trusted=self._is_trusted(call))
        for _ in range(self._options.max_redirects):
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or location is None:
                return response
            response.release()
            source, target = hop.url, _target(hop.url, location)
            if origin_of(target) != origin_of(source):
                # Whoever has led away does not lead back with a login.
                hop.trusted = hop.trusted and self._trusted.is_trusted(target, call.chosen)
                _check_scheme(source, target, credentials)
                if not hop.trusted:
                    hop.session, hop.headers = await self._lead(source, target, hop.headers, credentials)
            hop.redirect(target, response.status)
            allowed = credentials if hop.trusted else None
            response = await self._ask(hop.session, call, hop.method, hop.url, hop.headers, hop.body, allowed)
        if response.status in REDIRECTS and "Location" in response.headers:
            response.release()
            raise UnsafeURL(f"more than {self._options.max_redirects} redirects, one after the other")
        return response

    def _ask(  # noqa: PLR0917 - options would cost more than all of this
        self,
        session: aiohttp.ClientSession,
        call: Call,
        method: str,
        url: URL,
        headers: Mapping[str, str] | None,
        body: bytes | Callable[[], Payload] | None,
        credentials: Credentials | None,
    ) -> Awaitable[ClientResponse]:
        proxy = self._proxy_for(url) if self._has_proxies else None
        if credentials is not None:
            headers = {**credentials.headers, **headers} if headers else credentials.headers
            if credentials.query:
                url = url.update_query(credentials.query)
        return session.request(
            method,
            url,
            headers=headers or None,
            data=body() if callable(body) else body,
            allow_redirects=False,
            timeout=call.timeout or self._timeout,
            proxy=proxy,
        )

    async def _lead(
        self, source: URL, target: URL, headers: Mapping[str, str] | None, credentials: Credentials
    ) -> tuple[aiohttp.ClientSession, Mapping[str, str] | None]:
        """Return the session and the headers for where an answer leads: to another origin, which is not trusted."""
        _check_scheme(source, target, credentials)
        return await self._check_link(source, target), safe_headers(headers or {})

    async def _check_link(self, source: URL, target: URL) -> aiohttp.ClientSession:
        """Return the session for where a server's answer leads, if it may lead there."""
        host = source.host or ""
        if host not in self._public:
            self._public[host] = await is_public_host(host)
        guarded = self._public[host]
        if guarded:
            check_address(target)
            # Behind a proxy, names are looked up there.
            guarded = not (self._has_proxies and self._proxy_for(target) is not None)
        if guarded not in self._foreign:
            resolver = PublicResolver() if guarded else None
            connector = TCPConnector(limit=_FOREIGN_CONNECTIONS, ssl=self._tls, resolver=resolver)
            self._foreign[guarded] = self._session(connector)
        return self._foreign[guarded]

    def _session(self, connector: TCPConnector) -> aiohttp.ClientSession:
        usual = aiohttp.ClientRequest.DEFAULT_HEADERS.get(istr("Accept-Encoding"))
        return aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            # What aiohttp knows to decode depends on what is installed. A header that is given costs 3 µs a request.
            headers=None if usual == ACCEPTED_ENCODINGS else {"Accept-Encoding": ACCEPTED_ENCODINGS},
        )

    def _proxy_for(self, url: URL) -> URL | None:
        origin = origin_of(url)
        if origin not in self._proxies:
            self._proxies[origin] = self._find_proxy(url)
        return self._proxies[origin]

    def _find_proxy(self, url: URL) -> URL | None:
        host = url.host or ""
        if bypasses(self._options.proxies, f"{host}:{url.port}"):
            return None
        # In the order of requests.
        for name in (f"{url.scheme}://{host}", url.scheme, f"all://{host}", "all"):
            if name in self._options.proxies:
                return URL(self._options.proxies[name])
        if not self._options.trust_env or urllib.request.proxy_bypass(f"{host}:{url.port}"):
            return None
        found = urllib.request.getproxies()
        proxy = found.get(url.scheme) or found.get("all")
        return None if proxy is None else URL(proxy if "://" in proxy else f"http://{proxy}")


def _check_scheme(source: URL, target: URL, credentials: Credentials) -> None:
    if source.scheme == "https" and target.scheme == "http" and credentials.has_login:
        raise UnsafeURL(f"an answer from {source.host} leads from https to http, with a login")


def _target(url: URL, location: str) -> URL:
    try:
        given = as_given(location)
        target = url.join(given)
    except ValueError:
        raise UnsafeURL("a redirect leads to what is no URL") from None
    if target.scheme not in ("http", "https") or not (given if given.scheme else target).host:
        raise UnsafeURL(f"a redirect leads to a URL of {target.scheme!r}")
    # A login in a redirect would be the server's choice of who we are.
    return target.with_user(None).with_fragment(None)
