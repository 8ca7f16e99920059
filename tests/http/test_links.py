# SPDX-License-Identifier: Apache-2.0
"""Links as RFC 8288 has them, and as servers write them."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.links import Link, follow, links, next_link
from airflow_provider_async.http.requests import PageRequest, PageResponse

PAGE = PageResponse(url="https://example.com/api/v2/items?page=1", status=200, headers={}, body=None)


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('<https://example.com/?page=2>; rel="next"', "https://example.com/?page=2"),
        ("<https://example.com/?page=2>; rel=next", "https://example.com/?page=2"),
        ('</?page=2>;rel="prev next"', "/?page=2"),
        ("</?page=2>; REL=NEXT", "/?page=2"),
        ('</?page=1>; rel="prev", </?page=3>; rel="next"', "/?page=3"),
        ('</?a=1,2>; rel="prev"; title="a, b; rel=\\"next\\"", </?page=3>; rel="next"', "/?page=3"),
        ('</?page=2>; title="x"; rel="next"; rel="prev"', "/?page=2"),
        ('</?page=2> ; rel = "next"', "/?page=2"),
        ('</?page=2>; rel; rel="next"', None),
        ('</?page=2>; rel="prev"; rel="next"', None),
        ('</?page=2>; rel="nextish"', None),
        ('</?page=2>; rel="next"; anchor="/other"', None),
        ('</?page=1>; rel="prev" rubbish "a, b" more, </?page=3>; rel="next"', "/?page=3"),
        (', ,</?page=3>; rel="next",', "/?page=3"),
        ('</?page=3>; rel="next"; title="never closed', "/?page=3"),
        ("nonsense", None),
        ("", None),
    ],
)
def test_the_next_link_is_found(header: str, target: str | None) -> None:
    assert next_link({"Link": header}) == target
    assert next_link({"link": header}) == target


def test_several_headers_are_one() -> None:
    headers = CIMultiDict([("link", '</?page=1>; rel="prev"'), ("LINK", '</?page=3>; rel="next"')])

    assert next_link(CIMultiDictProxy(headers)) == "/?page=3"
    assert next_link(CIMultiDictProxy(CIMultiDict[str]())) is None


def test_of_each_parameter_the_first_counts() -> None:
    assert links({"Link": '<a>; rel="first"; Rel="next"; title="say \\"a, b\\""'}) == [
        Link("a", {"rel": "first", "title": 'say "a, b"'})
    ]


@pytest.mark.parametrize(
    ("link", "url"),
    [
        ("https://other.example/x?y=1", "https://other.example/x?y=1"),
        ("/items?page=2", "https://example.com/items?page=2"),
        ("items?page=2", "https://example.com/api/v2/items?page=2"),
        ("?page=2", "https://example.com/api/v2/items?page=2"),
        ("//cdn.example/items", "https://cdn.example/items"),
        (" /items?page=2#top ", "https://example.com/items?page=2"),
        ("?after=a%2Fb,c==", "https://example.com/api/v2/items?after=a%2Fb,c=="),
    ],
)
def test_a_link_is_followed_from_the_page_that_has_it_and_as_it_is(link: str, url: str) -> None:
    request = PageRequest(method="POST", url="items", params=(("page", "1"), ("q", "x")), json={"a": 1})

    following = follow(request, PAGE, link)

    assert following == PageRequest(method="POST", url=url, json={"a": 1})


def test_parameters_are_kept_where_that_is_asked_for_and_never_twice() -> None:
    request = PageRequest(url="items?lang=en", params=(("q", "x"), ("page", "1")))

    following = follow(request, PAGE, "?page=2", keep_params=("q", "page", "lang", "missing"))

    assert following.url == "https://example.com/api/v2/items?page=2"
    assert following.query == (("page", "2"), ("q", "x"), ("lang", "en"))


@pytest.mark.parametrize("link", ["javascript:alert(1)", "file:///etc/passwd", "ftp://example.com/x"])
def test_a_link_of_another_scheme_is_refused(link: str) -> None:
    with pytest.raises(PaginationError, match="none of HTTP"):
        follow(PageRequest(url="items"), PAGE, link)


def test_a_link_from_the_root_is_followed_on_a_host_that_is_an_address() -> None:
    page = PageResponse(url="http://[::1]:80/a", status=200, headers={}, body=None)
    assert follow(PageRequest(url="/a"), page, "/b").url == "http://[::1]:80/b"
