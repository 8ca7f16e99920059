# SPDX-License-Identifier: Apache-2.0
"""``paginated_run`` as Airflow's ``KiotaRequestAdapterHook`` has it, without what goes wrong there."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from airflow_provider_async.errors import InvalidBody
from airflow_provider_async.http.guards import Guards
from airflow_provider_async.http.links import follow
from airflow_provider_async.http.paginate import MOST_EMPTY_PAGES
from airflow_provider_async.http.requests import PageRequest, PageResponse

if TYPE_CHECKING:
    from airflow_provider_async.http.response import Response
    from airflow_provider_async.msgraph.client import MSGraphClient
    from airflow_provider_async.msgraph.targets import GraphParams, Target

__all__ = ["Data", "PaginationFunction", "paginated_run"]

Data: TypeAlias = "Mapping[str, object] | str | bytes | BytesIO | None"

#: Given the answer and what it was asked for with, returns the next URL and its query parameters.
PaginationFunction: TypeAlias = "Callable[..., tuple[str | None, GraphParams | None]]"


async def paginated_run(
    client: MSGraphClient,
    url: Target,
    *,
    response_type: str | None,
    path_parameters: Mapping[str, object] | None,
    method: str,
    query_parameters: GraphParams | None,
    headers: Mapping[str, str] | None,
    data: Data,
    pagination_function: PaginationFunction | None,
) -> list[Any]:
    """Read all pages; :meth:`MSGraphClient.paginated_run` says how."""
    if response_type not in (None, "bytes", "str"):
        raise ValueError(f"response_type must be 'bytes', 'str' or None, not {response_type!r}")
    if isinstance(url, str):
        for name, value in (path_parameters or {}).items():
            url = url.replace(f"{{{name}}}", quote(str(value), safe=""))
    body = data.read() if isinstance(data, BytesIO) else data
    guards = Guards("paginated_run", max_empty_pages=MOST_EMPTY_PAGES, equal_pages=True)
    answers: list[Any] = []
    while True:
        request = client.resolve(url, method=method, params=query_parameters, headers=headers)
        # A link does not tell that its query is an advanced one.
        headers = request.headers
        response = await client.request(
            method,
            request.url,
            json=body if isinstance(body, Mapping) else None,
            data=request.content if body is None else body if isinstance(body, (bytes, str)) else None,
            headers=request.headers,
        )
        value = _value(response, response_type)
        if not value:
            return answers
        answers.append(value)
        asked = PageRequest(method=method, url=request.url)
        answered = PageResponse(url=response.url, status=response.status, headers=response.headers, body=value)
        guards.check_page(asked, answered, _rows(value))
        if pagination_function is None:
            link, query_parameters = value.get("@odata.nextLink") if isinstance(value, dict) else None, None
        else:
            link, query_parameters = _call(
                pagination_function,
                response=value,
                url=url,
                response_type=response_type,
                path_parameters=path_parameters,
                method=method,
                query_parameters=query_parameters,
                headers=headers,
                data=data,
                responses=lambda: answers,
            )
        if not link:
            return answers
        if pagination_function is None or "://" in link:
            following = follow(asked, answered, link)
            client.sender.check_link(following.url)
            guards.check_following(following)
            url = following.url
        else:
            url = link


def _call(function: PaginationFunction, **arguments: object) -> tuple[str | None, GraphParams | None]:
    """Call a function with those arguments that it knows."""
    parameters = inspect.signature(function).parameters
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        arguments = {name: value for name, value in arguments.items() if name in parameters}
    return function(**arguments)


def _value(response: Response, response_type: str | None) -> Any:  # noqa: ANN401 - JSON
    if response_type == "bytes":
        return response.body
    if response_type == "str":
        return response.text()
    try:
        return response.json()
    except InvalidBody:
        # As Airflow's hook gives what is no JSON.
        return response.body or dict(response.headers)


def _rows(value: object) -> list[object]:
    rows = value.get("value") if isinstance(value, dict) else None
    return rows if isinstance(rows, list) else [value]
