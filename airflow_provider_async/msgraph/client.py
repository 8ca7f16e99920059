# SPDX-License-Identifier: Apache-2.0
"""MSGraphClient: requests to Microsoft Graph."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from airflow_provider_async.errors import InvalidBody, PoolClosed
from airflow_provider_async.http.pages import JSONLink
from airflow_provider_async.http.paginate import MOST_EMPTY_PAGES, paginate
from airflow_provider_async.http.requests import PageRequest
from airflow_provider_async.msgraph.advanced import CONSISTENCY, EVENTUAL, advanced_params
from airflow_provider_async.msgraph.models import model_reader, rows_reader
from airflow_provider_async.msgraph.paginated_run import paginated_run
from airflow_provider_async.msgraph.targets import resolve, with_params

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kiota_abstractions.serialization import Parsable

    from airflow_provider_async.core.attached import Closeable
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.pagination import Pagination
    from airflow_provider_async.http.response import Response
    from airflow_provider_async.msgraph.paginated_run import Data, PaginationFunction
    from airflow_provider_async.msgraph.sender import GraphSender
    from airflow_provider_async.msgraph.targets import GraphParams, Target, TargetRequest

__all__ = ["LINK", "MSGraphClient"]

T = TypeVar("T", bound="Parsable")

#: Graph's count of rows is that of a moment, stands on the first page alone, and includes what ``$skip`` leaves out:
#: rows that are missing beside it are none of the server's errors.
LINK = JSONLink("@odata.nextLink", total=None)


class MSGraphClient:
    """
    Sends requests to Microsoft Graph.

    A URL is a path below the version, such as ``users/me@contoso.com``, an absolute URL, or a ``RequestInformation`` of
    msgraph-sdk: ``client.users.to_get_request_information()``, which then goes to the pool's own server and version.

    Queries that Graph answers only with ``ConsistencyLevel: eventual`` and ``$count=true`` (``$search`` of directory
    objects, and ``$filter`` with ``ne``, ``not``, ``endsWith`` and the like) get both, on every page, unless a
    ``ConsistencyLevel`` is given.

    :param sender: what all its requests share; a pool has none before it is entered.
    """

    def __init__(self, sender: GraphSender | None = None) -> None:
        self._sender = sender

    @property
    def _name(self) -> str:
        return type(self).__name__

    @property
    def sender(self) -> GraphSender:
        """What all requests share."""
        if self._sender is None:
            raise PoolClosed(f"{self._name} is not open; use 'async with'")
        return self._sender

    def resolve(
        self,
        target: Target,
        *,
        method: str | None = None,
        params: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> TargetRequest:
        """
        Return the request for a URL, with what an advanced query needs; see :meth:`request` for the parameters.

        :raises ValueError: if a ``RequestInformation`` has another method.
        """
        from dataclasses import replace

        request = resolve(target, base_url=self.sender.base_url, method=method, params=params, headers=headers)
        if request.method != "GET" or any(name.lower() == CONSISTENCY.lower() for name in request.headers):
            return request
        path = request.url.removeprefix(self.sender.base_url)
        needed = advanced_params(path)
        if needed is None:
            return request
        headers = {**request.headers, CONSISTENCY: EVENTUAL}
        return replace(request, url=with_params(request.url, needed), headers=headers)

    async def request(
        self,
        method: str,
        url: Target,
        *,
        params: GraphParams | None = None,
        json: object = None,
        data: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        idempotent: bool | None = None,
    ) -> Response:
        """
        Send a request and read its answer as a whole.

        :param method: such as ``GET``.
        :param url: a path, an absolute URL, or a ``RequestInformation``, whose body is sent unless one is given.
        :param params: for the query, such as ``{"$select": ["id", "mail"], "$top": 999}``.
        :param json: to be sent as JSON: what msgspec encodes.
        :param data: to be sent as it is.
        :param headers: such as ``{"Prefer": "return=minimal"}``.
        :param retry: another policy for this request.
        :param idempotent: whether sending it twice does no harm; by default as the method says. A request that is not
            is sent again after a 429 alone, because Graph may have done what it answers with 503 or 504.
        :raises GraphError: if the status is 400 or above.
        :raises ConnectionFailed: if there was no complete answer.
        :raises OperationTimeout: if there was none in time.
        :raises PoolConnectError: if no token is given to the login.
        """
        request = self.resolve(url, method=method, params=params, headers=headers)
        if json is None and data is None:
            data = request.content
        sender = self.sender
        call = sender.call(
            request.method, request.url, json=json, data=data, headers=request.headers or None, idempotent=idempotent
        )
        return await sender.send(call, retry=retry)

    @overload
    async def get(
        self,
        url: Target,
        *,
        params: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
    ) -> Any: ...  # noqa: ANN401 - JSON

    @overload
    async def get(
        self,
        url: Target,
        *,
        as_model: type[T],
        params: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
    ) -> T: ...

    async def get(
        self,
        url: Target,
        *,
        as_model: type[Any] | None = None,
        params: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
    ) -> Any:
        """
        Get what is at a URL.

        :param url: as for :meth:`request`, like the others and what is raised.
        :param as_model: a model of msgraph-sdk, such as ``User``.
        :return: decoded JSON, or the model; the bytes of what is no JSON, and ``None`` for nothing.
        """
        response = await self.request("GET", url, params=params, headers=headers, retry=retry)
        return _value(response, as_model)

    async def post(
        self,
        url: Target,
        json: object = None,
        *,
        as_model: type[Any] | None = None,
        params: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        idempotent: bool = False,
    ) -> Any:  # noqa: ANN401 - JSON
        """
        Make something, or have something done.

        :param url: as for :meth:`request`, like the others and what is raised.
        :param json: the body.
        :param as_model: as for :meth:`get`, like what is returned.
        :param idempotent: whether it may be sent again after a lost connection, a 500, 502, 503 or 504.
        """
        response = await self.request(
            "POST", url, json=json, params=params, headers=headers, retry=retry, idempotent=idempotent
        )
        return _value(response, as_model)

    async def patch(
        self,
        url: Target,
        json: object = None,
        *,
        as_model: type[Any] | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        idempotent: bool = False,
    ) -> Any:  # noqa: ANN401 - JSON
        """
        Change something.

        :param url: as for :meth:`request`, like the others and what is raised.
        :param json: what changes.
        :param as_model: as for :meth:`get`, like what is returned.
        :param idempotent: as for :meth:`post`.
        """
        response = await self.request("PATCH", url, json=json, headers=headers, retry=retry, idempotent=idempotent)
        return _value(response, as_model)

    async def delete(
        self, url: Target, *, headers: Mapping[str, str] | None = None, retry: Retry | None = None
    ) -> None:
        """
        Remove something.

        :param url: as for :meth:`request`, like the others and what is raised.
        """
        await self.request("DELETE", url, headers=headers, retry=retry)

    @overload
    def paginate(
        self,
        url: Target,
        *,
        params: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
        prefetch: int = 1,
        max_pages: int | None = None,
        max_empty_pages: int = MOST_EMPTY_PAGES,
        equal_pages: bool = False,
        resume: str | None = None,
        label: str | None = None,
    ) -> Pagination[JSON]: ...

    @overload
    def paginate(
        self,
        url: Target,
        *,
        as_model: type[T],
        params: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
        prefetch: int = 1,
        max_pages: int | None = None,
        max_empty_pages: int = MOST_EMPTY_PAGES,
        equal_pages: bool = False,
        resume: str | None = None,
        label: str | None = None,
    ) -> Pagination[T]: ...

    def paginate(
        self,
        url: Target,
        *,
        as_model: type[Any] | None = None,
        params: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
        prefetch: int = 1,
        max_pages: int | None = None,
        max_empty_pages: int = MOST_EMPTY_PAGES,
        equal_pages: bool = False,
        resume: str | None = None,
        label: str | None = None,
    ) -> Pagination[Any]:
        """
        Read the pages of a listing, and iterate over its rows: ``async for user in pool.paginate("users"):``.

        Each row comes once and in order, or there is an error: ``PaginationError`` if a link repeats, ``UnsafeURL`` if
        one leads to a host that is neither the pool's nor in ``allowed_hosts``.

        :param url: of the first page, as for :meth:`request`, like ``params`` and ``headers``, which go with each page.
        :param as_model: as for :meth:`get`.
        :param prefetch: as for :func:`~airflow_provider_async.http.paginate.paginate`, like all that follow.
        :return: rows with ``async for``, or pages by ``.pages()``.
        """
        sender = self.sender
        target = self.resolve(url, params=params, headers=headers)
        request = PageRequest(
            method=target.method,
            url=target.url,
            json=None if target.content is None else msgspec.json.decode(target.content),
            headers=target.headers or None,
        )
        pages: Pagination[Any] = paginate(
            sender.page_fetcher(request),
            request,
            paginator=LINK,
            items="value" if as_model is None else rows_reader(as_model),
            prefetch=prefetch,
            max_pages=max_pages,
            max_empty_pages=max_empty_pages,
            equal_pages=equal_pages,
            resume=resume,
            label=label,
        )
        self._attach(pages)
        return pages

    async def paginated_run(  # noqa: PLR0917 - Airflow's signature
        self,
        url: Target = "",
        response_type: str | None = None,
        path_parameters: Mapping[str, object] | None = None,
        method: str = "GET",
        query_parameters: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
        data: Data = None,
        pagination_function: PaginationFunction | None = None,
    ) -> list[Any]:
        """
        Read all pages into memory, as the method of this name of Airflow's ``KiotaRequestAdapterHook`` does.

        For many rows, :meth:`paginate` is better: it holds two pages, and goes on where a try has failed.

        :param url: of the first page.
        :param response_type: ``bytes`` or ``str`` for answers as they are; by default decoded JSON.
        :param path_parameters: take the place of ``{name}`` in the URL.
        :param method: of all requests.
        :param query_parameters: of the first request; links have their own.
        :param headers: of all requests.
        :param data: the body of all requests: an object is sent as JSON.
        :param pagination_function: given the answer, as ``response``, and what it was asked for with, by these names,
            returns the next URL and its query parameters; by default, the answer's link is followed.
        :return: the answers, one for each page.
        """
        return await paginated_run(
            self,
            url,
            response_type=response_type,
            path_parameters=path_parameters,
            method=method,
            query_parameters=query_parameters,
            headers=headers,
            data=data,
            pagination_function=pagination_function,
        )

    def _attach(self, iterator: Closeable) -> None:
        """Take note of what has to end before the connections are closed."""


def _value(response: Response, model: type[Any] | None = None) -> Any:  # noqa: ANN401 - JSON
    if not response.body:
        return None
    if model is not None:
        return model_reader(model)(response.json())
    with suppress(InvalidBody):
        return response.json()
    return response.body
