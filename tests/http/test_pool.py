# SPDX-License-Identifier: Apache-2.0
"""The pool over real sockets: limits, many URLs, pages, links that lead elsewhere, and closing."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async import resumable
from airflow_provider_async.errors import (
    HTTPStatusError,
    InvalidConnection,
    IteratorClosed,
    PoolClosed,
    PoolTimeout,
    UnsafeURL,
)
from airflow_provider_async.http import Bearer, HTTPClientPool
from airflow_provider_async.http.origins import is_public_address
from tests.http.conftest import SOON, Fields, answer, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.http.conftest import Request, ScriptedServer


async def test_many_requests_share_few_connections_which_are_closed_at_the_end(server: ScriptedServer) -> None:
    server.on("/", answer("{}"))
    async with HTTPClientPool(None, base_url=server.url, max_concurrency=5) as pool:
        assert server.connections == 0
        await asyncio.gather(*(pool.get_json("/") for _ in range(200)))
        assert 1 <= server.connections <= 5
        assert pool.statistics().leased == 0
        assert "open" in repr(pool)
    await until(lambda: not server._writers)


async def test_limits_stand_in_the_extras_and_arguments_win(server: ScriptedServer) -> None:
    fields = Fields(server.url, extra_dejson={"max_concurrency": "7"})
    async with HTTPClientPool(connection=fields) as pool:
        assert (pool.statistics().size, pool.statistics().limit) == (1, 7)
    async with HTTPClientPool(connection=fields, max_concurrency=3) as pool:
        assert pool.statistics().limit == 3
    async with HTTPClientPool(connection=Fields(server.url)) as pool:
        assert pool.statistics().limit == 16


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_concurrency": 0}, "max_concurrency must be at least 1, or 'auto', not 0"),
        ({"max_body_bytes": 0}, "max_body_bytes must be at least 1, not 0"),
        ({"timeout": 0}, "timeout must be above zero, not 0"),
        ({"total_timeout": -1}, "total_timeout must be above zero, not -1"),
        ({"rate": 0}, "rate must be above zero, not 0"),
        ({"rate": (10, 0)}, "rate must be above zero, not 0"),
        ({"allowed_hosts": "host"}, "allowed_hosts is one text"),
    ],
)
def test_an_impossible_argument_is_refused_at_once(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        HTTPClientPool(**options)


@pytest.mark.parametrize("options", [{"base_url": "ftp://x"}, {"base_url": "https://me:topsecret@x"}])
async def test_an_unusable_base_url_is_refused_on_entering(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidConnection, match="base_url") as caught:
        await HTTPClientPool(None, **options).__aenter__()
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize("host", ["https://x", "x/path", "me@x"])
async def test_an_unusable_allowed_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="allowed_hosts are like 'name' or 'name:port'"):
        await HTTPClientPool(None, base_url="http://x", allowed_hosts=[host]).__aenter__()


async def test_a_pool_that_is_not_open_says_so(server: ScriptedServer) -> None:
    pool = HTTPClientPool("partner", connection=Fields(server.url))
    assert repr(pool) == "<HTTPClientPool('partner'): not open>"
    with pytest.raises(PoolClosed, match=r"HTTPClientPool\('partner'\) is not open; use 'async with'"):
        await pool.request("GET", "/")
    async with pool:
        with pytest.raises(RuntimeError, match="entered once"):
            await pool.__aenter__()
        await pool.close()
        with pytest.raises(PoolClosed):
            await pool.request("GET", "/")


async def test_a_request_whose_turn_does_not_come_is_an_error(server: ScriptedServer) -> None:
    async def silent(_: Request) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    server.handle("/", silent)
    async with HTTPClientPool(None, base_url=server.url, max_concurrency=1, acquire_timeout=0.05, retry=SOON) as pool:
        first = asyncio.create_task(pool.request("GET", "/"))
        await server.asked()
        with pytest.raises(PoolTimeout, match="1 of 1 leased"):
            await pool.request("GET", "/")
        first.cancel()


async def test_a_storm_of_cancellations_loses_no_lease(server: ScriptedServer) -> None:
    server.on("/", answer("{}"))
    chance = random.Random(1)
    async with HTTPClientPool(None, base_url=server.url, max_concurrency=3) as pool:
        jobs = [asyncio.create_task(pool.request("GET", "/")) for _ in range(200)]
        for job in jobs:
            asyncio.get_running_loop().call_later(chance.random() * 0.1, job.cancel)
        await asyncio.wait(jobs)
        statistics = pool.statistics()
        assert (statistics.leased, statistics.waiting, statistics.free) == (0, 0, 3)
        await asyncio.gather(*(pool.get_json("/") for _ in range(10)))
        assert (pool.sender._in_flight, pool.sender._spare, pool.statistics().leased) == (0, [], 0)


async def test_an_exit_by_cancellation_is_over_in_two_seconds(server: ScriptedServer) -> None:
    async def silent(_: Request) -> bytes:
        await asyncio.Event().wait()
        raise AssertionError

    server.handle("/", silent)

    async def main() -> None:
        async with HTTPClientPool(None, base_url=server.url, close_timeout=1000) as pool:
            await pool.request("GET", "/")

    task = asyncio.create_task(main())
    await server.asked()
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.wait([task])
    assert task.cancelled()


# Many URLs.


async def test_many_urls_are_got_in_order_or_as_they_come(server: ScriptedServer, pool: HTTPClientPool) -> None:
    for number in range(100):
        server.on(f"/{number}", answer(str(number)))
    urls = [str(number) for number in range(100)]
    assert [one.json() async for one in pool.get_many(urls, ordered=True)] == list(range(100))
    many = pool.get_many(iter(urls), limit=1000)
    assert sorted([one.json() async for one in many]) == list(range(100))
    assert many.progress.bytes == 190
    assert server.connections <= 16


async def test_an_error_names_its_url_and_outcomes_go_on(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/a", answer("1"))
    with pytest.raises(HTTPStatusError, match="/missing was answered with 404") as caught:
        [one async for one in pool.get_many(["missing"])]
    assert caught.value.__notes__ == ["get_many: item 'missing'"]
    outcomes = {outcome.item: outcome async for outcome in pool.get_many(["a", "missing"]).outcomes()}
    assert isinstance(outcomes["missing"].error, HTTPStatusError)
    assert outcomes["a"].value is not None


async def test_what_is_done_is_left_out_by_the_next_try(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    for number in range(10):
        server.on(f"/{number}", answer(str(number)))
    urls = [str(number) for number in range(10)]
    with pytest.raises(LookupError):  # noqa: PT012
        async with resumable(tmp_path), pool.get_many(urls, resume="got", ordered=True) as many:
            async for response in many:
                if response.json() == 4:
                    raise LookupError
    async with resumable(tmp_path, attempt=2):
        assert [one.json() async for one in pool.get_many(urls, resume="got", ordered=True)] == list(range(4, 10))


async def test_closing_the_pool_ends_what_is_iterated_over(server: ScriptedServer) -> None:
    server.on("/", answer("1"))
    async with HTTPClientPool(None, base_url=server.url) as pool:
        many = aiter(pool.get_many("/" for _ in range(10**9)))
        await anext(many)
    with pytest.raises(IteratorClosed):  # noqa: PT012
        while True:
            await anext(many)


# Pages.


class Listing:
    """Pages of rows, with links in the body."""

    def __init__(self, server: ScriptedServer, link: str = "{url}/rows?page={page}", pages: int = 3) -> None:
        self.server, self.link, self.pages = server, link, pages

    def __call__(self, request: Request) -> bytes:
        page = int(request.target.partition("page=")[2] or 1)
        link = self.link.format(url=self.server.url, page=page + 1) if page < self.pages else None
        return answer(json.dumps({"items": [{"id": page * 10 + n} for n in range(3)], "next": link}))


@pytest.mark.parametrize("link", ["{url}/rows?page={page}", "/rows?page={page}", "?page={page}"])
async def test_pages_are_read_with_the_login(server: ScriptedServer, link: str) -> None:
    server.handle("/rows", Listing(server, link))
    async with HTTPClientPool(None, base_url=server.url, auth=Bearer("token")) as pool:
        rows = [row async for row in pool.paginate("rows", items="items")]
    assert [row["id"] for row in rows if isinstance(row, dict)] == [10, 11, 12, 20, 21, 22, 30, 31, 32]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer token"}


async def test_a_page_that_is_posted_for_is_asked_for_again(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/search", answer(status=500), answer('{"items": [1, 2]}'))
    assert [row async for row in pool.paginate("search", method="POST", json={"q": 1}, items="items")] == [1, 2]


async def test_a_link_to_another_origin_gets_no_login(server: ScriptedServer, other_server: ScriptedServer) -> None:
    server.handle("/rows", Listing(other_server))
    other_server.handle("/rows", Listing(other_server))
    async with HTTPClientPool(None, base_url=server.url, auth=Bearer("topsecret")) as pool:
        rows = [row async for row in pool.paginate("rows", items="items", headers={"X-Mine": "topsecret"})]
    assert len(rows) == 9
    assert len(other_server.requests) == 2
    assert "topsecret" not in str([request.headers for request in other_server.requests])
    assert server.requests[0].headers["x-mine"] == "topsecret"


async def test_pages_of_another_origin_get_no_login_though_their_links_stay_there(
    server: ScriptedServer, other_server: ScriptedServer
) -> None:
    other_server.handle("/rows", Listing(other_server))
    async with HTTPClientPool(None, base_url=server.url, auth=Bearer("topsecret")) as pool:
        assert len([row async for row in pool.paginate(f"{other_server.url}/rows", items="items")]) == 9
    assert len(other_server.requests) == 3
    assert "topsecret" not in str([request.headers for request in other_server.requests])


async def test_without_a_base_url_the_first_page_says_where_the_login_belongs(
    server: ScriptedServer, other_server: ScriptedServer
) -> None:
    # Its first page leads to itself, the second one elsewhere.
    server.handle("/rows", Listing(server, "{url}/rows?page={page}"))
    server.handle("/last", Listing(other_server))
    other_server.handle("/rows", Listing(other_server))
    async with HTTPClientPool(None, auth=Bearer("topsecret")) as pool:
        for path in ("rows", "last"):
            assert len([row async for row in pool.paginate(f"{server.url}/{path}", items="items")]) == 9
    assert [request.headers.get("authorization") for request in server.requests] == ["Bearer topsecret"] * 4
    assert [request.headers.get("authorization") for request in other_server.requests] == [None] * 2


async def test_the_children_of_many_parents_are_read_under_one_limit(server: ScriptedServer) -> None:
    from airflow_provider_async import amap

    at_once, most = 0, 0

    async def handle(request: Request) -> bytes:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1
        return Listing(server, f"{{url}}{request.path}?page={{page}}")(request)

    for parent in range(20):
        server.handle(f"/{parent}/children", handle)
    async with HTTPClientPool(None, base_url=server.url, max_concurrency=4) as pool:

        async def children(parent: int) -> int:
            return len([row async for row in pool.paginate(f"{parent}/children", items="items")])

        assert [count async for count in amap(children, range(20), limit=8)] == [9] * 20
    assert most <= 4


# Private addresses.


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::808:808", True),
        ("2002:7f00:1::", False),
        ("no address", False),
    ],
)
def test_addresses_are_public_or_not(address: str, is_public: bool) -> None:
    assert is_public_address(address) is is_public


class Names:
    """A name server that says that ``public.test`` is public, though it is here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **names: str) -> None:
        self.names = names
        self.original = asyncio.get_running_loop().getaddrinfo
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", self.getaddrinfo)

    async def getaddrinfo(self, host: str, port: int | None, **options: Any) -> Any:  # noqa: ANN401
        found = self.names.get(host.partition(".")[0], host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port or 0))]


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:{port}/x", "http://[::ffff:127.0.0.1]:{port}/x", "http://inside.test:{port}/x"]
)
@pytest.mark.parametrize("how", ["redirect", "link"])
async def test_a_public_server_does_not_lead_to_private_addresses(
    server: ScriptedServer, other_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, how: str, target: str
) -> None:
    # The server goes by a public address, through a proxy for that address alone.
    Names(monkeypatch, inside="127.0.0.1")
    target = target.format(port=other_server.port)
    other_server.on("/x", answer('{"items": [1]}'))
    server.handle("http://8.8.8.8/rows", lambda _: answer(json.dumps({"items": [1], "next": target})))
    server.handle("http://8.8.8.8/go", lambda _: answer(status=302, headers={"Location": target}))
    fields = Fields("http://8.8.8.8", extra_dejson={"proxies": {"http://8.8.8.8": server.url}, "trust_env": False})
    async with HTTPClientPool(connection=fields, retry=SOON) as pool:
        with pytest.raises(UnsafeURL, match="which is a private address"):  # noqa: PT012
            if how == "link":
                [row async for row in pool.paginate("rows", items="items")]
            else:
                await pool.request("GET", "go")
    assert other_server.requests == []


async def test_a_private_server_may_lead_to_private_addresses(
    server: ScriptedServer, other_server: ScriptedServer, pool: HTTPClientPool
) -> None:
    server.on("/go", answer(status=302, headers={"Location": f"{other_server.url}/x"}))
    other_server.on("/x", answer("here"))
    assert (await pool.request("GET", "go")).body == b"here"
