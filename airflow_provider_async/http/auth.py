# SPDX-License-Identifier: Apache-2.0
"""What proves to a server who asks: logins, keys, and whatever a caller's function makes."""

from __future__ import annotations

import base64
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeAlias

from airflow_provider_async.http.redaction import secret_headers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_async.http.options import HTTPOptions

__all__ = [
    "ApiKey",
    "Auth",
    "AuthFunction",
    "Basic",
    "Bearer",
    "CallableAuth",
    "PostForm",
    "auth_of",
    "basic_header",
    "given",
    "secrets_of",
]

#: Makes the headers of a request, without arguments.
AuthFunction: TypeAlias = Callable[[], "Mapping[str, str] | Awaitable[Mapping[str, str]]"]

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
        return self if self._token is not None else Bearer(given(password, "Bearer needs a token"))

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
        return ApiKey(given(password, "ApiKey needs a key"), header=self._header, query=self._query)

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


def basic_header(login: str, password: str) -> str:
    """Return the value of the header ``Authorization`` for a login with a password."""
    text = f"{login}:{password}"
    try:
        # As requests and aiohttp do; RFC 7617 leaves it open.
        encoded = text.encode("latin-1")
    except UnicodeEncodeError:
        encoded = text.encode()
    return f"Basic {base64.b64encode(encoded).decode('ascii')}"


def given(value: str | None, complaint: str, field: str = "password") -> str:
    """
    Return what neither code nor Connection may leave out.

    :param value: what was given.
    :param complaint: the beginning of the error's sentence.
    :param field: where in the Connection it could stand.
    :raises ValueError: if nothing was given.
    """
    if not value:
        raise ValueError(f"{complaint}: give it, or a {field} in the Connection")
    return value


def auth_of(options: HTTPOptions) -> Auth:
    """Return what proves who asks, by the options of a client."""
    if options.auth is not None:
        return options.auth.with_login(options.login, options.password)
    if options.login is not None:
        return Basic(options.login, options.password)
    return Auth()


def secrets_of(options: HTTPOptions, auth: Auth) -> list[str]:
    """Return what must stand in no error and no log."""
    return [*auth.secrets, *secret_headers(options.headers), *([options.password] if options.password else [])]
