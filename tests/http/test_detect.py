# SPDX-License-Identifier: Apache-2.0
"""What is concluded from the first page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.detect import detect
from airflow_provider_async.http.pages import (
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


def found(body: JSON, *, query: str = "", rows: int = 2, headers: dict[str, str] | None = None) -> Paginator:
    one: Page[object] = Page(
        number=1,
        request=PageRequest(url=URL + query),
        response=PageResponse(url=URL + query, status=200, headers=headers or {}, body=body),
        items=list(range(rows)),
        rows_before=0,
        largest=rows,
    )
    paginator, reason = detect(one)
    assert reason
    return paginator


@pytest.mark.parametrize(
    "path",
    [
        "@odata.nextLink",
        "next_url",
        "next_page_url",
        "nextLink",
        "links.next",
        "links.next.href",
        "_links.next.href",
        "_links.next",
        "paging.next",
        "paging.next.link",
        "pagination.next",
        "meta.next",
        "next",
        "next.href",
        "next_page",
    ],
)
@pytest.mark.parametrize("link", ["https://example.com/items?page=2", "/items?page=2", "?page=2", "items?page=2"])
def test_links_in_the_body(path: str, link: str) -> None:
    body: JSON = link
    for name in [path] if path.startswith("@") else reversed(path.split(".")):
        body = {name: body}

    assert found(body) == JSONLink(path)


@pytest.mark.parametrize(
    ("body", "paginator"),
    [
        ({"next_cursor": "abc"}, Cursor("next_cursor", "cursor")),
        ({"response_metadata": {"next_cursor": "abc="}}, Cursor("response_metadata.next_cursor", "cursor")),
        ({"nextPageToken": "abc/def=="}, Cursor("nextPageToken", "pageToken")),
        ({"next_page_token": "abc"}, Cursor("next_page_token", "page_token")),
        ({"paging": {"next": {"after": "7"}}}, Cursor("paging.next.after", "after")),
        ({"next": "abc", "next_url": None}, Cursor("next", "next")),
        ({"next_page": 2}, Cursor("next_page", "page")),
        ({"cursor": "abc", "total": 100}, Cursor("cursor", "cursor")),
        ({"next": "abc", "next_url": "/items?_next=abc"}, JSONLink("next_url")),
    ],
)
def test_cursors(body: JSON, paginator: Paginator) -> None:
    assert found(body) == paginator


def test_the_link_header_comes_first() -> None:
    header = {"Link": '<?page=2>; rel="next"'}
    assert found({"next_cursor": "abc", "total": 9}, headers=header) == LinkHeader()
    assert found([], headers=header) == LinkHeader()


def test_a_last_page_is_known_by_what_is_not_there() -> None:
    assert found([], headers={"Link": '<?page=1>; rel="first"'}) == LinkHeader()
    assert found({"next": None}) == JSONLink("next")
    assert found({"meta": {"next_cursor": ""}}) == JSONLink("meta.next_cursor")
    assert found({"next": None, "total": 2}, query="?page=1") == JSONLink("next")


@pytest.mark.parametrize(
    ("body", "query", "paginator"),
    [
        ({"total": 9, "offset": 0, "limit": 2}, "", Offset()),
        ({"total": 9, "startAt": 0, "maxResults": 2}, "", Offset(param="startAt")),
        ({"total_entries": 9}, "", Offset()),
        ({"total_entries": 2}, "", Offset()),
        ({"total": 9}, "?limit=2", Offset()),
        ({"total": 9}, "?maxResults=2", Offset(param="startAt", limit_param="maxResults")),
        ({"total": 9}, "?skip=0&limit=2", Offset(param="skip")),
        ([], "?offset=4", Offset()),
        ({"total": 9, "next": None}, "?offset=4", Offset()),
        ({"pagination": {"total": 9, "offset": 0}}, "", Offset()),
    ],
)
def test_offsets(body: JSON, query: str, paginator: Paginator) -> None:
    assert found(body, query=query) == paginator


@pytest.mark.parametrize(
    ("body", "query", "paginator"),
    [
        ({"page": 1, "total_pages": 5}, "", PageNumber()),
        ({"page": {"number": 0, "totalPages": 5}}, "", PageNumber(base=0)),
        ({"current_page": 1, "last_page": 5}, "", PageNumber()),
        ({"pageNumber": 1, "total": 9}, "", PageNumber(param="pageNumber")),
        ({"total_pages": 5}, "", PageNumber()),
        ({"total_pages": 1}, "", PageNumber()),
        ({"total": 9}, "?page=1&page_size=2", PageNumber(size_param="page_size")),
        ([], "?page=0", PageNumber(base=0)),
        ([], "?_page=1&_limit=2", PageNumber(param="_page", size_param="_limit")),
    ],
)
def test_page_numbers(body: JSON, query: str, paginator: Paginator) -> None:
    assert found(body, query=query) == paginator


def test_a_page_that_says_nothing_is_the_only_one() -> None:
    assert found([]) == SinglePage()
    assert found({"items": [], "has_more": False}) == SinglePage()
    assert found({"total": 2}) == SinglePage()
    assert found([], query="?limit=3") == SinglePage()
    assert found({"total": 2}, query="?limit=2") == SinglePage()
    assert found([], query="?limit=0") == SinglePage()


@pytest.mark.parametrize(
    ("body", "query", "message"),
    [
        ({"total": 9}, "", "there are more than its 2 rows"),
        ({"total": 9, "next": None}, "", "there are more than its 2 rows"),
        ({"has_more": True}, "", "'has_more' is true"),
        ({"pageInfo": {"hasNextPage": True}}, "", "'pageInfo.hasNextPage' is true"),
        ([], "?limit=2", "it has as many rows as were asked for with limit=2"),
        ([], "?per_page=1", "with per_page=1"),
    ],
)
def test_more_rows_that_nobody_knows_how_to_get_are_an_error(body: JSON, query: str, message: str) -> None:
    with pytest.raises(PaginationError) as caught:
        found(body, query=query)
    assert message in str(caught.value)
    assert "give paginator=" in str(caught.value)


@pytest.mark.parametrize(
    ("json", "body"),
    [
        ({"size": 2}, {"hits": {"hits": [{"id": 1}, {"id": 2}]}}),
        ({"query": "...", "variables": {"first": 2}}, {"data": {"orders": [{"id": 1}, {"id": 2}]}}),
        ({}, {"hits": {"total": {"value": 25, "relation": "eq"}, "hits": [{"id": 1}, {"id": 2}]}}),
    ],
)
def test_a_full_page_of_a_request_by_its_body_is_not_taken_for_all(json: dict[str, JSON], body: JSON) -> None:
    page: Page[object] = Page(
        number=1,
        request=PageRequest(method="POST", url=URL, json=json),
        response=PageResponse(url=URL, status=200, headers={}, body=body),
        items=[1, 2],
        rows_before=0,
        largest=2,
    )
    with pytest.raises(PaginationError, match="it is not clear how to get the rest"):
        detect(page)
