# SPDX-License-Identifier: Apache-2.0
"""HTTPClient: requests to the server of a Connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from airflow_provider_async.errors import PoolClosed

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Mapping

    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.http.caller import Caller
    from airflow_provider_async.http.response import Response
    from airflow_provider_async.http.streaming import Stream
    from airflow_provider_async.http.values import Check, Params

__all__ = ["HTTPClient"]

T = TypeVar("T")


class HTTPClient:
    """
    Sends requests to the server of a Connection.

    :param sender: what all its requests share; a pool has none before it is entered.
    """

    def __init__(self, sender: Caller | None = None) -> None:
        self._sender = sender

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def sender(self) -> Caller:
        """What all requests share."""
        if self._sender is None:
            raise PoolClosed(f"{self._name} is not open; use 'async with'")
        return self._sender

    async def request(
        self,
        method: str,
        url: str,
        *,
        params: Params | None = None,
        json: object = None,
        data: bytes | str | Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        idempotent: bool | None = None,
        check: Check | None = None,
    ) -> Response:
        """
        Send a request and read its answer as a whole.

        :param method: such as ``GET``.
        :param url: what is appended to the Connection's URL; or an absolute one, which gets the Connection's headers
            and its login if it has the same scheme, host and port, or its host is one of ``allowed_hosts``.
        :param params: for the query, in place of those of the same name that stand in the URL.
        :param json: to be sent as JSON: what msgspec encodes.
        :param data: to be sent as it is; a mapping as a form.
        :param headers: win over those of the Connection.
        :param retry: another policy for this request.
        :param idempotent: whether sending it twice does no harm; by default as the method says.
        :param check: another check of the answer.
        :raises HTTPStatusError: if the status is 400 or above.
        :raises ConnectionFailed: if there was no complete answer.
        :raises OperationTimeout: if there was none in time.
        :raises BodyTooLarge: if it is longer than ``max_body_bytes``.
        :raises UnsafeURL: if a redirect leads where it must not.
        """
        sender = self.sender
        call = sender.call(method, url, params=params, json=json, data=data, headers=headers, idempotent=idempotent)
        return await sender.send(call, retry=retry, check=check)

    @overload
    async def get_json(
        self,
        url: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
    ) -> Any: ...  # noqa: ANN401 - JSON

    @overload
    async def get_json(
        self,
        url: str,
        *,
        type: type[T],
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
    ) -> T: ...

    async def get_json(
        self,
        url: str,
        *,
        type: Any = Any,  # noqa: A002 - msgspec's name for it
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
    ) -> Any:
        """
        Get JSON.

        :param url: as for :meth:`request`, which tells what else is raised.
        :param type: what it has to be: a ``msgspec.Struct``, a dataclass, a ``TypedDict``, or a collection of such.
        :param params: as for :meth:`request`.
        :param headers: as for :meth:`request`.
        :param retry: as for :meth:`request`.
        :raises InvalidBody: if it is no JSON, or not of that type; with the place and the body's beginning.
        """
        sender = self.sender
        response = await sender.send(sender.call("GET", url, params=params, headers=headers), retry=retry)
        return response.json(type)

    def stream(
        self,
        url: str,
        *,
        method: str = "GET",
        params: Params | None = None,
        json: object = None,
        data: bytes | str | Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        idempotent: bool | None = None,
    ) -> Stream:
        """
        Get a body of any length, piece by piece: ``async for row in pool.stream(url).json_lines():``.

        What fails before the body begins is tried again; a body that is cut short is an error. There is no limit of
        its size or of the time that it takes, as long as something comes.

        :param url: as for :meth:`request`, like the others.
        :return: what to iterate over: ``.bytes()``, ``.lines()``, ``.json_lines()`` or ``.csv()``.
        """
        from airflow_provider_async.http.streaming import Stream

        sender = self.sender
        call = sender.call(method, url, params=params, json=json, data=data, headers=headers, idempotent=idempotent)
        call.timeout = sender.unbounded
        return Stream(sender, call, retry=retry, attach=self._attach)

    async def upload(
        self,
        url: str,
        path: str | os.PathLike[str],
        *,
        method: str = "PUT",
        headers: Mapping[str, str] | None = None,
        params: Params | None = None,
        retry: Retry | None = None,
        idempotent: bool | None = None,
    ) -> Response:
        """
        Send a local file as the body of a request; it is read as it is sent, and again for each attempt.

        :param url: as for :meth:`request`, like the others and what is raised.
        :param path: the file's path.
        :param method: ``PUT``, which is tried again, or ``POST``, which is so after a 429 or a 503 alone.
        :raises OSError: if the file cannot be read.
        :raises FileChanged: if its size changed while it was sent.
        """
        from airflow_provider_async.http.upload import upload

        sender = self.sender
        call = sender.call(method, url, params=params, headers=headers, idempotent=idempotent)
        call.timeout = sender.unbounded
        return await upload(sender, call, path, retry=retry)

    def _attach(self, iterator: AsyncGenerator[object, None]) -> None:
        """Take note of what has to end before the connections are closed."""
