# SPDX-License-Identifier: Apache-2.0
"""Tokens that expire: one at a time, replaced ahead of that by one request alone."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from airflow_provider_async.errors import InvalidBody
from airflow_provider_async.http.auth import Auth, basic_header, given

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_async.http.auth import PostForm

__all__ = ["ExpiringToken", "OAuth2ClientCredentials"]

#: A token is replaced so long before it expires, or a tenth of its lifetime, whichever is shorter.
_MARGIN_SECONDS = 60.0
_MARGIN = 0.1


class ExpiringToken(Auth):
    """
    A token that is asked for when the first request needs it and again shortly before it expires.

    One request alone asks while the others go on with the old one. A token that a server refuses is replaced once.

    :param margin_seconds: so long before it expires, or a tenth of its lifetime before, whichever is shorter.
    :param clock: seconds that only grow.
    """

    def __init__(self, *, margin_seconds: float = _MARGIN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._margin_seconds = margin_seconds
        self._clock = clock
        self._token = ""
        self._headers: Mapping[str, str] | None = None
        self._refresh_at = float("inf")
        self._expires_at = float("inf")
        self._refreshing: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @abstractmethod
    async def obtain(self, post: PostForm) -> tuple[str, float | None]:
        """
        Ask for a token.

        :param post: sends a form to whoever gives tokens.
        :return: the token, and how many seconds from now it is good for, if that is known.
        """

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
        """The token of this moment."""
        return (self._token,)

    def _lock(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._refreshing is None or self._loop is not loop:
            self._refreshing, self._loop = asyncio.Lock(), loop
        return self._refreshing

    async def _renew(self, post: PostForm) -> Mapping[str, str]:
        asked_at = self._clock()
        self._token, lifetime = await self.obtain(post)
        self._expires_at = self._refresh_at = float("inf")
        if lifetime is not None:
            self._expires_at = asked_at + lifetime
            self._refresh_at = self._expires_at - min(self._margin_seconds, lifetime * _MARGIN)
        self._headers = {"Authorization": f"Bearer {self._token}"}
        return self._headers


class OAuth2ClientCredentials(ExpiringToken):
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
        super().__init__(clock=clock)
        if credentials_in not in ("header", "body"):
            raise ValueError(f"credentials_in must be 'header' or 'body', not {credentials_in!r}")
        self._token_url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._scope = scope
        self._parameters = dict(parameters or {})
        self._credentials_in = credentials_in

    def with_login(self, login: str | None, password: str | None) -> Auth:
        """Return the same with the login and the password of the Connection as id and secret, if it has none."""
        if self._client_id is not None and self._client_secret is not None:
            return self
        return OAuth2ClientCredentials(
            self._token_url,
            client_id=self._client_id or given(login, "OAuth2ClientCredentials needs a client_id", "login"),
            client_secret=self._client_secret or given(password, "OAuth2ClientCredentials needs a client_secret"),
            scope=self._scope,
            parameters=self._parameters,
            credentials_in=self._credentials_in,
            clock=self._clock,
        )

    async def obtain(self, post: PostForm) -> tuple[str, float | None]:
        """Ask with the id and the secret."""
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
        answer = await post(self._token_url, form, headers)
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise InvalidBody(f"{self._token_url} answered without an access_token")
        return token, _seconds(answer.get("expires_in"))

    @property
    def secrets(self) -> Iterable[str]:
        """The secret, and the token of this moment."""
        return (self._client_secret or "", self._token)


def _seconds(value: object) -> float | None:
    # Some servers send a text.
    try:
        seconds = float(value) if isinstance(value, (int, float, str)) else -1.0
    except ValueError:
        return None
    return seconds if seconds > 0 else None
