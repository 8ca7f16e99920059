# SPDX-License-Identifier: Apache-2.0
"""Pages of Graph: exactly the server's rows, or an error."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from airflow_provider_async import resumable
from airflow_provider_async.errors import AsyncProviderError, GraphError, PaginationError, UnsafeURL
from airflow_provider_async.testing.msgraph import RESET, GraphAnswer, Paging, error, throttled
from tests.http.conftest import scripted_server
from tests.msgraph.conftest import SOON, make_pool
from tests.msgraph.server import graph_server, make_messages, make_users

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.testing.msgraph import GraphServer

FAULTS = [None, RESET, throttled(), throttled(None), error(503, "serviceNotAvailable"), error(404, "itemNotFound")]

LINKS = ["absolute", "from root", "relative"]


async def read(pool: MSGraphClientPool, url: str, **options: Any) -> list[Any]:  # noqa: ANN401 - paginate's
    return [row async for row in pool.paginate(url, **options)]


async def collect(pool: MSGraphClientPool, got: list[Any], **options: Any) -> None:  # noqa: ANN401 - paginate's
    """Read users, and keep also those that came before an error."""
    async for row in pool.paginate("users", **options):
        got.append(row)  # noqa: PERF401 - as said


@pytest.mark.parametrize("link", LINKS)
async def test_links_of_all_forms_are_followed(
    pool: MSGraphClientPool, server: GraphServer, link: Literal["absolute", "from root", "relative"]
) -> None:
    server.collection("users", make_users(25))
    server.paging = Paging(10, link=link)
    assert await read(pool, "users") == make_users(25)
    assert len(server.seen) == 3


async def test_pages_without_rows_end_nothing(pool: MSGraphClientPool, server: GraphServer) -> None:
    server.collection("users", make_users(25))
    server.paging = Paging(10, empty=frozenset({0, 1, 2}))
    assert await read(pool, "users") == make_users(25)
    assert len(server.seen) == 6
    server.collection("users", [])
    server.paging = Paging()
    assert await read(pool, "users") == []


@pytest.mark.parametrize("link", [None, "", 0])
async def test_no_link_ends_it(pool: MSGraphClientPool, server: GraphServer, link: object) -> None:
    server.fail("/users", GraphAnswer(body={"value": [{"id": "1"}], "@odata.nextLink": link or None}))
    assert await read(pool, "users") == [{"id": "1"}]


@pytest.mark.parametrize("page", [0, 1])
async def test_a_link_that_repeats_is_an_error_after_the_rows_until_there(
    pool: MSGraphClientPool, server: GraphServer, page: int
) -> None:
    server.collection("users", make_users(25))
    server.paging = Paging(10, repeat_at=page)
    got: list[Any] = []
    with pytest.raises(PaginationError):
        await collect(pool, got)
    assert got == make_users(25)[: 10 * (page + 1)]


async def test_a_link_leads_to_the_pools_host_or_to_one_that_is_allowed(server: GraphServer) -> None:
    server.collection("users", make_users(25))
    async with scripted_server() as other:
        server.paging = Paging(10, foreign_at=0, foreign=other.url)
        async with make_pool(server) as pool:
            with pytest.raises(UnsafeURL, match="neither the Connection's host nor one of allowed_hosts"):
                await read(pool, "users")
        assert other.requests == []
    async with graph_server() as other_graph:
        other_graph.collection("users", make_users(25))
        other_graph.paging = Paging(10)
        other_graph.tokens = server.tokens
        server.paging = Paging(10, foreign_at=0, foreign=other_graph.origin)
        async with make_pool(server, allowed_hosts=[f"127.0.0.1:{other_graph.port}"]) as pool:
            assert await read(pool, "users") == make_users(25)


async def test_count_and_top_follow_the_link_and_lose_nothing(pool: MSGraphClientPool, server: GraphServer) -> None:
    server.collection("users", make_users(25))
    server.paging = Paging(7)
    # Fewer come on a page than asked for; whoever goes on with $skip leaves rows out.
    rows = await read(pool, "users", params={"$count": True, "$top": 10})
    assert rows == make_users(25)
    assert not [one for one in server.seen if "$skip" in one.query]


async def test_a_count_that_covers_what_was_skipped_is_no_error(pool: MSGraphClientPool, server: GraphServer) -> None:
    server.collection("me/messages", make_messages(25))
    rows = await read(pool, "users/user0@contoso.com/messages", params={"$count": "true", "$skip": 20})
    assert rows == make_messages(25)[20:]


async def test_headers_go_with_every_page(pool: MSGraphClientPool, server: GraphServer) -> None:
    server.collection("users", make_users(25))
    server.paging = Paging(10)
    headers = {"Prefer": "odata.maxpagesize=10", "client-request-id": "mine"}
    params = {"$filter": "accountEnabled ne false", "$select": ["id", "displayName"]}
    rows = await read(pool, "users", params=params, headers=headers)
    assert [row["displayName"] for row in rows] == [f"User {number}" for number in range(25) if number % 10]
    assert len(server.seen) == 3
    for request in server.seen:
        assert request.headers["consistencylevel"] == "eventual"
        assert (request.headers["prefer"], request.headers["client-request-id"]) == ("odata.maxpagesize=10", "mine")
    assert server.seen[0].raw_query == "$filter=accountEnabled%20ne%20false&$select=id,displayName&$count=true"


async def test_a_page_that_fails_for_now_is_asked_for_again(pool: MSGraphClientPool, server: GraphServer) -> None:
    server.collection("users", make_users(25))
    server.paging = Paging(10)
    server.fail("/users", None, throttled(), RESET, error(502, "BadGateway"), None, error(500, "generalException"))
    assert await read(pool, "users") == make_users(25)


async def test_the_next_try_goes_on_at_the_page_that_failed(server: GraphServer, tmp_path: Path) -> None:
    server.collection("users", make_users(25))
    server.paging = Paging(10)
    server.fail("/users", None, error(403, "Authorization_RequestDenied"))
    got: list[Any] = []
    for attempt in (1, 2):
        async with make_pool(server) as pool:
            with suppress(GraphError):
                async with resumable(tmp_path, attempt=attempt):
                    await collect(pool, got, resume="users", prefetch=0)
        assert len(got) == (10 if attempt == 1 else 25)
    assert got == make_users(25)
    assert len(server.seen) == 4


async def test_what_is_no_listing_is_an_error(pool: MSGraphClientPool) -> None:
    with pytest.raises(PaginationError, match="nothing at items='value'"):
        await read(pool, "me")


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("airflow_provider_async")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


@st.composite
def pagings(draw: st.DrawFn) -> Paging:
    broken = st.none() | st.integers(0, 4)
    return Paging(
        sizes=tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))),
        link=draw(st.sampled_from(LINKS)),
        empty=draw(st.frozensets(st.integers(0, 5), max_size=3)),
        repeat_at=draw(broken),
        foreign_at=draw(broken),
    )


@settings(max_examples=150, deadline=None)
@given(
    paging=pagings(),
    count=st.integers(0, 14),
    faults=st.lists(st.sampled_from(FAULTS), max_size=SOON.attempts - 1),
    prefetch=st.integers(0, 2),
    asks_for_count=st.booleans(),
)
def test_whatever_a_server_does_the_rows_are_its_own_or_there_is_an_error(
    paging: Paging,
    count: int,
    faults: list[GraphAnswer | None],
    prefetch: int,
    asks_for_count: bool,
) -> None:
    got: list[Any] = []

    async def run() -> Exception | None:
        async with graph_server() as server, make_pool(server) as pool:
            server.collection("users", make_users(count))
            server.paging = paging
            server.fail("/users", *faults)
            try:
                params = {"$count": "true"} if asks_for_count else None
                await collect(pool, got, params=params, prefetch=prefetch)
            except AsyncProviderError as failure:
                return failure
        return None

    failure = asyncio.run(run())

    event("error" if failure else "complete")
    assert got == make_users(count)[: len(got)]
    assert failure is not None or len(got) == count
    if paging.repeat_at is None and paging.foreign_at is None and not any(one and one.status == 404 for one in faults):
        assert failure is None
