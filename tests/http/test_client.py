# SPDX-License-Identifier: Apache-2.0
"""Requests and their answers, over real sockets: what is sent, what is tried again, and what goes wrong how."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec
import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import (
    BodyTooLarge,
    ConnectionFailed,
    HTTPStatusError,
    InvalidBody,
    OperationTimeout,
    TransientResponse,
    UnsafeURL,
)
from airflow_provider_async.http import ApiKey, Basic, Bearer, HTTPClientPool
from tests.http.conftest import SOON, Fields, answer

if TYPE_CHECKING:
    from airflow_provider_async.http.response import Response
    from tests.http.conftest import Request, ScriptedServer

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


# What is tried again.


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "POST", "PATCH"])
async def test_these_statuses_are_tried_again_for_idempotent_methods_and_two_for_any(
    server: ScriptedServer, pool: HTTPClientPool, method: str, status: int
) -> None:
    head = method == "HEAD"
    server.on("/", answer("" if head else "no", status=status), answer("" if head else "yes"))
    repeated = method not in ("POST", "PATCH") or status in (429, 503)
    if repeated:
        assert (await pool.request(method, "/")).status == 200
    else:
        with pytest.raises(HTTPStatusError) as caught:
            await pool.request(method, "/")
        assert caught.value.status == status
    assert len(server.requests) == 1 + repeated


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 501])
async def test_other_statuses_are_not(server: ScriptedServer, pool: HTTPClientPool, status: int) -> None:
    server.on("/", answer("because", status=status))
    with pytest.raises(HTTPStatusError, match=rf"GET {server.url}/ was answered with {status} Reason: because"):
        await pool.request("GET", "/")
    assert len(server.requests) == 1


async def test_a_post_that_may_be_sent_twice_is_tried_again(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/", answer(status=500), answer("ok"))
    assert (await pool.request("POST", "/", idempotent=True)).body == b"ok"


async def test_attempts_are_bounded_and_the_last_error_is_raised(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/", answer(status=500), answer(status=502))
    with pytest.raises(HTTPStatusError, match="502"):
        await pool.request("GET", "/", retry=Retry(attempts=3, initial_seconds=0.001))
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        answer("only a part", length=100),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n",
        answer(gzip.compress(b"x" * 1000)[:-9], headers={"Content-Encoding": "gzip"}),
        b"SSH-2.0-OpenSSH_9\r\nConnection: close\r\n\r\n",
    ],
    ids=["hung up", "half a head", "wrong length", "half a chunk", "half a gzip", "not HTTP"],
)
async def test_an_answer_that_is_not_complete_is_asked_for_again(
    server: ScriptedServer, pool: HTTPClientPool, broken: bytes
) -> None:
    # aiohttp itself asks once more where an idle connection turns out to be closed.
    server.on("/", broken, broken, broken, answer("whole"))
    assert (await pool.request("GET", "/")).body == b"whole"

    server.on("/", broken)
    with pytest.raises(ConnectionFailed, match=rf"^GET {server.url}/: "):
        await pool.request("GET", "/", retry=ONCE)


async def test_a_reset_in_the_middle_of_a_body_is_asked_for_again(server: ScriptedServer, pool: HTTPClientPool) -> None:
    async def reset(request: Request) -> bytes:
        if len(server.requests) > 2:
            return answer("whole")
        request.writer.write(answer("begin", length=10_000))
        await request.writer.drain()
        request.writer.transport.abort()
        return b""

    server.handle("/", reset)
    assert (await pool.request("GET", "/")).body == b"whole"
    assert len(server.requests) == 3


async def test_a_connection_that_is_refused_is_tried_again_and_then_named(server: ScriptedServer) -> None:
    server.on("/", answer("ok"))
    async with HTTPClientPool(
        None, base_url="http://127.0.0.1:1", retry=SOON, auth=ApiKey("topsecret", query="k")
    ) as pool:
        began = time.monotonic()
        with pytest.raises(ConnectionFailed, match=r"GET http://127.0.0.1:1/x\?a=1: .*127.0.0.1:1"):
            await pool.request("GET", "x?a=1")
        assert time.monotonic() - began < 5


async def test_a_name_that_does_not_exist_is_not_tried_again(pool: HTTPClientPool) -> None:
    with pytest.raises(OSError, match=r"nowhere\.invalid"):
        await pool.request("GET", "http://nowhere.invalid/", retry=Retry(initial_seconds=1000, budget_seconds=10**6))


async def test_a_server_that_says_nothing_is_given_up(server: ScriptedServer) -> None:
    async def silent(_: Request) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    server.handle("/", silent)
    async with HTTPClientPool(None, base_url=server.url, timeout=0.1) as pool:
        with pytest.raises(OperationTimeout, match=rf"GET {server.url}/: there was no complete answer in time"):
            await pool.request("GET", "/", retry=ONCE)
        assert pool.statistics().leased == 0


async def test_a_server_that_stops_in_the_middle_is_given_up_and_asked_again(server: ScriptedServer) -> None:
    async def stops(request: Request) -> bytes:
        if len(server.requests) > 1:
            return answer("whole")
        request.writer.write(answer("begin", length=10_000))
        await asyncio.Event().wait()
        raise AssertionError

    server.handle("/", stops)
    async with HTTPClientPool(None, base_url=server.url, timeout=0.1, retry=SOON) as pool:
        assert (await pool.request("GET", "/")).body == b"whole"


async def test_a_slow_loris_is_given_up_after_the_total_time(server: ScriptedServer) -> None:
    async def trickle(request: Request) -> bytes:
        request.writer.write(answer("", length=10_000))
        while True:
            request.writer.write(b"x")
            await request.writer.drain()
            await asyncio.sleep(0.01)

    server.handle("/", trickle)
    async with HTTPClientPool(None, base_url=server.url, timeout=10, total_timeout=0.2) as pool:
        with pytest.raises(OperationTimeout):
            await pool.request("GET", "/", retry=ONCE)


async def test_a_slow_body_that_keeps_coming_is_read_to_its_end(server: ScriptedServer) -> None:
    async def slow(request: Request) -> None:
        request.writer.write(answer("", length=20))
        for _ in range(20):
            request.writer.write(b"x")
            await request.writer.drain()
            await asyncio.sleep(0.02)

    server.handle("/", slow)
    async with HTTPClientPool(None, base_url=server.url, timeout=0.2) as pool:
        assert (await pool.request("GET", "/", retry=ONCE)).body == b"x" * 20


async def test_a_cancellation_from_outside_is_no_time_out_and_loses_no_lease(server: ScriptedServer) -> None:
    arrived = asyncio.Event()

    async def silent(_: Request) -> bytes:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.handle("/", silent)
    async with HTTPClientPool(None, base_url=server.url) as pool:
        job = asyncio.create_task(pool.request("GET", "/"))
        await arrived.wait()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert pool.statistics().leased == 0


# Being asked to wait.


async def test_retry_after_is_waited_for_by_all_calls_together(server: ScriptedServer, pool: HTTPClientPool) -> None:
    times: list[float] = []

    def handle(_: Request) -> bytes:
        times.append(time.monotonic())
        return answer(status=429, headers={"Retry-After": "1"}) if len(times) == 1 else answer("ok")

    server.handle("/", handle)
    first = asyncio.create_task(pool.request("GET", "/"))
    await server.asked()
    await asyncio.sleep(0.1)
    await asyncio.gather(first, *(pool.request("POST", "/") for _ in range(5)))

    assert len(times) == 7
    assert min(times[1:]) - times[0] >= 0.99


async def test_a_wait_beyond_the_budget_is_not_waited_for(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/", answer(status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(HTTPStatusError, match="429") as caught:
        await pool.request("GET", "/")
    assert caught.value.retry_after == 3600
    assert caught.value.__notes__[0].startswith("not tried again: that would take 3600.0 s, and the budget has")
    assert len(server.requests) == 1
    server.on("/", answer("ok"))
    assert (await pool.request("GET", "/")).status == 200


class Window:
    """A server that takes so many requests in each window of time."""

    def __init__(self, requests: int, seconds: float, headers: str) -> None:
        self.requests = requests
        self.seconds = seconds
        self.headers = headers
        self.began = time.monotonic()
        self.taken = 0
        self.refused = 0

    def __call__(self, _: Request) -> bytes:
        now = time.monotonic()
        if now - self.began >= self.seconds:
            self.began, self.taken = now, 0
        left = self.began + self.seconds - now
        is_refused = self.taken >= self.requests
        self.taken += not is_refused
        remaining = self.requests - self.taken
        headers = {
            "retry-after": {"Retry-After": str(1 + int(left))},
            "structured": {"RateLimit": f'"default";r={remaining};t={left:.3f}'},
            "x-ratelimit": {"X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": f"{left:.3f}"},
            "none": {},
        }[self.headers]
        if self.headers == "retry-after" and not is_refused:
            headers = {}
        self.refused += is_refused
        return answer(status=429 if is_refused else 200, headers=headers)


@pytest.mark.parametrize("headers", ["retry-after", "structured", "x-ratelimit", "none"])
async def test_a_storm_of_refusals_passes_without_an_error(server: ScriptedServer, headers: str) -> None:
    window = Window(20, 0.3, headers)
    server.handle("/", window)
    async with HTTPClientPool(
        None, base_url=server.url, max_concurrency=16, retry=Retry(initial_seconds=0.05, budget_seconds=40)
    ) as pool:
        responses = await asyncio.gather(*(pool.request("GET", "/") for _ in range(60)))

    assert [response.status for response in responses] == [200] * 60
    if headers in ("structured", "x-ratelimit"):
        # The headers of success were heeded, so that hardly any came too early.
        assert window.refused <= 32


async def test_a_rate_spreads_the_requests(server: ScriptedServer) -> None:
    times: list[float] = []

    def handle(_: Request) -> bytes:
        times.append(time.monotonic())
        return answer()

    server.handle("/", handle)
    async with HTTPClientPool(None, base_url=server.url, rate=(50, 1)) as pool:
        await asyncio.gather(*(pool.request("GET", "/") for _ in range(11)))
    assert times[-1] - times[0] >= 0.19


# Errors that are hidden in a 200.


async def test_a_check_sees_each_answer_and_its_transient_errors_are_tried_again(server: ScriptedServer) -> None:
    def check(response: Response) -> None:
        body = response.json()
        if body.get("error") == "busy":
            raise TransientResponse("the server is busy")
        if "error" in body:
            raise LookupError(body["error"])

    server.on("/", answer('{"error": "busy"}'), answer('{"ok": 1}'))
    async with HTTPClientPool(None, base_url=server.url, retry=SOON, check=check) as pool:
        assert await pool.get_json("/") == {"ok": 1}
        server.on("/", answer('{"error": "gone"}'))
        with pytest.raises(LookupError, match="gone"):
            await pool.get_json("/")
        server.on("/", answer('{"error": "busy"}'))
        with pytest.raises(TransientResponse):
            await pool.request("POST", "/")
        assert (await pool.request("GET", "/", check=lambda _: None)).status == 200
    assert len(server.requests) == 2 + 1 + SOON.attempts + 1


# Redirects.


async def test_redirects_are_followed_with_the_method_that_they_ask_for(
    server: ScriptedServer, pool: HTTPClientPool
) -> None:
    server.on("/end", answer("end"))
    for status in (301, 302, 303, 307, 308):
        server.on(f"/{status}", answer(status=status, headers={"Location": "/end?x=%2F"}))
        response = await pool.request("POST", str(status), data=b"body")
        assert (response.body, response.url) == (b"end", f"{server.url}/end?x=%2F")
        last = server.requests[-1]
        assert (last.method, last.body) == (("GET", b"") if status < 304 else ("POST", b"body"))
        assert last.target == "/end?x=%2F"


async def test_redirects_that_never_end_are_an_error(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/", answer(status=302, headers={"Location": "/"}))
    with pytest.raises(UnsafeURL, match="more than 10 redirects"):
        await pool.request("GET", "/")


async def test_redirects_are_left_alone_where_the_connection_says_so(server: ScriptedServer) -> None:
    server.on("/", answer(status=302, headers={"Location": "/other"}))
    async with HTTPClientPool(connection=Fields(server.url, extra_dejson={"allow_redirects": False})) as pool:
        assert (await pool.request("GET", "/")).status == 302


@pytest.mark.parametrize(
    "auth",
    [
        Basic("me", "topsecret"),
        Bearer("topsecret"),
        ApiKey("topsecret", header="X-Key"),
        ApiKey("topsecret", query="k"),
    ],
)
async def test_a_login_never_leaves_its_origin(
    server: ScriptedServer,
    other_server: ScriptedServer,
    auth: Any,  # noqa: ANN401 - of several types
) -> None:
    server.on("/", answer(status=307, headers={"Location": f"{other_server.url}/there"}))
    other_server.on("/there", answer(status=307, headers={"Location": f"{server.url}/back"}))
    server.on("/back", answer("ok"))
    fields = Fields(server.url, extra_dejson={"X-Tenant": "topsecret"})
    async with HTTPClientPool(connection=fields, auth=auth) as pool:
        await pool.request("GET", "/", headers={"X-Mine": "topsecret", "Accept": "x/y", "Cookie": "topsecret"})
        await pool.request("GET", f"{other_server.url}/there")

    told = [f"{request.target} {sorted(request.headers.items())}" for request in other_server.requests]
    assert len(told) == 2
    assert "topsecret" not in str(told)
    assert "x/y" in told[0]
    # Nor does whoever was led to lead back with it.
    assert "topsecret" not in str([server.requests[1].target, server.requests[1].headers])


async def test_a_login_goes_to_hosts_that_are_allowed_by_name(
    server: ScriptedServer, other_server: ScriptedServer
) -> None:
    server.on("/", answer(status=307, headers={"Location": f"{other_server.url}/there"}))
    other_server.on("/there", answer("ok"))
    allowed = [f"127.0.0.1:{other_server.port}"]
    async with HTTPClientPool(None, base_url=server.url, auth=Bearer("token"), allowed_hosts=allowed) as pool:
        await pool.request("GET", "/")
        await pool.request("GET", f"{other_server.url}/there")
    assert [request.headers.get("authorization") for request in other_server.requests] == ["Bearer token"] * 2


async def test_a_refusal_after_a_redirect_says_that_the_login_was_left_behind(
    server: ScriptedServer, other_server: ScriptedServer
) -> None:
    server.on("/", answer(status=302, headers={"Location": f"{other_server.url}/there"}))
    other_server.on("/there", answer(status=403))
    async with HTTPClientPool(None, base_url=server.url, auth=Bearer("token")) as pool:
        with pytest.raises(
            HTTPStatusError, match=r"403 Reason after a redirect to http://127.0.0.1, which gets no login"
        ):
            await pool.request("GET", "/")


@pytest.mark.parametrize("location", ["ftp://host/x", "http://", "http://[bad"])
async def test_a_redirect_to_nowhere_is_an_error(server: ScriptedServer, pool: HTTPClientPool, location: str) -> None:
    server.on("/", answer(status=302, headers={"Location": location}))
    with pytest.raises(UnsafeURL, match="a redirect leads to"):
        await pool.request("GET", "/")


# Nothing that is secret is told.


async def test_no_error_and_no_log_tells_a_secret(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    secrets = ("k/e+y=topsecret", "hdr-topsecret", "sig-topsecret")
    echo = json.dumps({"you sent": secrets, "padding": "x" * 1000})
    server.handle("/fail", lambda request: answer(f"{request.target} {dict(request.headers)} {echo}", status=400))
    server.on("/cut", answer("x", length=2))
    server.on("/json", answer(echo[:-1]))
    server.on("/loop", answer(status=302, headers={"Location": "/loop?token=sig-topsecret"}))
    fields = Fields(server.url, extra_dejson={"X-Auth": secrets[1]})
    with caplog.at_level(logging.DEBUG):
        async with HTTPClientPool(connection=fields, auth=ApiKey(secrets[0], query="api_key"), retry=SOON) as pool:
            for path in ("fail", "cut", "json", "loop"):
                with pytest.raises(Exception) as caught:  # noqa: PT011 - of several types
                    await pool.get_json(f"{path}?sig=sig-topsecret&page=2")
                error: BaseException | None = caught.value
                text = f"{error!r} {error} {getattr(error, 'body', '')} {getattr(error, 'url', '')}"
                # What the server echoes of a value that it alone calls secret is not known here.
                assert "k%2Fe" not in text
                for secret in secrets[:2]:
                    assert secret not in text
                assert "page=2" in text
                assert error is not None
                assert error.__cause__ is None
                assert error.__suppress_context__ or error.__context__ is None
            assert "topsecret" not in repr(pool)
    assert "topsecret" not in caplog.text
