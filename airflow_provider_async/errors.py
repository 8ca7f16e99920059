# SPDX-License-Identifier: Apache-2.0
"""Every error of this package that a user can catch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AsyncProviderError",
    "BodyTooLarge",
    "CallCancelled",
    "CheckpointError",
    "ConnectionFailed",
    "FileChanged",
    "GraphError",
    "HTTPStatusError",
    "InvalidBody",
    "InvalidConnection",
    "InvalidMessage",
    "IteratorClosed",
    "NotificationNotSent",
    "OperationTimeout",
    "PaginationError",
    "PoolClosed",
    "PoolConnectError",
    "PoolError",
    "PoolTimeout",
    "SendFailed",
    "SupervisorUnavailable",
    "TransientResponse",
    "UnsafePath",
    "UnsafeURL",
    "UnsupportedAirflow",
    "VerificationFailed",
]


class AsyncProviderError(Exception):
    """Base class of all errors of this package."""


class PoolError(AsyncProviderError):
    """Base class of the errors of a pool itself."""


class PoolTimeout(PoolError, TimeoutError):
    """No lease became free within the acquire time-out."""


class PoolClosed(PoolError):
    """The pool was closed, or was never opened."""


class PoolConnectError(PoolError):
    """A connection was refused for good, such as by a wrong password; the pool does not try again."""


class CallCancelled(AsyncProviderError):
    """The function of an ``amap`` cancelled itself, so that its item has neither a value nor an error."""


class CheckpointError(AsyncProviderError):
    """What is done cannot be kept: a name or a key is used twice, or a result is no small JSON value."""


class IteratorClosed(AsyncProviderError):
    """An ``amap`` was closed, by its pool for example, before whoever iterates over it had all results."""


class InvalidConnection(AsyncProviderError, ValueError):
    """A field or an extra of an Airflow Connection cannot be used."""


class InvalidMessage(AsyncProviderError, ValueError):
    """A message cannot be sent as it is: a bad address, a header that would be two, or nobody to send it to."""


class NotificationNotSent(AsyncProviderError):
    """A notification was refused by the server, or did not get to it in time."""


class SendFailed(AsyncProviderError):
    """
    Not every mail was sent.

    :param message: the sentence.
    :param report: the counts by status, and the first refusals.
    """

    def __init__(self, message: str, *, report: Mapping[str, object]) -> None:
        super().__init__(message)
        self.report = report


class OperationTimeout(AsyncProviderError, TimeoutError):
    """A server did not answer a request within the operation time-out; its connection is given up."""


class ConnectionFailed(AsyncProviderError, ConnectionError):
    """A request got no complete answer: no connection was made, it was lost, or the body was cut short."""


class HTTPStatusError(AsyncProviderError):
    """
    A server answered a request with a status that means failure.

    :param message: the sentence, without secrets.
    :param status: such as 404.
    :param url: what was asked for, without secrets.
    :param headers: of the answer.
    :param body: the beginning of the answer's body, without secrets.
    :param retry_after: how many seconds the server asks to wait, if it does.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        url: str,
        headers: Mapping[str, str],
        body: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.url = url
        self.headers = headers
        self.body = body
        self.retry_after = retry_after


class GraphError(HTTPStatusError):
    """
    Microsoft Graph answered a request with an error; what Microsoft's support asks for stands in it.

    :param message: the sentence, without secrets; :attr:`message` is Graph's own part of it.
    :param code: what Graph calls the error, such as ``Request_ResourceNotFound``.
    :param detail: Graph's own sentence.
    :param request_id: Graph's name for the request.
    :param client_request_id: the client's name for it.
    :param inner_error: further particulars, from the general to the special.
    :param date: when it happened, by Graph's clock.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        url: str,
        headers: Mapping[str, str],
        body: str = "",
        retry_after: float | None = None,
        code: str = "",
        detail: str = "",
        request_id: str | None = None,
        client_request_id: str | None = None,
        inner_error: Mapping[str, object] | None = None,
        date: str | None = None,
    ) -> None:
        super().__init__(message, status=status, url=url, headers=headers, body=body, retry_after=retry_after)
        self.code = code
        self.message = detail
        self.request_id = request_id
        self.client_request_id = client_request_id
        self.inner_error = inner_error or {}
        self.date = date


class TransientResponse(AsyncProviderError):
    """
    An answer of success that is none; to be raised by a ``check`` of an HTTP pool, which then asks again.

    :param message: the sentence.
    :param retry_after: how many seconds the server asks to wait, if it does.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidBody(AsyncProviderError, ValueError):
    """The body of an answer is not what it should be, such as no JSON or JSON of another shape."""


class BodyTooLarge(AsyncProviderError):
    """The body of an answer is larger than allowed, or becomes so when it is decompressed."""


class PaginationError(AsyncProviderError):
    """The pages that a server gives do not add up: rows would be lost or come twice, or there would be no end."""


class FileChanged(AsyncProviderError):
    """A file was changed while it was transferred, so that what arrived is neither its old nor its new contents."""


class VerificationFailed(AsyncProviderError):
    """What was transferred differs from its source, or could not be compared as asked for."""


class SupervisorUnavailable(AsyncProviderError):
    """Airflow's supervisor is gone, does not answer, or cannot be asked from this process."""


class UnsafePath(AsyncProviderError, ValueError):
    """A name that a server or a caller gave would lead outside of a folder, or to the file of another name."""


class UnsafeURL(AsyncProviderError, ValueError):
    """A link or a redirect leads where it must not: to a private address, or with a login to an unencrypted one."""


class UnsupportedAirflow(AsyncProviderError):
    """The running Airflow is too old for what was asked."""
