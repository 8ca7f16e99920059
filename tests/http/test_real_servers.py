# SPDX-License-Identifier: Apache-2.0
"""Pages of servers that nobody here wrote: every row, once and in order. ``scripts/http_servers.py`` installs some."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import HTTPStatusError
from airflow_provider_async.http import Bearer, HTTPClientPool
from airflow_provider_async.http.pages import Cursor, JSONLink, LinkHeader, Offset, PageNumber
from tests.servers import real_http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.pages import Paginator


async def read(
    url: str,
    key: str | None,
    *,
    pool: HTTPClientPool | None = None,
    **options: Any,  # noqa: ANN401 - those of paginate
) -> list[object]:
    """Return a column of all rows."""

    def value(row: JSON) -> object:
        if key is None:
            return row
        assert isinstance(row, dict)
        return row[key]

    async with pool or HTTPClientPool(None) as opened:
        return [value(row) async for row in opened.paginate(url, **options)]


# --- datasette ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("datasette")
    with real_http.datasette(require_program(str(real_http.DATASETTE)), folder, rows=1234) as url:
        yield url


@pytest.mark.parametrize(
    ("shape", "paginator"),
    [
        pytest.param("objects", "auto", id="found out"),
        pytest.param("array", "auto", id="found out, in a header"),
        pytest.param("array", LinkHeader(), id="header"),
        pytest.param("objects", JSONLink("next_url"), id="link in the body"),
        pytest.param("objects", Cursor("next", "_next"), id="cursor"),
    ],
)
async def test_datasette_gives_each_row_once(table: str, shape: str, paginator: Paginator | Literal["auto"]) -> None:
    options: dict[str, Any] = {} if shape == "array" else {"items": "rows"}
    found = await read(table, "id", params={"_shape": shape, "_size": 100}, paginator=paginator, **options)
    assert found == list(range(1, 1235))


async def test_datasette_gives_typed_rows_of_many_queries(table: str) -> None:
    async with HTTPClientPool(None, max_concurrency=8) as pool:
        urls = [f"{table}?_shape=array&id__exact={number}" for number in range(1, 101)]
        found = [response.json() async for response in pool.get_many(urls, ordered=True)]
    assert found == [[{"id": number, "name": f"row {number}"}] for number in range(1, 101)]


# --- docker-registry ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("registry")
    with real_http.docker_registry(require_program("docker-registry"), folder, repositories=57) as url:
        yield url


@pytest.mark.parametrize("paginator", ["auto", LinkHeader()])
async def test_a_docker_registry_gives_each_repository_once_by_relative_links(
    catalogue: str, paginator: Paginator | Literal["auto"]
) -> None:
    found = await read(catalogue, None, params={"n": 10}, paginator=paginator, items="repositories")
    assert found == [f"rows/{number:04}" for number in range(57)]


# --- json-server behind express-rate-limit --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("json-server")
    node = require_program(str(real_http.NODE))
    with real_http.json_server(node, folder, rows=295, limit=12, window_seconds=1) as url:
        yield url


@pytest.mark.parametrize("paginator", ["auto", LinkHeader()])
async def test_json_server_gives_each_row_once_though_it_limits_requests(
    limited: str, paginator: Paginator | Literal["auto"]
) -> None:
    found = await read(limited, "id", params={"_page": 1, "_limit": 10}, paginator=paginator)
    assert found == list(range(1, 296))


async def test_json_server_gives_numbered_pages_at_once_though_it_limits_requests(limited: str) -> None:
    paginator = PageNumber(10, param="_page", size_param="_limit")
    assert await read(limited, "id", paginator=paginator, prefetch=8) == list(range(1, 296))


async def test_json_server_answers_all_of_many_requests_though_it_limits_them(limited: str) -> None:
    async with HTTPClientPool(None, max_concurrency=16) as pool:
        urls = [f"{limited}/{number}" for number in range(1, 41)]
        found = [response.json()["id"] async for response in pool.get_many(urls, ordered=True)]
    assert found == list(range(1, 41))


# --- nginx ----------------------------------------------------------------------------------------------------------

PAGES = {f"{number}.json": json.dumps({"id": number}).encode() for number in range(60)}


@pytest.fixture
def serve(tmp_path: Path, require_program: Callable[[str], str]) -> Callable[..., AbstractContextManager[str]]:
    """Run nginx, with what limits its requests."""
    return partial(real_http.nginx, require_program("nginx"), tmp_path, pages=PAGES)


async def get_all(base: str, **options: Any) -> list[int]:  # noqa: ANN401 - the pool's
    async with HTTPClientPool(None, base_url=base, max_concurrency=16, **options) as pool:
        return [response.json()["id"] async for response in pool.get_many(PAGES, ordered=True)]


async def test_nginx_refuses_nothing_at_the_rate_that_it_lets_through(
    serve: Callable[..., AbstractContextManager[str]],
) -> None:
    with serve(rate=50, burst=10) as base:
        # Nothing is tried again: what it refused would be an error.
        assert await get_all(base, rate=45, retry=Retry(attempts=1)) == list(range(60))


@pytest.mark.parametrize("status", [429, 503])
async def test_nginx_refuses_for_a_while_without_a_word_and_all_answers_come(
    serve: Callable[..., AbstractContextManager[str]], status: int
) -> None:
    with serve(rate=50, burst=10, status=status) as base:
        assert await get_all(base, retry=Retry(attempts=12)) == list(range(60))


async def test_what_nginx_does_not_have_is_an_error(serve: Callable[..., AbstractContextManager[str]]) -> None:
    with serve() as base:
        async with HTTPClientPool(None, base_url=base) as pool:
            with pytest.raises(HTTPStatusError, match="404"):
                await pool.get_json("none.json")


# --- Airflow --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with real_http.airflow_api(tmp_path_factory.mktemp("airflow"), variables=230) as running:
        yield running


@pytest.mark.timeout(300)
@pytest.mark.parametrize("paginator", ["auto", Offset(limit=500)])
@pytest.mark.parametrize("prefetch", [1, 4])
async def test_airflow_gives_each_variable_once_though_it_clamps_the_limit(
    variables: tuple[str, str], paginator: Paginator | Literal["auto"], prefetch: int
) -> None:
    url, token = variables
    params: dict[str, Any] = {"order_by": "id"} | ({"limit": 500, "offset": 0} if paginator == "auto" else {})
    pool = HTTPClientPool(None, auth=Bearer(token), base_url=url)
    found = await read(url, "key", pool=pool, params=params, paginator=paginator, prefetch=prefetch)
    assert found == [f"key-{number:04}" for number in range(230)]
