# SPDX-License-Identifier: Apache-2.0
"""Requests that fail, over real sockets: what is tried again, and what goes wrong how."""

from __future__ import annotations

import asyncio
import gzip
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import (
    ConnectionFailed,
    HTTPStatusError,
    OperationTimeout,
    TransientResponse,
)
from airflow_provider_async.http import ApiKey, HTTPClientPool
from tests.http.conftest import SOON, answer

if TYPE_CHECKING:
    from airflow_provider_async.http.response import Response
    from tests.http.conftest import Request, ScriptedServer

ONCE = Retry(attempts=1)


# What is tried again.


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "POST", "PATCH"])
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
