# SPDX-License-Identifier: Apache-2.0
"""All pages in memory, as Airflow's hook has it: its signature and its result, without its faults."""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.errors import PaginationError, UnsafeURL
from airflow_provider_async.msgraph import AsyncMSGraphHook
from airflow_provider_async.runtime import connections
from airflow_provider_async.testing.msgraph import GraphAnswer, Paging
from tests.msgraph.conftest import FakeCredential, Fields, connection, make_pool
from tests.msgraph.server import make_users

if TYPE_CHECKING:
    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.testing.msgraph import GraphServer


def rows(pages: list[Any]) -> list[Any]:
    return [row for page in pages for row in page["value"]]


async def test_the_example_of_the_proposal_runs(server: GraphServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.collection("users", make_users(25))
    server.paging = Paging(10, most=10_000)
    credential = FakeCredential(server.tokens)

    async def get_connection(_: str) -> Fields:
        return connection(server)

    monkeypatch.setattr(connections, "get_connection", get_connection)

    async def get_json_data(url: str) -> list[Any]:
        hook = AsyncMSGraphHook("msgraph_default", api_version="beta", credential=credential)
        return await hook.paginated_run(
            url=url,
            query_parameters={"$format": "application/json", "$top": 10000},
        )

    pages = await get_json_data("users")
    assert rows(pages) == make_users(25)
    assert [list(page) for page in pages] == [["@odata.context", "@odata.nextLink", "value"]] * 2 + [
        ["@odata.context", "value"]
    ]
    assert {one.version for one in server.seen} == {"beta"}
    assert server.seen[0].query == {"$format": "application/json", "$top": "10000"}


@pytest.mark.parametrize("link", ["absolute", "from root", "relative"])
async def test_links_of_all_forms_are_followed(pool: MSGraphClientPool, server: GraphServer, link: Any) -> None:  # noqa: ANN401
    server.collection("users", make_users(25))
    server.paging = Paging(10, link=link, empty=frozenset({1}))
    params: dict[str, str | int] = {"$count": "true", "$top": 10}
    assert rows(await pool.paginated_run("users", query_parameters=params)) == make_users(25)
    assert len(server.seen) == 4
    assert all(one.headers["consistencylevel"] == "eventual" for one in server.seen)


async def test_a_link_that_repeats_or_leads_away_is_an_error(pool: MSGraphClientPool, server: GraphServer) -> None:
    server.collection("users", make_users(25))
    server.paging = Paging(10, repeat_at=1)
    with pytest.raises(PaginationError, match="which was asked for before"):
        await pool.paginated_run("users")
    server.paging = Paging(10, foreign_at=1)
    with pytest.raises(UnsafeURL):
        await pool.paginated_run("users")


async def test_a_function_of_ones_own_says_what_comes_next(pool: MSGraphClientPool, server: GraphServer) -> None:
    server.collection("users", make_users(25))
    seen = []

    def following(response: dict[str, Any], url: str, responses: Any) -> tuple[str | None, Any]:  # noqa: ANN401
        seen.append((url, len(responses())))
        return ("me", {"$select": "id"}) if len(responses()) == 1 else (None, None)

    pages = await pool.paginated_run("users", query_parameters={"$top": 3}, pagination_function=following)
    assert (len(pages[0]["value"]), pages[1]["id"]) == (3, make_users(1)[0]["id"])
    assert seen == [("users", 1), ("me", 2)]

    def everything(**given: Any) -> tuple[None, None]:  # noqa: ANN401
        assert {"response", "url", "method", "headers", "data", "responses", "query_parameters"} <= given.keys()
        return None, None

    assert len(await pool.paginated_run("users", pagination_function=everything)) == 1


async def test_bodies_are_sent_and_returned_in_any_form(pool: MSGraphClientPool, server: GraphServer) -> None:
    server.fail("/users/{id}", None)
    for data in (b'{"a": 1}', '{"a": 1}', BytesIO(b'{"a": 1}'), {"a": 1}):
        (made,) = await pool.paginated_run("users", method="POST", data=data)
        assert made["a"] == 1
    server.fail("/me", *[GraphAnswer(body=b"\x00\x01")] * 2, GraphAnswer(status=204))
    assert await pool.paginated_run("me") == [b"\x00\x01"]
    assert await pool.paginated_run("me", "bytes") == [b"\x00\x01"]
    (headers,) = await pool.paginated_run("me")
    assert "request-id" in headers
    (text,) = await pool.paginated_run("users/{who}", "str", {"who": "user1@contoso.com"})
    assert '"user1@contoso.com"' in text
    with pytest.raises(ValueError, match="response_type must be 'bytes', 'str' or None, not 'int'"):
        await pool.paginated_run("me", "int")


def test_a_connection_is_tested_without_an_event_loop() -> None:
    made = Fields(host="127.0.0.1:1", schema="http", login="id", password="pw", extra_dejson={})
    assert AsyncMSGraphHook(connection=made).test_connection() == (
        False,
        "Connection 'msgraph_test': extra tenant_id is missing: it is the id of the application's tenant",
    )


async def test_a_connection_is_tested_beside_an_event_loop(server: GraphServer) -> None:
    hook = AsyncMSGraphHook(connection=connection(server), credential=FakeCredential(server.tokens))
    assert await asyncio.to_thread(hook.test_connection) == (True, "Connection successfully tested")
    pool = make_pool(server)
    async with pool:
        assert (await pool.paginated_run())[0]["value"][0]["name"] == "users"
