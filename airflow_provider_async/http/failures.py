# SPDX-License-Identifier: Apache-2.0
"""What has gone wrong, in words without secrets. Errors of aiohttp may name URLs in full, so they are never a cause."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import aiohttp

from airflow_provider_async.core.retry import is_transient
from airflow_provider_async.errors import (
    AsyncProviderError,
    BodyTooLarge,
    ConnectionFailed,
    HTTPStatusError,
    InvalidBody,
    OperationTimeout,
    UnsafeURL,
)
from airflow_provider_async.http import policy
from airflow_provider_async.http.bodies import read_body
from airflow_provider_async.http.origins import origin_of

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from airflow_provider_async.http.redaction import Redactor
    from airflow_provider_async.http.transport import Call

__all__ = ["FAILURES", "named", "read_failure", "status_error"]

#: What a request and the reading of its answer raise, and :func:`named` makes an error of that names the request.
FAILURES = (aiohttp.ClientError, TimeoutError, BodyTooLarge, ConnectionFailed, InvalidBody, UnsafeURL)

#: Of the body of an answer that means failure, so much is read.
_BODY_BYTES = 64 * 1024


def named(error: Exception, request: str, redactor: Redactor) -> Exception:
    """
    Return the error to be raised for what went wrong with a request.

    :param error: one of :data:`FAILURES`.
    :param request: what errors call the request.
    :param redactor: takes secrets out.
    """
    if isinstance(error, AsyncProviderError):
        message = redactor.text(str(error))
        return error if message.startswith(request) else type(error)(f"{request}: {message}")
    if isinstance(error, TimeoutError):
        return OperationTimeout(f"{request}: there was no complete answer in time")
    # A certificate that is not trusted, a name that is not known: they tell a host and no more, and stay as they are.
    if isinstance(error, aiohttp.ClientSSLError):
        return error
    if isinstance(error, aiohttp.ClientConnectorError) and not is_transient(error.os_error):
        return error
    if isinstance(error, aiohttp.InvalidURL):
        return UnsafeURL(f"{request}: the URL cannot be used")
    detail = error.message if isinstance(error, aiohttp.ClientResponseError) else str(error)
    return ConnectionFailed(redactor.text(f"{request}: {detail or type(error).__name__}"))


async def read_failure(response: ClientResponse) -> bytes:
    """Read the beginning of the body of an answer that means failure; nothing if that fails too."""
    try:
        return await read_body(response, _BODY_BYTES)
    except FAILURES:
        return b""


def status_error(
    call: Call, response: ClientResponse, data: bytes, request: str, redactor: Redactor
) -> HTTPStatusError:
    """
    Return the error for an answer whose status means failure.

    :param call: the request.
    :param response: its answer.
    :param data: the beginning of its body, of which a part is quoted.
    :param request: what errors call the request.
    :param redactor: takes secrets out.
    """
    headers, status, now = response.headers, response.status, time.time()
    seconds = policy.retry_after(headers, now)
    if seconds is None and status == policy.TOO_MANY_REQUESTS:
        quota = policy.quota(headers, now)
        if quota is not None and quota.remaining <= 0:
            seconds = quota.reset_seconds
    body = redactor.excerpt(data)
    sentence = f"{request} was answered with {status} {response.reason or ''}".rstrip()
    if origin_of(response.url) != origin_of(call.url):
        sentence += f" after a redirect to {response.url.scheme}://{response.url.host}, which gets no login"
    return HTTPStatusError(
        f"{sentence}: {body}" if body else sentence,
        status=status,
        url=redactor.url(response.url),
        headers=headers,
        body=body,
        retry_after=seconds,
    )
