# SPDX-License-Identifier: Apache-2.0
"""A pool that finds out how many requests at once are best."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async import Shard
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.http import AsyncHTTPHook, HTTPClientPool
from tests.http.conftest import Fields
from tests.servers.http import Answer, HTTPServer, Request, http_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Refusing:
    """Answers 429 where there are more than so many at once."""

    def __init__(self, server: HTTPServer, most: int) -> None:
        self._server = server
        self._most = most
        self.refused = 0

    async def __call__(self, _: Request) -> Answer:
        if self._server.in_flight > self._most:
            self.refused += 1
            return Answer(status=429)
        await asyncio.sleep(0.01)
        return Answer(body=b"{}")


@pytest.fixture
async def running() -> AsyncIterator[HTTPServer]:
    async with http_server() as server:
        yield server


async def test_it_begins_low_and_goes_up(running: HTTPServer) -> None:
    go_on = asyncio.Event()

    async def answer(_: Request) -> Answer:
        await go_on.wait()
        return Answer(body=b"{}")

    running.on("/*", answer)
    async with HTTPClientPool(None, base_url=running.url(), max_concurrency="auto") as pool, asyncio.timeout(50):
        assert (pool.statistics().limit, pool.statistics().auto) == (4, True)
        first = asyncio.gather(*(pool.request("GET", str(number)) for number in range(20)))
        while running.in_flight < 4:  # noqa: ASYNC110 - the server's side tells nobody
            await asyncio.sleep(0.01)
        # Nothing has ended, so nothing is known.
        assert running.most_in_flight == 4
        go_on.set()
        await first
        while pool.statistics().limit == 4:
            async for _ in pool.get_many(str(number) for number in range(100)):
                pass
        assert pool.statistics().limit > 4


async def test_it_stays_below_what_the_server_refuses(running: HTTPServer) -> None:
    refusing = Refusing(running, 6)
    running.on("/*", refusing)
    retry = Retry(initial_seconds=0.02, max_seconds=0.05)
    async with HTTPClientPool(None, base_url=running.url(), max_concurrency="auto", retry=retry) as pool:
        answers = [answer async for answer in pool.get_many(str(number) for number in range(1500))]
        assert pool.statistics().limit <= 7
    assert len(answers) == 1500
    # At first, and when one more was tried.
    assert 0 < refusing.refused < 40


async def test_requests_of_ones_own_keep_to_a_limit_that_falls(running: HTTPServer) -> None:
    in_flight = []

    async def answer(_: Request) -> Answer:
        in_flight.append(running.in_flight)
        await asyncio.sleep(0.01)
        return Answer(body=b"{}")

    running.on("/*", answer)
    async with HTTPClientPool(None, base_url=running.url(), max_concurrency=20) as pool:

        async def ask() -> None:
            for number in range(20):
                if number == 10:
                    pool._opened.limit = 5
                    in_flight.clear()
                await pool.request("GET", "x")

        await asyncio.gather(*(ask() for _ in range(20)))
    assert max(in_flight[40:]) <= 5


async def test_the_extras_may_say_it_and_bound_it(running: HTTPServer) -> None:
    fields = Fields(host=running.url(), extra_dejson={"max_concurrency": "auto", "max_requests": 12})
    async with HTTPClientPool(connection=fields) as pool:
        assert pool.statistics().auto
        assert pool.sender.options.max_concurrency == 12
    async with HTTPClientPool(connection=fields, shard=Shard(["a"], index=0, parts=6)) as pool:
        assert pool.sender.options.max_concurrency == pool.statistics().limit == 2
    async with HTTPClientPool(connection=fields, max_concurrency=3) as pool:
        assert not pool.statistics().auto
    running.on("/*", Answer(body=b"{}"))
    async with AsyncHTTPHook(connection=fields).connect() as client:
        assert (await client.request("GET", "x")).status == 200
        assert client.sender.limit == 4


async def test_a_failing_server_lowers_it(running: HTTPServer) -> None:
    running.on("/*", Answer(status=500))
    async with HTTPClientPool(None, base_url=running.url(), max_concurrency="auto", retry=Retry(attempts=1)) as pool:
        outcomes = [outcome async for outcome in pool.get_many(map(str, range(100))).outcomes()]
        assert all(outcome.error for outcome in outcomes)
        await asyncio.sleep(0.06)
        assert pool.statistics().limit < 4


def test_what_is_neither_a_number_nor_auto_is_refused() -> None:
    with pytest.raises(ValueError, match="max_concurrency must be at least 1, or 'auto', not 'fast'"):
        HTTPClientPool(None, max_concurrency="fast")  # type: ignore[arg-type]
