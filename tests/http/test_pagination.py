# SPDX-License-Identifier: Apache-2.0
"""Reading pages: rows, errors and where they happened, fetching ahead, closing."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.pages import (
    Cursor,
    JSONLink,
    Offset,
    PageNumber,
    Paginator,
)
from airflow_provider_async.http.paginate import paginate
from airflow_provider_async.http.requests import PageRequest, PageResponse
from tests.http.model_server import FAMILIES, PAGINATORS, REQUEST, URL, Family, ModelServer, StatusError

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON


from tests.http.scripts import Gate, Script, collect, numbers, read, turns


@pytest.mark.parametrize("prefetch", [0, 1, 4])
@pytest.mark.parametrize("family", FAMILIES)
async def test_every_family_gives_all_rows_in_order(family: Family, prefetch: int) -> None:
    server = ModelServer(family, 10, sizes=(3,), total=10)

    pagination = paginate(server.fetch, REQUEST, paginator=PAGINATORS[family], prefetch=prefetch)

    assert await read(pagination) == list(range(10))
    assert pagination.progress.done == pagination.progress.total == 10
    assert pagination.progress.label == "/api/items"
    assert len(server.requests) == 4


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "body cursor"])
async def test_what_is_not_said_is_found_out_and_logged(family: Family, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = ModelServer(family, 10, sizes=(3,), total=10)

    assert await read(paginate(server.fetch, REQUEST, label="items")) == list(range(10))

    assert caplog.text.count("items: the rows are at items='items'") == 1
    assert caplog.text.count(f"so the pages are read by {type(PAGINATORS[family]).__name__}(") == 1


async def test_a_body_that_is_a_list_is_the_rows(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    assert await read(paginate(Script([1, 2, 3]).fetch, REQUEST)) == [1, 2, 3]

    assert "the rows are the whole body" in caplog.text
    assert "nothing says that there are more pages" in caplog.text


async def test_the_first_request_of_a_run_that_is_to_be_found_out_is_sent_as_it_is() -> None:
    server = ModelServer("page", 4, page_count=2)
    request = PageRequest(url=f"{URL}?lang=en", params=(("q", "x"),))

    await read(paginate(server.fetch, request))

    assert server.requests[0] is request
    assert server.requests[1].query == (("lang", "en"), ("q", "x"), ("page", "2"))


async def test_pages_have_their_place_and_their_answer() -> None:
    server = ModelServer("link", 5, sizes=(2, 0, 3))

    pages = [page async for page in paginate(server.fetch, REQUEST, items="items").pages()]

    assert [(page.number, page.rows_before, len(page.items), page.rows) for page in pages] == [
        (1, 0, 2, 2),
        (2, 2, 0, 2),
        (3, 2, 3, 5),
    ]
    assert pages[0].response.status == 200
    assert "items" in str(pages[2].request)


async def test_rows_may_be_made_by_a_function() -> None:
    def lengths(body: JSON) -> list[int]:
        return [len(word) for word in body["words"]] if isinstance(body, dict) else []  # type: ignore[arg-type, union-attr]

    pagination = paginate(Script({"words": ["a", "bc"]}).fetch, REQUEST, items=lengths)

    assert [length async for length in pagination] == [1, 2]


async def test_a_repeated_cursor_is_an_error_that_says_where_after_the_rows_until_there() -> None:
    server = ModelServer("link", 9, loop=(2, 1))
    got: list[JSON] = []

    with pytest.raises(PaginationError) as caught:
        await collect(paginate(server.fetch, REQUEST, label="load"), got)

    assert numbers(got) == list(range(9))
    assert str(caught.value).startswith(
        f"load, page 3, GET {URL}?cursor=2, after 9 rows: it leads to GET {URL}?cursor=1,"
    )


async def test_a_link_back_to_the_first_page_is_known_in_its_other_form() -> None:
    script = Script({"items": [1], "next": f"{URL}?limit=1"})

    async def fetch(request: PageRequest) -> PageResponse:
        response = await script.fetch(request)
        return PageResponse(url=f"{URL}?limit=1", status=200, headers={}, body=response.body)

    with pytest.raises(PaginationError, match="was asked for before"):
        await read(paginate(fetch, PageRequest(url="/api/items", params=(("limit", "1"),))))


@pytest.mark.parametrize("paginator", [Offset(), PageNumber()])
async def test_a_server_that_does_not_look_at_where_to_go_on_is_an_error(paginator: Paginator) -> None:
    family: Family = "offset" if isinstance(paginator, Offset) else "page"
    server = ModelServer(family, 9, ignores=True)

    with pytest.raises(PaginationError, match=r"page 2, .* after 3 rows: its 3 rows are those of an earlier page"):
        await read(paginate(server.fetch, REQUEST, paginator=paginator))


async def test_pages_of_the_same_rows_may_be_allowed() -> None:
    script = Script([0, 0], [0, 0], [])

    assert await read(paginate(script.fetch, REQUEST, paginator=Offset(), equal_pages=True)) == [0, 0, 0, 0]


async def test_pages_without_rows_end_only_after_many() -> None:
    async def fetch(request: PageRequest) -> PageResponse:
        body: JSON = {"items": [], "next_cursor": int(request.param("cursor") or 0) + 1}
        return PageResponse(url=URL, status=200, headers={}, body=body)

    with pytest.raises(PaginationError, match=r"page 7, .*: 7 pages in a row have no rows, and the last one leads on"):
        await read(paginate(fetch, REQUEST, paginator=Cursor(), max_empty_pages=7))


async def test_a_total_that_is_not_met_is_an_error() -> None:
    server = ModelServer("offset", 9, total=12)

    with pytest.raises(PaginationError, match=r"after 9 rows: the pages end here, but the server said .* 12 rows"):
        await read(paginate(server.fetch, REQUEST, paginator=Offset()))


async def test_a_total_that_is_too_low_ends_nothing_and_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    server = ModelServer("offset", 9, total=3)

    pagination = paginate(server.fetch, REQUEST, paginator=Offset(3))

    assert await read(pagination) == list(range(9))
    assert pagination.progress.total == 9
    assert caplog.text.count("there are more rows than the 3 that the server said") == 1


async def test_a_total_that_changes_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    script = Script({"items": [0], "total": 10}, {"items": [1], "total": 11}, {"items": [2], "total": 12})

    assert await read(paginate(script.fetch, REQUEST, paginator=Offset(total="total"), max_pages=3)) == [0, 1, 2]
    assert caplog.text.count("the server said 10 rows, then 11: rows may be missing or come twice") == 1
    assert "then 12" not in caplog.text


@pytest.mark.parametrize("prefetch", [1, 9])
async def test_a_clamped_limit_loses_nothing(prefetch: int) -> None:
    server = ModelServer("offset", 120, sizes=(100,), total=120)

    rows = await read(paginate(server.fetch, REQUEST, paginator=Offset(500), prefetch=prefetch))

    assert rows == list(range(120))
    assert [request.param("offset") for request in server.requests] == ["0", "100"]


async def test_a_refusal_beyond_a_total_that_is_met_is_the_end() -> None:
    server = ModelServer("page", 6, total=6, refuses_past_end=True)

    assert await read(paginate(server.fetch, REQUEST, paginator=PageNumber())) == list(range(6))
    assert [request.param("page") for request in server.requests] == ["1", "2", "3"]


async def test_a_refusal_beyond_the_end_is_the_end_where_the_caller_says_so() -> None:
    server = ModelServer("page", 6, refuses_past_end=True)
    with pytest.raises(StatusError) as caught:
        await read(paginate(server.fetch, REQUEST, paginator=PageNumber(), label="load"))
    assert caught.value.__notes__ == [f"load, page 3, GET {URL}?page=3, after 6 rows"]

    assert await read(paginate(server.fetch, REQUEST, paginator=PageNumber(past_end=[404]))) == list(range(6))

    server.total = 7
    with pytest.raises(PaginationError, match="after 6 rows: the pages end here, but the server said that there are 7"):
        await read(paginate(server.fetch, REQUEST, paginator=PageNumber(past_end=[404])))


async def test_max_pages_are_so_many(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = ModelServer("page", 30, total=30)

    assert await read(paginate(server.fetch, REQUEST, paginator=PageNumber(), max_pages=3, prefetch=9)) == [*range(9)]

    assert len(server.requests) == 3
    assert "ends after max_pages=3; there may be more" in caplog.text


async def test_a_body_without_rows_is_an_error_that_says_where() -> None:
    with pytest.raises(PaginationError, match=r"page 2, GET .*, after 1 rows: there is nothing at items='items'"):
        await read(paginate(Script({"items": [1], "next": "https://a.example/"}, {"error": "x"}).fetch, REQUEST))


async def test_an_error_of_a_paginator_comes_after_its_page() -> None:
    got: list[JSON] = []
    with pytest.raises(PaginationError, match=r"page 1, .*, after 2 rows: at 'next' is no link"):
        await collect(paginate(Script({"items": [1, 2], "next": 7}).fetch, REQUEST, paginator=JSONLink()), got)
    assert got == [1, 2]


async def test_an_error_of_a_function_for_rows_is_raised_as_it_is() -> None:
    def fail(body: JSON) -> list[int]:
        raise LookupError("no rows")

    with pytest.raises(LookupError, match="no rows") as caught:
        await anext(aiter(paginate(Script([]).fetch, REQUEST, items=fail, label="load")))
    assert caught.value.__notes__ == [f"load, page 1, GET {URL}, after 0 rows"]


# Fetching ahead.


async def test_the_next_page_is_fetched_while_one_is_consumed() -> None:
    server = ModelServer("link", 9)
    async with paginate(server.fetch, REQUEST, prefetch=1) as pagination:
        pages = pagination.pages()
        for count in (2, 3):
            await anext(pages)
            await turns(2)
            assert len(server.requests) == count


async def test_nothing_is_fetched_before_it_is_asked_for_where_that_is_wanted() -> None:
    server = ModelServer("offset", 9, total=9)
    pagination = paginate(server.fetch, REQUEST, paginator=Offset(), prefetch=0)
    assert server.requests == []
    async with aclosing(pagination.pages()) as pages:
        for count in (1, 2, 3):
            await anext(pages)
            await asyncio.sleep(0)
            assert len(server.requests) == count


async def test_pages_known_ahead_are_fetched_at_once_and_come_in_order() -> None:
    gate = Gate(ModelServer("page", 30, total=30))
    got: list[JSON] = []

    pagination = paginate(gate.fetch, REQUEST, paginator=PageNumber(), prefetch=3)
    consumer = asyncio.create_task(collect(pagination, got))
    await gate.let_go("1")
    assert [name for name, _ in gate.waiting] == ["1", "2", "3", "4"]
    await gate.let_go("4", "3")
    assert numbers(got) == [0, 1, 2]
    await gate.let_go("2")
    assert numbers(got) == [*range(12)]
    assert [name for name, _ in gate.waiting] == [*"1234567"]
    for number in range(5, 12):
        await gate.let_go(str(number))
    await consumer
    assert numbers(got) == [*range(30)]
    # The total is met by a full page, behind which one request more looks.
    assert len(gate.waiting) == 11


async def test_no_more_pages_than_asked_for_wait_for_a_slow_consumer() -> None:
    server = ModelServer("page", 100, total=100)
    async with paginate(server.fetch, REQUEST, paginator=PageNumber(), prefetch=4) as pagination:
        count = 0
        async for _ in pagination.pages():
            count += 1
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(server.requests) <= count + 4


async def test_where_pages_cannot_be_known_ahead_they_come_one_after_the_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    server = ModelServer("link header", 12, turns=(3,))

    assert await read(paginate(server.fetch, REQUEST, prefetch=8)) == [*range(12)]

    assert server.most_in_flight == 1
    assert caplog.text.count("the pages cannot be known ahead: they are fetched one after the other") == 1


async def test_a_wrong_guess_is_made_again_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    # Five rows a page until row 10, from there two.
    server = ModelServer("offset", 20, sizes=(5, 2, 2, 2, 2, 5, 2, 2, 2, 2, 2, 2), total=20, turns=(4,))

    assert await read(paginate(server.fetch, REQUEST, paginator=Offset(), prefetch=3)) == [*range(20)]

    assert "has not the size of those before; guessing begins anew" in caplog.text
    assert server.most_in_flight == 3


async def test_pages_of_all_sizes_come_one_after_the_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = ModelServer("offset", 60, sizes=(5, 1, 4, 2, 3, 1, 2), total=60)

    assert await read(paginate(server.fetch, REQUEST, paginator=Offset(), prefetch=3)) == [*range(60)]

    assert caplog.text.count("the pages are of different sizes, so that it cannot be known where they begin") == 1
    assert caplog.text.count("guessing begins anew") == 2


async def test_the_rows_before_a_page_that_fails_come_first() -> None:
    gate = Gate(ModelServer("page", 30, total=30, faults={2: 1}))
    got: list[JSON] = []

    pagination = paginate(gate.fetch, REQUEST, paginator=PageNumber(), prefetch=5, label="load")
    consumer = asyncio.create_task(collect(pagination, got))
    await gate.let_go("1")
    await gate.let_go("3")
    assert not consumer.done()
    await gate.let_go("2")
    with pytest.raises(StatusError) as caught:
        await consumer
    assert numbers(got) == [*range(6)]
    assert caught.value.__notes__ == [f"load, page 3, GET {URL}?page=3, after 6 rows"]
    assert gate.cancelled == len(gate.waiting) - 3


async def test_a_guess_beyond_the_end_may_fail() -> None:
    server = ModelServer("page", 9, refuses_past_end=True)
    paginator = PageNumber(3, past_end=[404])

    assert await read(paginate(server.fetch, REQUEST, paginator=paginator, prefetch=6)) == [*range(9)]
