# SPDX-License-Identifier: Apache-2.0
"""How each paginator gets from one page to the next."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict

from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.pages import (
    BodyCursor,
    Cursor,
    JSONLink,
    LinkHeader,
    Offset,
    Page,
    PageNumber,
    Paginator,
    SinglePage,
)
from airflow_provider_async.http.requests import PageRequest, PageResponse

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON

URL = "https://example.com/items"


def page(
    body: JSON = None,
    *,
    rows: int = 0,
    before: int = 0,
    number: int = 1,
    largest: int | None = None,
    headers: dict[str, str] | None = None,
    json: JSON = None,
    **params: int | str,
) -> Page[object]:
    request = PageRequest(url=URL, json=json).with_params(params)
    return Page(
        number=number,
        request=request,
        response=PageResponse(url=URL, status=200, headers=CIMultiDict(headers or {}), body=body),
        items=list(range(rows)),
        rows_before=before,
        largest=rows if largest is None else largest,
    )


def params(request: PageRequest | None) -> dict[str, str] | None:
    return None if request is None else dict(request.query)


def ahead(paginator: Paginator, one: Page[object], count: int = 9) -> list[dict[str, str]]:
    following = paginator.next(one)
    assert following is not None
    guesses = paginator.ahead(following, one)
    assert guesses is not None
    return [dict(guess.query) for guess in itertools.islice(guesses, count)]


def test_a_link_header_is_followed() -> None:
    following = LinkHeader().next(page(headers={"Link": '<?page=2>; rel="next"'}, page=1, q="x"))

    assert following == PageRequest(url=f"{URL}?page=2")
    assert LinkHeader().next(page(headers={"Link": '<?page=1>; rel="prev"'})) is None
    kept = LinkHeader(keep_params=["q"]).next(page(headers={"Link": '<?page=2>; rel="next"'}, q="x"))
    assert params(kept) == {"page": "2", "q": "x"}


def test_a_link_in_the_body_is_followed() -> None:
    assert JSONLink("links.next").next(page({"links": {"next": "?page=2"}}, q="x")) == PageRequest(url=f"{URL}?page=2")
    ends: list[JSON] = [{}, {"next": None}, {"next": ""}, {"next": False}]
    for end in ends:
        assert JSONLink().next(page(end)) is None
    with pytest.raises(PaginationError, match="at 'next' is no link, but a value of type int"):
        JSONLink().next(page({"next": 3}))


def test_a_cursor_is_sent_in_place_of_the_one_before() -> None:
    assert params(Cursor().next(page({"next_cursor": "b"}, cursor="a", q="x"))) == {"q": "x", "cursor": "b"}
    assert params(Cursor("data.-1.id", "after").next(page({"data": [{"id": 1}, {"id": 2}]}))) == {"after": "2"}
    ends: list[JSON] = [{}, {"next_cursor": None}, {"next_cursor": ""}]
    for end in ends:
        assert Cursor().next(page(end)) is None
    with pytest.raises(PaginationError, match="at 'next_cursor' is no cursor, but a value of type list"):
        Cursor().next(page({"next_cursor": ["a"]}))
    with pytest.raises(PaginationError, match="of type bool"):
        Cursor().next(page({"next_cursor": True}))


def test_a_cursor_ends_where_it_is_said_that_there_are_no_more() -> None:
    cursor = Cursor("last", "after", more="has_more")

    assert params(cursor.next(page({"last": "b", "has_more": True}))) == {"after": "b"}
    assert cursor.next(page({"last": "b", "has_more": False})) is None
    with pytest.raises(
        PaginationError, match="'has_more' says that there are more pages, but there is no cursor at 'last'"
    ):
        cursor.next(page({"has_more": True}))
    unclear: list[JSON] = [{"last": "b"}, {"last": "b", "has_more": 1}]
    for neither in unclear:
        with pytest.raises(PaginationError, match="at 'has_more' is neither true nor false"):
            cursor.next(page(neither))


def test_a_cursor_is_sent_in_the_body() -> None:
    cursor = BodyCursor("pageInfo.endCursor", "variables.after", more="pageInfo.hasNextPage")
    first: JSON = {"query": "...", "variables": {"first": 9}}

    following = cursor.next(page({"pageInfo": {"endCursor": "x", "hasNextPage": True}}, json=first))

    assert following is not None
    assert following.json == {"query": "...", "variables": {"first": 9, "after": "x"}}
    assert cursor.next(page({"pageInfo": {"endCursor": "x", "hasNextPage": False}}, json=first)) is None


def test_offsets_step_by_the_rows_received() -> None:
    offset = Offset(500)

    assert params(offset.first(PageRequest(url=f"{URL}?limit=20"))) == {"offset": "0", "limit": "500"}
    assert params(offset.next(page(rows=100, offset=0, limit=500))) == {"limit": "500", "offset": "100"}
    assert params(offset.next(page({"total": 120}, rows=100, offset=0, limit=500))) == {"limit": "500", "offset": "100"}
    assert offset.next(page(rows=0, offset=300)) is None
    assert params(Offset(param="skip", limit_param="top").first(PageRequest(url=URL, params=(("skip", "7"),)))) == {
        "skip": "7"
    }


def test_an_offset_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="the parameter 'offset' must be a number, not 'x'"):
        Offset().first(PageRequest(url=URL, params=(("offset", "x"),)))


def test_a_total_that_a_short_page_meets_ends_it_and_one_that_a_full_page_meets_is_looked_behind() -> None:
    offset = Offset()

    assert offset.next(page({"total": 20}, rows=20, limit=100)) is None
    assert offset.next(page({"total": 120}, rows=20, before=100, number=2, largest=100, offset=100, limit=100)) is None
    doubt = offset.next(page({"total": 200}, rows=100, before=100, number=2, offset=100, limit=100))
    assert doubt is not None
    assert doubt.param("offset") == "200"
    assert 404 in doubt.past_end
    certain = Offset(past_end=[416]).next(page({"total": 300}, rows=100, offset=0))
    assert certain is not None
    assert certain.past_end == {416}


def test_a_total_that_is_exceeded_ends_nothing() -> None:
    assert params(Offset().next(page({"total": 10}, rows=20, limit=100))) == {"limit": "100", "offset": "20"}


def test_a_total_is_counted_from_where_the_run_began() -> None:
    assert Offset().promised(page({"total": 120}, rows=10, before=20, number=3, offset=120)) == 20
    assert Offset().promised(page({"total": 120}, rows=0, offset=300)) == 0
    assert Offset().promised(page({}, rows=10)) is None
    assert PageNumber().promised(page({"total": 120}, rows=10, number=2, before=10, page=2)) == 120
    assert PageNumber().promised(page({"total": 120}, rows=10, number=2, before=10, page=5)) is None


def test_offsets_are_known_ahead() -> None:
    offsets = ahead(Offset(), page({"total": 350}, rows=100, offset=0))
    assert [one["offset"] for one in offsets] == ["200", "300"]
    # Without a total they are guessed, where a page is as large as one can be.
    assert [one["offset"] for one in ahead(Offset(), page(rows=100, offset=0, limit=100), 3)] == ["200", "300", "400"]
    assert [one["offset"] for one in ahead(Offset(), page(rows=9, before=9, number=2, offset=9), 2)] == ["27", "36"]
    assert ahead(Offset(), page(rows=20, offset=0, limit=100)) == []
    assert list(Offset().ahead(PageRequest(url=URL), page(rows=0)) or ()) == []


def test_pages_are_counted() -> None:
    numbers = PageNumber(50)

    assert params(numbers.first(PageRequest(url=URL))) == {"page": "1", "per_page": "50"}
    assert params(PageNumber(base=0).first(PageRequest(url=URL))) == {"page": "0"}
    assert params(PageNumber().first(PageRequest(url=f"{URL}?page=7"))) == {"page": "7"}
    assert params(numbers.next(page(rows=50, page=1))) == {"page": "2"}
    assert numbers.next(page(rows=0, page=3)) is None


def test_the_last_page_is_where_the_server_says() -> None:
    numbers = PageNumber()

    assert params(numbers.next(page({"total_pages": 3}, rows=0, number=2, page=2))) == {"page": "3"}
    assert numbers.next(page({"total_pages": 3}, rows=1, number=3, largest=2, page=3)) is None
    assert numbers.next(page({"total_pages": 3}, rows=0, number=3, largest=2, page=3)) is None
    doubt = numbers.next(page({"total_pages": 3}, rows=2, number=3, page=3))
    assert doubt is not None
    assert 404 in doubt.past_end
    assert params(numbers.next(page({"total_pages": 3}, rows=2, number=4, page=4))) == {"page": "5"}
    assert numbers.next(page({"total_pages": 1}, rows=2)) is None
    assert PageNumber(base=0).next(page({"total_pages": 1}, rows=2, page=0)) is None
    assert params(PageNumber(base=0).next(page({"total_pages": 2}, rows=2, page=0))) == {"page": "1"}
    assert params(PageNumber(pages="n", total=None).next(page({"n": 2, "total_pages": 1}, rows=2))) == {"page": "2"}


def test_the_last_page_is_where_a_total_is_met() -> None:
    numbers = PageNumber()

    assert params(numbers.next(page({"total": 6}, rows=0, before=2, number=2, largest=2, page=2))) == {"page": "3"}
    # Three pages of two would have been enough.
    assert numbers.next(page({"total": 6}, rows=0, before=4, number=3, largest=2, page=3)) is None
    assert numbers.next(page({"total": 5}, rows=1, before=4, number=3, largest=2, page=3)) is None
    assert params(numbers.next(page({"total": 6}, rows=2, before=4, number=3, page=3))) == {"page": "4"}


def test_page_numbers_are_known_ahead() -> None:
    def numbers(one: Page[object]) -> list[str]:
        return [request["page"] for request in ahead(PageNumber(), one, 3)]

    assert numbers(page({"total_pages": 4}, rows=2, page=1)) == ["3", "4"]
    assert numbers(page({"total": 7}, rows=2, page=1)) == ["3", "4"]
    assert numbers(page({"total": 8}, rows=2, page=1)) == ["3", "4"]
    assert numbers(page({"total": 9}, rows=2, page=1)) == ["3", "4", "5"]
    assert numbers(page(rows=2, page=1, per_page=2)) == ["3", "4", "5"]
    assert numbers(page(rows=2, page=1)) == []
    assert numbers(page({"total": 9}, rows=0, before=2, number=2, largest=2, page=2)) == []


def test_links_and_cursors_are_not() -> None:
    one = page({"next_cursor": "b"})
    for paginator in (LinkHeader(), JSONLink(), Cursor(), BodyCursor(), SinglePage()):
        assert paginator.ahead(one.request, one) is None


@pytest.mark.parametrize(
    ("body", "headers", "total"),
    [
        ({"total": 7}, {}, 7),
        ({"total": "7"}, {}, 7),
        ({"meta": {"totalCount": 7}}, {}, 7),
        ({"total_entries": 7, "count": 3}, {}, 7),
        ({"count": 7}, {}, 7),
        # What is called so and is the number of rows on this page may be just that.
        ({"count": 3}, {}, None),
        ({"total": True, "total_count": -1, "totalCount": 1.5}, {}, None),
        ({"total": {"value": 7}}, {}, 7),
        ({"hits": {"total": {"value": 7, "relation": "eq"}}}, {}, 7),
        ({"total": {"of": 7}}, {}, None),
        ([], {"X-Total-Count": "7"}, 7),
        ([], {"x-total": " 7 "}, 7),
        ([], {"X-Total-Count": "many"}, None),
    ],
)
def test_totals_are_found(body: JSON, headers: dict[str, str], total: int | None) -> None:
    assert SinglePage().promised(page(body, rows=3, headers=headers)) == total
    assert SinglePage().next(page(body, rows=3, headers=headers)) is None


def test_a_total_is_looked_for_where_the_caller_says() -> None:
    body: JSON = {"total": 7, "hits": {"total": {"value": 9}}}

    assert LinkHeader(total="hits.total.value").promised(page(body)) == 9
    assert LinkHeader(total="nowhere").promised(page(body)) is None
    assert LinkHeader(total=None).promised(page(body)) is None
    assert PageNumber(pages=None, total=None).next(page({"total_pages": 1, "total": 1}, rows=1)) is not None


def test_a_paginator_of_ones_own_needs_one_method() -> None:
    class Countdown(Paginator):
        def next(self, page: Page[object]) -> PageRequest | None:
            left = int(page.request.param("left") or 0)
            return page.request.with_params({"left": left - 1}) if left else None

    one = page(left=1)
    assert Countdown().first(one.request) is one.request
    assert params(Countdown().next(one)) == {"left": "0"}
    assert Countdown().promised(one) is None
    assert Countdown().ahead(one.request, one) is None


def body_page(rows: int, json: JSON, *, before: int = 0, body: JSON = None, number: int = 1) -> Page[object]:
    return page(body, rows=rows, before=before, json=json, number=number, largest=max(rows, before))


def test_an_offset_may_stand_in_the_body_of_the_request() -> None:
    paginator = Offset(50, param="variables.offset", limit_param="variables.limit", in_body=True)
    asked: JSON = {"query": "{...}", "variables": {"state": "open"}}

    first = paginator.first(PageRequest(url=URL, json=asked))
    following = paginator.next(body_page(50, first.json))

    assert first.json == {"query": "{...}", "variables": {"state": "open", "offset": 0, "limit": 50}}
    assert following is not None
    assert following.json == {"query": "{...}", "variables": {"state": "open", "offset": 50, "limit": 50}}
    assert following.url == URL
    assert not following.params


def test_a_page_number_may_stand_in_the_body_of_the_request_and_be_known_ahead() -> None:
    paginator = PageNumber(10, param="paging.page", size_param="paging.size", in_body=True)
    first = paginator.first(PageRequest(url=URL, json={"paging": {"page": 3}}))
    one = body_page(10, first.json, body={"total_pages": 6})

    following = paginator.next(one)

    assert following is not None
    assert following.json == {"paging": {"page": 4, "size": 10}}
    guesses = paginator.ahead(following, one)
    assert guesses is not None
    assert [guess.json for guess in guesses] == [{"paging": {"page": at, "size": 10}} for at in (5, 6)]


def test_what_is_no_number_in_the_body_of_the_request_is_refused() -> None:
    with pytest.raises(ValueError, match="'from' must be a number, not 'x'"):
        Offset(param="from", in_body=True).first(PageRequest(url=URL, json={"from": "x"}))


def test_a_cursor_in_the_body_may_be_a_list() -> None:
    paginator = BodyCursor("hits.hits.-1.sort", into="search_after")
    hits: JSON = {"hits": {"hits": [{"sort": [1, "a"]}, {"sort": [2.5, None]}]}}

    following = paginator.next(page(hits, rows=2, json={"size": 2}))

    assert following is not None
    assert following.json == {"size": 2, "search_after": [2.5, None]}
    assert paginator.next(page({"hits": {"hits": []}}, rows=0, json={"size": 2})) is None


@pytest.mark.parametrize("value", [{"a": 1}, [[1]], [{"a": 1}], 2.5, True])
def test_what_is_no_cursor_for_a_body_is_an_error(value: JSON) -> None:
    with pytest.raises(PaginationError, match="is no cursor"):
        BodyCursor().next(page({"next_cursor": value}, rows=1))


def test_a_cursor_in_the_query_is_no_list() -> None:
    with pytest.raises(PaginationError, match="is no cursor, but a value of type list"):
        Cursor().next(page({"next_cursor": [1]}, rows=1))
