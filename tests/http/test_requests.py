# SPDX-License-Identifier: Apache-2.0
"""Requests for pages: their parameters, what tells them apart, and what is shown of them."""

from __future__ import annotations

import pytest

from airflow_provider_async.http.requests import PageRequest, PageResponse, redacted


def test_a_parameter_is_found_wherever_it_stands() -> None:
    request = PageRequest(url="/items?a=1&b=&a=2", params=(("c", "3"),))

    assert request.query == (("a", "1"), ("b", ""), ("a", "2"), ("c", "3"))
    assert (request.param("a"), request.param("b"), request.param("c"), request.param("d")) == ("1", "", "3", None)


def test_a_parameter_that_is_set_is_there_once() -> None:
    request = PageRequest(url="/items?%6Fffset=0&q=a%2Cb&offset=1", params=(("offset", "2"), ("x", "y")))

    changed = request.with_params({"offset": 300})

    assert changed == PageRequest(url="/items?q=a%2Cb", params=(("x", "y"), ("offset", "300")))
    assert PageRequest(url="/items").with_params({"a": "b"}).url == "/items"


def test_the_same_request_is_known_in_any_form() -> None:
    request = PageRequest(url="/items?a=1", params=(("b", "x y"),), json={"a": 1, "b": 2})

    assert request.key == PageRequest(url="/items?b=x+y&a=1#top", json={"b": 2, "a": 1}).key
    others = [
        PageRequest(url="/items?a=1", json={"a": 1, "b": 2}),
        PageRequest(url="/items?a=1&b=x+y"),
        PageRequest(url="/items?a=1&b=x+y", json={"a": 1, "b": 3}),
        PageRequest(method="POST", url="/items?a=1&b=x+y", json={"a": 1, "b": 2}),
        PageRequest(url="/others?a=1&b=x+y", json={"a": 1, "b": 2}),
    ]
    assert len({request.key, *(other.key for other in others)}) == 6


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "key",
        "sig",
        "api_key",
        "apikey",
        "X-Api-Key",
        "access_token",
        "client_secret",
        "password",
        "auth",
        "code",
        "X-Amz-Signature",
        "X-Amz-Security-Token",
        "subscription-key",
        "signature",
    ],
)
def test_secrets_are_not_shown(name: str) -> None:
    request = PageRequest(url=f"https://user:hidden@example.com/items?{name}=hidden&a=1", params=((name, "hidden"),))

    for text in (str(request), repr(request), redacted(request.url)):
        assert "hidden" not in text
        assert "https://example.com/items" in text
        assert "a=1" in text


@pytest.mark.parametrize("name", ["page_token", "pageToken", "continuationToken", "cursor", "$skiptoken", "next_token"])
def test_cursors_are(name: str) -> None:
    assert "=abc" in str(PageRequest(url="/items", params=((name, "abc"),)))


def test_what_is_shown_is_short_and_has_no_body() -> None:
    request = PageRequest(url="/items", params=(("cursor", "x" * 1_000),), json={"hidden": 1}, headers={"X": "hidden"})
    assert len(repr(request)) < 350
    assert repr(request).endswith("...>")
    assert "hidden" not in repr(request)
    assert "hidden" not in repr(PageResponse(url="/", status=200, headers={"X": "hidden"}, body="hidden"))
