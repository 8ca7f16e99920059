# SPDX-License-Identifier: Apache-2.0
"""The server of faults does what is asked of it: seen by aiohttp alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from tests.servers.http import NOTHING, NOTHING_BUT_RESET, Answer, HTTPServer, answer_json, http_server, ids, rows
from tests.servers.http_apis import (
    CursorList,
    LinkedList,
    NumberedList,
    OffsetList,
    StoredFile,
    Tokens,
    Window,
    bomb,
    by_key,
    by_login,
    guarded,
    paged,
    redirect,
    refusing_duplicates,
    retry_at,
    zipped,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[HTTPServer]:
    async with http_server() as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_requests_are_remembered_and_connections_kept(server: HTTPServer, session: aiohttp.ClientSession) -> None:
    url = server.on("/a b", answer_json({"n": 1}), answer_json({"n": 2}))
    bodies = []
    for data in (b"sent", chunks(b"sent ", b"in pieces"), b""):
        async with session.post(url, params=[("x", "1"), ("x", "2")], headers={"X-Some": "y"}, data=data) as response:
            bodies.append(await response.json())
    assert bodies == [{"n": 1}, {"n": 2}, {"n": 2}]
    seen = server.requests("/a b")
    assert [request.body for request in seen] == [b"sent", b"sent in pieces", b""]
    assert {(request.query, request.headers["x-some"]) for request in seen} == {((("x", "1"), ("x", "2")), "y")}
    assert server.connections == 1


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def test_what_is_in_flight_at_once_is_counted(server: HTTPServer, session: aiohttp.ClientSession) -> None:
    all_there = asyncio.Event()

    async def wait(request: object) -> Answer:
        if server.in_flight == 5:
            all_there.set()
        await all_there.wait()
        return Answer()

    url = server.on("/", wait)
    await asyncio.gather(*(get(session, url) for _ in range(5)))
    assert (server.most_in_flight, server.in_flight) == (5, 0)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(NOTHING, id="closed"),
        pytest.param(NOTHING_BUT_RESET, id="reset"),
        pytest.param(Answer(body=b"cut short", cut_after=3), id="cut"),
        pytest.param(Answer(body=b"cut short", cut_after=3, ending="reset"), id="cut by a reset"),
        pytest.param(Answer(body=b"cut short", cut_after=3, framing="chunked"), id="a chunk is missing"),
        pytest.param(Answer(body=b"too short", length=20, ending="closed"), id="length"),
    ],
)
async def test_below_http_it_fails_as_told(server: HTTPServer, session: aiohttp.ClientSession, answer: Answer) -> None:
    url = server.on("/", answer)
    with pytest.raises(aiohttp.ClientError):
        await get(session, url)


async def test_a_body_may_end_with_the_connection_or_come_byte_by_byte(
    server: HTTPServer, session: aiohttp.ClientSession
) -> None:
    closing = server.on("/closing", Answer(body=b"all", framing="closing"))
    slow = server.on("/slow", Answer(body=b"all", piece_bytes=1, pause_seconds=0.001))
    assert await get(session, closing) == await get(session, slow) == b"all"


async def test_an_offset_beyond_the_clamp_is_honoured(server: HTTPServer, session: aiohttp.ClientSession) -> None:
    url = server.on("/", OffsetList(rows(120)))
    first = await get_json(session, f"{url}?limit=500")
    second = await get_json(session, f"{url}?limit=500&offset=100")
    assert (len(first["results"]), len(second["results"]), first["total"]) == (100, 20, 120)


@pytest.mark.parametrize("form", ["next", "links.next", "@odata.nextLink"])
async def test_links_lead_from_page_to_page(server: HTTPServer, session: aiohttp.ClientSession, form: str) -> None:
    link: str | None = server.on("/", LinkedList(paged(rows(25), 10), form=form))  # type: ignore[arg-type]
    found: list[object] = []
    while link:
        page = await get_json(session, link)
        found += ids(page.get("results") or page["value"])
        link = page["links"]["next"] if form == "links.next" else page.get(form)
    assert found == list(range(25))


async def test_link_headers_lead_from_page_to_page(server: HTTPServer, session: aiohttp.ClientSession) -> None:
    url = server.on("/", LinkedList(paged(rows(25), 10), form="header", base=""))
    async with session.get(url) as response:
        assert response.links["next"]["url"] == URL(server.url("/?at=1"))


async def test_cursors_pages_and_duplicates(server: HTTPServer, session: aiohttp.ClientSession) -> None:
    url = server.on("/cursors", CursorList([rows(2), [], rows(1, start=2)], expired={"c2"}))
    assert await get_json(session, f"{url}?cursor=c1") == {"results": [], "next_cursor": "c2"}
    async with session.post(url, json={"cursor": "c2"}) as response:
        assert response.status == 410
    numbered = server.on("/numbers", refusing_duplicates(NumberedList(paged(rows(15), 10))))
    assert len((await get_json(session, f"{numbered}?page=2"))["results"]) == 5
    async with session.get(f"{numbered}?page=2&page=2") as response:
        assert response.status == 400


async def test_a_window_refuses_what_is_too_much(server: HTTPServer, session: aiohttp.ClientSession) -> None:
    window = Window(lambda request: Answer(), limit=2, seconds=3600)
    url = server.on("/", window)
    seen = []
    for _ in range(3):
        async with session.get(url) as response:
            seen.append((response.status, response.headers["RateLimit"], response.headers.get("Retry-After")))
    assert seen[0] == (200, '"default";r=1;t=3600', None)
    assert seen[2][0] == 429
    assert 3590 <= int(seen[2][2] or 0) <= 3600
    assert window.refused == 1


def test_a_moment_is_named_as_http_does() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert retry_at(moment, server_time=moment) == {
        "Retry-After": "Fri, 02 Jan 2026 03:04:05 GMT",
        "Date": "Fri, 02 Jan 2026 03:04:05 GMT",
    }


async def test_logins_are_checked(server: HTTPServer, session: aiohttp.ClientSession) -> None:
    url = server.on("/login", guarded(lambda request: Answer(body=b"in"), by_login("alice", "right")))
    async with session.get(url) as response:
        assert response.status == 401
    async with session.get(url, headers={"Authorization": "Basic YWxpY2U6cmlnaHQ="}) as response:
        assert response.status == 200
    key = server.on("/key", guarded(lambda request: Answer(body=b"in"), by_key("k", query="api_key")))
    assert await get(session, f"{key}?api_key=k") == b"in"


async def test_tokens_are_given_one_at_a_time_and_end(server: HTTPServer, session: aiohttp.ClientSession) -> None:
    tokens = Tokens()
    token_url = server.on("/token", tokens)
    url = server.on("/", tokens.guarding(lambda request: Answer(body=b"in")))
    form = {"grant_type": "client_credentials", "client_id": "me", "client_secret": "hush-hush"}

    async def ask() -> int:
        async with session.post(token_url, data=form) as response:
            return response.status

    assert sorted(await asyncio.gather(ask(), ask())) == [200, 400]
    assert (tokens.given, tokens.overlaps) == (1, 1)
    headers = {"Authorization": "Bearer token-1"}
    async with session.get(url, headers=headers) as response:
        assert response.status == 200
    tokens.expire()
    async with session.get(url, headers=headers) as response:
        assert response.status == 401


async def test_a_file_is_read_in_part_as_long_as_it_is_the_same(
    server: HTTPServer, session: aiohttp.ClientSession
) -> None:
    file = StoredFile(b"0123456789")
    url = server.on("/", file)
    headers = {"Range": "bytes=4-", "If-Range": '"v1"'}
    async with session.get(url, headers=headers) as response:
        assert (response.status, await response.read()) == (206, b"456789")
        assert response.headers["Content-Range"] == "bytes 4-9/10"
    file.replace(b"abc", '"v2"')
    async with session.get(url, headers=headers) as response:
        assert (response.status, await response.read()) == (200, b"abc")
    async with session.get(url, headers={"Range": "bytes=3-"}) as response:
        assert response.status == 416


async def test_a_body_may_be_zipped_and_be_a_bomb(server: HTTPServer, session: aiohttp.ClientSession) -> None:
    assert await get(session, server.on("/", zipped(Answer(body=b"text")))) == b"text"
    explosive = bomb(4)
    assert len(explosive.body) < 5_000
    assert await get(session, server.on("/bomb", explosive)) == bytes(4 * 1024**2)


async def test_redirects_lead_on(server: HTTPServer, session: aiohttp.ClientSession) -> None:
    target = server.on("/target", Answer(body=b"there"))
    assert await get(session, server.on("/", redirect(target))) == b"there"


async def test_a_handler_that_fails_fails_the_test() -> None:
    def fail(request: object) -> Answer:
        raise ZeroDivisionError

    async def ask() -> None:
        async with http_server() as server, aiohttp.ClientSession() as session:
            url = server.on("/", fail)
            with pytest.raises(aiohttp.ClientError):
                await get(session, url)

    with pytest.raises(ExceptionGroup, match="handlers of the server failed"):
        await ask()


async def get(session: aiohttp.ClientSession, url: str) -> bytes:
    async with session.get(url) as response:
        return await response.read()


async def get_json(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    async with session.get(url) as response:
        page: dict[str, Any] = await response.json()
        return page
