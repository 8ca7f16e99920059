# SPDX-License-Identifier: Apache-2.0
"""Requests and their answers, over real sockets: what is sent, what is tried again, and what goes wrong how."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import msgspec
import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import (
    BodyTooLarge,
    InvalidBody,
)
from airflow_provider_async.http import ApiKey, Bearer, HTTPClientPool
from tests.http.conftest import SOON, Fields, answer

if TYPE_CHECKING:
    from tests.http.conftest import ScriptedServer

ONCE = Retry(attempts=1)


# What is sent.


async def test_a_path_is_appended_to_the_base_url_and_parameters_replace_those_of_the_same_name(
    server: ScriptedServer,
) -> None:
    for path in ("/api/v1/items", "/api/v1"):
        server.on(path, answer("[]"))
    async with HTTPClientPool(None, base_url=f"{server.url}/api/") as pool:
        await pool.get_json("v1/items", params={"a": 1, "b": True, "c": None, "d": "x y&"})
        await pool.get_json("/v1/items?a=1&b=2", params=[("a", "3"), ("a", "4")])
        await pool.get_json(f"{server.url}/api/v1")

    assert server.paths() == ["/api/v1/items?a=1&b=true&d=x+y%26", "/api/v1/items?a=3&b=2&a=4", "/api/v1"]


async def test_json_forms_and_bytes_are_sent_as_what_they_are(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/", answer())
    await pool.request("post", "/", json={"a": [1, None]})
    await pool.request("PUT", "/", data={"a": "1", "b": "x y"})
    await pool.request("PATCH", "/", data=b"\x00", headers={"content-type": "application/x"})
    await pool.request("POST", "/", data="tëxt")

    assert [(one.method, one.headers.get("content-type"), one.body) for one in server.requests] == [
        ("POST", "application/json", b'{"a":[1,null]}'),
        ("PUT", "application/x-www-form-urlencoded", b"a=1&b=x+y"),
        ("PATCH", "application/x", b"\x00"),
        ("POST", "text/plain; charset=utf-8", "tëxt".encode()),
    ]
    with pytest.raises(ValueError, match="json and data are both given"):
        await pool.request("POST", "/", json=1, data=b"")


async def test_headers_of_a_request_win_over_those_of_the_connection(server: ScriptedServer) -> None:
    server.on("/", answer())
    fields = Fields(server.url, login="me", password="pw", extra_dejson={"X-Team": "a", "Accept": "x/y"})
    async with HTTPClientPool(connection=fields, headers={"X-More": "1"}) as pool:
        await pool.request("GET", "/")
        await pool.request("GET", "/", headers={"x-team": "b", "authorization": "mine"})

    first, second = (request.headers for request in server.requests)
    assert (first["x-team"], first["accept"], first["x-more"]) == ("a", "x/y", "1")
    assert first["authorization"] == "Basic bWU6cHc="
    assert (second["x-team"], second["authorization"]) == ("b", "mine")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://host/x", "must be of http or https"),
        ("http://me:pw@host/x", "a login in it"),
        ("//host/x", "without a scheme"),
    ],
)
async def test_a_url_that_makes_no_sense_is_refused_at_once(pool: HTTPClientPool, url: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        await pool.request("GET", url)
    assert "pw" not in str(caught.value)


async def test_without_a_base_url_all_urls_are_absolute(server: ScriptedServer) -> None:
    server.on("/x", answer("1"))
    async with HTTPClientPool(None, auth=Bearer("secret-token")) as pool:
        assert await pool.get_json(f"{server.url}/x") == 1
        with pytest.raises(ValueError, match="'x' is no absolute URL"):
            await pool.request("GET", "x?key=secret")
    assert server.requests[0].headers["authorization"] == "Bearer secret-token"


# Answers.


class Row(msgspec.Struct):
    id: int


@dataclass
class Point:
    x: int


class Named(TypedDict):
    name: str


async def test_json_is_decoded_into_types(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/rows", answer('[{"id": 1}]'))
    server.on("/point", answer('{"x": 1}'))
    server.on("/named", answer('{"name": "a"}'))

    assert await pool.get_json("rows", type=list[Row]) == [Row(1)]
    assert await pool.get_json("point", type=Point) == Point(1)
    assert await pool.get_json("named", type=Named) == {"name": "a"}
    server.on("/point", answer('{"x": "one"}'))
    with pytest.raises(InvalidBody, match=r"/point answered with JSON of another shape: Expected `int`, got .*x"):
        await pool.get_json("point", type=Point)


async def test_an_answer_tells_its_url_status_headers_and_text(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/", answer("é".encode("latin-1"), headers={"content-type": "text/plain; charset=latin-1", "X-A": "b"}))
    response = await pool.request("GET", "/")

    assert (response.status, response.headers["x-a"], response.url) == (200, "b", f"{server.url}/")
    assert response.text() == "é"
    assert repr(response) == "<Response 200: 1 bytes>"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ('{"a": "é"}'.encode("utf-8-sig"), "application/json"),
        ('{"a": "é"}'.encode("latin-1"), "application/json; charset=ISO-8859-1"),
        ('{"a": "é"}'.encode("utf-16"), "application/json; charset=utf-16"),
    ],
)
async def test_json_in_another_encoding_is_read_as_the_answer_says(
    server: ScriptedServer, pool: HTTPClientPool, body: bytes, content_type: str
) -> None:
    server.on("/", answer(body, headers={"Content-Type": content_type}))
    assert await pool.get_json("/") == {"a": "é"}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"a":\n  oops, "key": "topsecret"}', r"invalid character at byte 8 \(line 2, column 3\)"),
        (b'[1, "topsecret"', r"truncated at byte 15 \(line 1, column 16\)"),
        (b"", "truncated at byte 0"),
        (b"<html>topsecret</html>", "at byte 0"),
    ],
)
async def test_invalid_json_is_an_error_with_the_place_and_the_first_bytes_but_no_secret(
    server: ScriptedServer, body: bytes, place: str
) -> None:
    server.on("/x", answer(body))
    async with HTTPClientPool(None, base_url=server.url, auth=ApiKey("topsecret", query="key"), retry=SOON) as pool:
        with pytest.raises(InvalidBody, match=place) as caught:
            await pool.get_json("x")
    assert str(caught.value).startswith(f"{server.url}/x answered with no valid JSON")
    assert "topsecret" not in str(caught.value)
    assert ("***" in str(caught.value)) == (b"topsecret" in body)
    assert len(server.requests) == 1


async def test_bodies_are_decompressed(server: ScriptedServer, pool: HTTPClientPool) -> None:
    data = b'["x"]' * 10
    raw = zlib.compressobj(wbits=-15)
    server.on(
        "/gzip", answer(gzip.compress(data[:20]) + gzip.compress(data[20:]), headers={"Content-Encoding": "gzip"})
    )
    server.on("/deflate", answer(zlib.compress(data), headers={"Content-Encoding": "deflate"}))
    server.on("/raw", answer(raw.compress(data) + raw.flush(), headers={"Content-Encoding": "deflate"}))
    server.on("/plain", answer(data, headers={"Content-Encoding": "identity"}))
    server.on("/empty", answer(b"", headers={"Content-Encoding": "gzip"}))

    for path in ("gzip", "deflate", "raw", "plain"):
        assert (await pool.request("GET", path)).body == data
    assert (await pool.request("GET", "empty")).body == b""
    assert server.requests[0].headers["accept-encoding"] == "gzip, deflate"


async def test_an_unknown_or_broken_encoding_is_an_error(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/br", answer(b"x", headers={"Content-Encoding": "br"}))
    server.on("/bad", answer(b"no gzip at all", headers={"Content-Encoding": "gzip"}))

    with pytest.raises(InvalidBody, match="encoded as 'br', which was not asked for"):
        await pool.request("GET", "br")
    with pytest.raises(InvalidBody, match=r"GET .*/bad: the body is no valid gzip"):
        await pool.request("GET", "bad")


async def test_a_compressed_bomb_is_bounded(server: ScriptedServer) -> None:
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    server.on("/bomb", answer(bomb, headers={"Content-Encoding": "gzip"}))
    async with HTTPClientPool(None, base_url=server.url, max_body_bytes=1_000_000) as pool:
        with pytest.raises(BodyTooLarge, match="longer than 1000000 bytes"):
            await pool.request("GET", "bomb")
    async with HTTPClientPool(None, base_url=server.url) as pool:
        with pytest.raises(BodyTooLarge, match="more than 200 times as many"):
            await pool.request("GET", "bomb")
    assert len(server.requests) == 2


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_long_is_an_error(server: ScriptedServer, chunked: bool) -> None:
    body = b"x" * 2000
    server.on(
        "/",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + body + b"\r\n0\r\n\r\n"
        if chunked
        else answer(body),
    )
    async with HTTPClientPool(None, base_url=server.url, max_body_bytes=1999) as pool:
        with pytest.raises(BodyTooLarge, match="longer than 1999 bytes"):
            await pool.request("GET", "/")
    async with HTTPClientPool(None, base_url=server.url, max_body_bytes=2000) as pool:
        assert (await pool.request("GET", "/")).body == body
