# SPDX-License-Identifier: Apache-2.0
"""A connection to a server, up to and with the login: aiosmtplib's work, with one TLS context and one name for all."""

from __future__ import annotations

import asyncio
import base64
import inspect
import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import aiosmtplib

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import InvalidConnection

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_async.smtp.options import SMTPOptions

__all__ = ["Connecting", "TokenFunction", "connect_retry"]

#: Returns a token for XOAUTH2; asked at each login, so it keeps a token for as long as it is valid.
TokenFunction: TypeAlias = "Callable[[], str | Awaitable[str]]"

_CONTINUE = 334
_ACCEPTED = 235
_PERMANENT = 500

_MICROSOFT = "https://login.microsoftonline.com"


def connect_retry(retry: Retry | None) -> Retry:
    """Return a policy for connecting: an answer of 4xx may be another one the next time, one of 5xx will not."""
    policy = retry or Retry()

    def is_worth_it(error: BaseException) -> bool:
        if isinstance(error, aiosmtplib.SMTPResponseException):
            return error.code < _PERMANENT
        # aiosmtplib says of whatever goes wrong that no connection was made.
        if isinstance(error, ssl.SSLCertVerificationError) or isinstance(error.__cause__, ssl.SSLCertVerificationError):
            return False
        return policy.is_transient(error)

    return replace(policy, is_transient=is_worth_it)


class Connecting:
    """
    Opens connections, all in the same way.

    :param options: of the Connection.
    :param tls: what to encrypt with.
    :param token: instead of the Connection's token.
    """

    def __init__(self, options: SMTPOptions, tls: ssl.SSLContext | None, token: TokenFunction | None = None) -> None:
        self._options = options
        self._tls = tls
        self._token = token or _token_function(options)
        self._hostname = options.local_hostname
        self._naming = asyncio.Lock()

    async def __call__(self) -> aiosmtplib.SMTP:
        """
        Connect, encrypt, and log in.

        :raises aiosmtplib.SMTPException: if one of these fails; there is no connection without the login then.
        """
        options = self._options
        client = aiosmtplib.SMTP(
            hostname=options.host,
            port=options.port,
            local_hostname=await self._local_hostname(),
            timeout=options.connect_seconds,
            use_tls=options.encryption == "tls",
            start_tls=options.encryption == "starttls",
            tls_context=self._tls,
        )
        try:
            await client.connect()
            if client.last_ehlo_response is None:
                await self._say_hello(client)
            await self._log_in(client)
        except BaseException:
            client.close()
            raise
        return client

    async def _say_hello(self, client: aiosmtplib.SMTP) -> None:
        try:
            await client.ehlo()
        except aiosmtplib.SMTPHeloError as error:
            if error.code < _PERMANENT:
                raise
            # RFC 5321, section 3.2: it may know only the older word.
            await client.helo()

    async def _log_in(self, client: aiosmtplib.SMTP) -> None:
        options, method = self._options, self._options.login_method
        login, password = options.login, options.password
        if login is None:
            return
        if method == "xoauth2":
            await self._log_in_by_token(client, login)
        elif password is None:
            return
        elif method is None:
            await client.login(login, password)
        elif method == "plain":
            await client.auth_plain(login, password)
        elif method == "login":
            await client.auth_login(login, password)
        else:
            await client.auth_crammd5(login, password)

    async def _log_in_by_token(self, client: aiosmtplib.SMTP, login: str) -> None:
        if self._token is None:
            problem = "is oauth2, but there is neither access_token nor client_id and client_secret, nor token=..."
            raise InvalidConnection(f"Connection {self._options.conn_id!r}: extra auth_type {problem}")
        token = self._token()
        if inspect.isawaitable(token):
            token = await token
        encoded = base64.b64encode(f"user={login}\x01auth=Bearer {token}\x01\x01".encode())
        response = await client.execute_command(b"AUTH", b"XOAUTH2", encoded)
        if response.code == _CONTINUE:
            # It is the error's text, which is to be answered with an empty line.
            response = await client.execute_command(b"")
        if response.code != _ACCEPTED:
            raise aiosmtplib.SMTPAuthenticationError(response.code, response.message)

    async def _local_hostname(self) -> str:
        async with self._naming:
            if self._hostname is None:
                # It may ask a name server.
                name = await asyncio.to_thread(socket.getfqdn)
                # RFC 5321, section 4.1.4: an address where there is no full name.
                self._hostname = name if "." in name and name.isascii() else "[127.0.0.1]"
            return self._hostname


def _token_function(options: SMTPOptions) -> TokenFunction | None:
    if (token := options.access_token) is not None:
        return lambda: token
    if options.client_id is None or options.client_secret is None:
        return None
    application: list[object] = []

    def acquire() -> str:
        from msal import ConfidentialClientApplication  # type: ignore[import-untyped]

        # It keeps a token until that expires.
        if not application:
            application.append(
                ConfidentialClientApplication(
                    client_id=options.client_id,
                    client_credential=options.client_secret,
                    authority=f"{_MICROSOFT}/{options.tenant_id}",
                )
            )
        answer = application[0].acquire_token_for_client(scopes=[options.scope])  # type: ignore[attr-defined]
        if "access_token" not in answer:
            problem = f"got no token: {answer.get('error_description') or answer.get('error')}"
            raise InvalidConnection(f"Connection {options.conn_id!r}: extra client_id {problem}")
        return str(answer["access_token"])

    async def acquire_in_thread() -> str:
        return await asyncio.to_thread(acquire)

    return acquire_in_thread
