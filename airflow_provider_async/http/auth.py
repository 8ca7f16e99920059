# SPDX-License-Identifier: Apache-2.0
"""What proves to a server who asks: logins, tokens, keys, and whatever a caller's function makes."""

from __future__ import annotations

import asyncio
import base64
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias
from urllib.parse import quote_plus

from airflow_provider_async.errors import InvalidBody

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ApiKey",
    "Auth",
    "AuthFunction",
    "Basic",
    "Bearer",
    "CallableAuth",
    "OAuth2ClientCredentials",
    "PostForm",
    "basic_header",
]

#: Makes the headers of a request, without arguments.
AuthFunction: TypeAlias = Callable[[], "Mapping[str, str] | Awaitable[Mapping[str, str]]"]

#: A token is replaced so long before it expires, or a tenth of its lifetime, whichever is shorter.
_MARGIN_SECONDS = 60.0
_MARGIN = 0.1

_NOTHING: Mapping[str, str] = {}


class PostForm(Protocol):
    """Sends a form and returns the decoded JSON of the answer; it brings no authorisation of its own."""

    def __call__(
        self, url: str, form: Mapping[str, str], headers: Mapping[str, str], /
    ) -> Awaitable[Mapping[str, object]]:
        """Send a form."""


class Auth:
    """
    Base class of what proves to a server who asks. One object may serve several pools, one after the other.

    Most need no more than :meth:`ready`; what has to be fetched first returns ``None`` there.
    """

    def with_login(self, login: str | None, password: str | None) -> Auth:  # noqa: ARG002 - for those who need one
        """
        Return the same with what is missing taken from a Connection.

        :param login: the Connection's login.
        :param password: the Connection's password.
        """
        return self

    def ready(self) -> Mapping[str, str] | None:
        """
        Return the headers for a request, or ``None`` if they have to be fetched.

        As long as they are the same, it should be the same object.
        """
        return _NOTHING

    async def fetch(self, post: PostForm) -> Mapping[str, str]:  # noqa: ARG002 - for those who need it
        """
        Fetch the headers for a request.

        :param post: sends a form to whoever gives tokens.
        """
        return self.ready() or _NOTHING

    def refused(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002 - for those who can do better
        """
        Tell whether a request that was answered with 401 is worth another attempt, with other headers.

        :param headers: what this gave for the request.
        """
        return False

    @property
    def query(self) -> Mapping[str, str]:
        """What is added to the query of each URL."""
        return _NOTHING

    @property
    def secrets(self) -> Iterable[str]:
        """What must not stand in any message."""
        return ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"


class Basic(Auth):
    """
    A login with a password (RFC 7617).

    :param login: the user's name; by default the Connection's login.
    :param password: the user's password; by default the Connection's.
    """

    def __init__(self, login: str | None = None, password: str | None = None) -> None:
        self._login = login
        self._password = password
        self._headers = {"Authorization": basic_header(login or "", password or "")}

    def with_login(self, login: str | None, password: str | None) -> Auth:
        """Return the same with the login and the password of the Connection, if it has none of its own."""
        return self if self._login is not None else Basic(login or "", password)

    def ready(self) -> Mapping[str, str]:
        """Return the header."""
        return self._headers

    @property
    def secrets(self) -> Iterable[str]:
        """The password, as it is and as it is sent."""
        return (self._password or "", self._headers["Authorization"].partition(" ")[2])


class Bearer(Auth):
    """
    A token that does not change (RFC 6750).

    :param token: by default the Connection's password.
    """

    def __init__(self, token: str | None = None) -> None:
        self._token = token
        self._headers = {"Authorization": f"Bearer {token}"}

    def with_login(self, login: str | None, password: str | None) -> Auth:  # noqa: ARG002 - the login says nothing
        """Return the same with the password of the Connection as its token, if it has none of its own."""
        return self if self._token is not None else Bearer(_given(password, "Bearer needs a token"))

    def ready(self) -> Mapping[str, str]:
        """Return the header."""
        return self._headers

    @property
    def secrets(self) -> Iterable[str]:
        """The token."""
        return (self._token or "",)


class ApiKey(Auth):
    """
    A key in a header or in the query; one of the two is given.

    :param key: by default the Connection's password.
    :param header: the header's name, such as ``X-API-Key``.
    :param query: the parameter's name, such as ``api_key``.
    """

    def __init__(self, key: str | None = None, *, header: str | None = None, query: str | None = None) -> None:
        if (header is None) == (query is None):
            raise ValueError("ApiKey needs either header=... or query=..., the name under which the key is sent")
        self._key = key
        self._header = header
        self._query = query
        self._headers = {header: key or ""} if header else _NOTHING
        self._parameters = {query: key or ""} if query else _NOTHING

    def with_login(self, login: str | None, password: str | None) -> Auth:  # noqa: ARG002 - the login says nothing
        """Return the same with the password of the Connection as its key, if it has none of its own."""
        if self._key is not None:
            return self
        return ApiKey(_given(password, "ApiKey needs a key"), header=self._header, query=self._query)

    def ready(self) -> Mapping[str, str]:
        """Return the header, if that is where the key goes."""
        return self._headers

    @property
    def query(self) -> Mapping[str, str]:
        """The parameter, if that is where the key goes."""
        return self._parameters

    @property
    def secrets(self) -> Iterable[str]:
        """The key."""
        return (self._key or "",)


class CallableAuth(Auth):
    """
    Headers made by a function for each request.

    :param function: called without arguments; async or not.
    """

    def __init__(self, function: AuthFunction) -> None:
        self._function = function
        self._secrets: tuple[str, ...] = ()

    def ready(self) -> Mapping[str, str] | None:
        """Return nothing: the function is asked each time."""
        return None

    async def fetch(self, post: PostForm) -> Mapping[str, str]:  # noqa: ARG002 - the function knows where to ask
        """Ask the function."""
        made = self._function()
        headers = await made if inspect.isawaitable(made) else made
        # "Bearer x" is secret for its x.
        self._secrets = tuple(value.rpartition(" ")[2] for value in headers.values())
        return headers

    @property
    def secrets(self) -> Iterable[str]:
        """What the function made last."""
        return self._secrets


class OAuth2ClientCredentials(Auth):
    """
    A token that is asked for with an id and a secret (RFC 6749, section 4.4).

    It is asked for when the first request needs it and again shortly before it expires, by one request alone while the
    others go on with the old one; and once when a server refuses it.

    :param token_url: where tokens are given.
    :param client_id: by default the Connection's login.
    :param client_secret: by default the Connection's password.
    :param scope: what the token is for; several are separated by blanks.
    :param parameters: further fields of the form, such as ``audience`` or ``resource``.
    :param credentials_in: where id and secret are sent: in the ``header``, as the standard prefers, or in the ``body``.
    :param clock: seconds that only grow.
    """

    def __init__(
        self,
        token_url: str,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        scope: str | None = None,
        parameters: Mapping[str, str] | None = None,
        credentials_in: str = "header",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if credentials_in not in ("header", "body"):
            raise ValueError(f"credentials_in must be 'header' or 'body', not {credentials_in!r}")
        self._token_url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = scope
        self._parameters = dict(parameters or {})
        self._credentials_in = credentials_in
        self._clock = clock
        self._token = ""
        self._headers: Mapping[str, str] | None = None
        self._refresh_at = float("inf")
        self._expires_at = float("inf")
        self._refreshing: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def with_login(self, login: str | None, password: str | None) -> Auth:
        """Return the same with the login and the password of the Connection as id and secret, if it has none."""
        if self._client_id is not None and self._client_secret is not None:
            return self
        return OAuth2ClientCredentials(
            self._token_url,
            client_id=self._client_id or _given(login, "OAuth2ClientCredentials needs a client_id", "login"),
            client_secret=self._client_secret or _given(password, "OAuth2ClientCredentials needs a client_secret"),
            scope=self._scope,
            parameters=self._parameters,
            credentials_in=self._credentials_in,
            clock=self._clock,
        )

    def ready(self) -> Mapping[str, str] | None:
        """Return the header with the token, unless there is none or it has to be replaced, and nobody does so yet."""
        now = self._clock()
        if now < self._refresh_at or (now < self._expires_at and self._lock().locked()):
            return self._headers
        return None

    async def fetch(self, post: PostForm) -> Mapping[str, str]:
        """Ask for a token, unless another caller just has; the others wait for that."""
        async with self._lock():
            if (headers := self._headers) is not None and self._clock() < self._refresh_at:
                return headers
            try:
                return await self._renew(post)
            except Exception:
                # Whoever gives tokens has time until the old one expires.
                now = self._clock()
                if headers is None or now >= self._expires_at:
                    raise
                self._refresh_at = min(self._expires_at, now + (self._expires_at - now) / 2)
                return headers

    def refused(self, headers: Mapping[str, str]) -> bool:
        """Give up the token, unless it was replaced meanwhile; another attempt then has a new one."""
        if headers is self._headers:
            self._headers = None
        return True

    @property
    def secrets(self) -> Iterable[str]:
        """The secret, and the token of this moment."""
        return (self._client_secret or "", self._token)

    def _lock(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._refreshing is None or self._loop is not loop:
            self._refreshing, self._loop = asyncio.Lock(), loop
        return self._refreshing

    async def _renew(self, post: PostForm) -> Mapping[str, str]:
        form = {"grant_type": "client_credentials", **self._parameters}
        if self._scope is not None:
            form["scope"] = self._scope
        headers = {}
        client_id, secret = self._client_id or "", self._client_secret or ""
        if self._credentials_in == "body":
            form |= {"client_id": client_id, "client_secret": secret}
        else:
            # RFC 6749, section 2.3.1: encoded as in a form before they are joined.
            headers["Authorization"] = basic_header(quote_plus(client_id), quote_plus(secret))
        asked_at = self._clock()
        answer = await post(self._token_url, form, headers)
        token, seconds = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or not token:
            raise InvalidBody(f"{self._token_url} answered without an access_token")
        self._token = token
        self._expires_at = self._refresh_at = float("inf")
        if (lifetime := _seconds(seconds)) is not None:
            self._expires_at = asked_at + lifetime
            self._refresh_at = self._expires_at - min(_MARGIN_SECONDS, lifetime * _MARGIN)
        self._headers = {"Authorization": f"Bearer {token}"}
        return self._headers


def basic_header(login: str, password: str) -> str:
    """Return the value of the header ``Authorization`` for a login with a password."""
    text = f"{login}:{password}"
    try:
        # As requests and aiohttp do; RFC 7617 leaves it open.
        encoded = text.encode("latin-1")
    except UnicodeEncodeError:
        encoded = text.encode()
    return f"Basic {base64.b64encode(encoded).decode('ascii')}"


def _seconds(value: object) -> float | None:
    # Some servers send a text.
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) else -1.0
    except ValueError:
        return None
    return seconds if seconds > 0 else None


def _given(value: str | None, complaint: str, field: str = "password") -> str:
    if not value:
        raise ValueError(f"{complaint}: give it, or a {field} in the Connection")
    return value
