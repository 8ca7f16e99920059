# SPDX-License-Identifier: Apache-2.0
"""The pool against a server that fails: pages, limits, logins and what is below HTTP."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import pytest

from airflow_provider_async.errors import (
    BodyTooLarge,
    ConnectionFailed,
    InvalidBody,
    OperationTimeout,
    PaginationError,
    TransientResponse,
)
from airflow_provider_async.http import Basic, Bearer
from airflow_provider_async.http.pages import BodyCursor, Cursor, JSONLink, LinkHeader, Offset, PageNumber
from tests.servers.http import (
    NOTHING,
    NOTHING_BUT_RESET,
    Answer,
    HTTPServer,
    Request,
    answer_json,
    rows,
)
from tests.servers.http_apis import (
    CursorList,
    LinkedList,
    NumberedList,
    OffsetList,
    bomb,
    paged,
    redirect,
    refusing_duplicates,
    retry_at,
    throttled,
)

if TYPE_CHECKING:
    from airflow_provider_async.http.pages import Paginator
    from airflow_provider_async.http.response import Response

from tests.http.faults.reading import ONCE, SECRET, Paging, id_of, pool_at, read_ids

# --- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("paginator", [Offset(limit=500), "auto"])
@pytest.mark.parametrize("prefetch", [1, 4])
async def test_a_clamped_limit_loses_no_row(
    server: HTTPServer, paginator: Paginator | Literal["auto"], prefetch: int
) -> None:
    server.on("/", refusing_duplicates(OffsetList(rows(120))))
    params = {"limit": 500, "offset": 0} if paginator == "auto" else None
    assert await read_ids(server, paginator=paginator, prefetch=prefetch, params=params) == list(range(120))


async def test_links_that_go_in_a_circle_are_an_error_after_each_row_once(server: HTTPServer) -> None:
    server.on("/", LinkedList(paged(rows(20), 10), order={0: 1, 1: 0}))
    found: list[object] = []

    async def read() -> None:
        async with pool_at(server) as pool:
            async for row in pool.paginate("/", params={"at": "0"}, paginator=JSONLink("next")):
                found.append(id_of(row))  # noqa: PERF401 - what came before the error counts

    with pytest.raises(PaginationError, match="asked for before"):
        await read()
    assert found == list(range(20))
    assert len(server.seen) == 2


@pytest.mark.parametrize("form", ["header", "next", "links.next", "@odata.nextLink"])
@pytest.mark.parametrize("base", [None, ""], ids=["absolute", "relative"])
async def test_links_of_all_forms_are_found_and_followed(server: HTTPServer, form: Paging, base: str | None) -> None:
    server.on("/", refusing_duplicates(LinkedList(paged(rows(100), 10), form=form, base=base)))
    assert await read_ids(server, params={"filter": "x y"}) == list(range(100))
    assert {request.param("filter") for request in server.seen} == {"x y"}


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_link_to_another_host_gets_no_login_unless_that_is_allowed(
    server: HTTPServer, elsewhere: HTTPServer, allowed: bool
) -> None:
    pages = LinkedList(paged(rows(20), 10), form="header", base=elsewhere.url())
    server.on("/", pages)
    elsewhere.on("/", pages)
    hosts = [f"127.0.0.1:{elsewhere.port}"] if allowed else []
    headers = {"X-API-Key": SECRET}
    async with pool_at(server, auth=Bearer(SECRET), headers=headers, allowed_hosts=hosts) as pool:
        found = [id_of(row) async for row in pool.paginate("/", paginator=LinkHeader())]
    assert found == list(range(20))
    (here,), (there,) = server.seen, elsewhere.seen
    assert here.authorization == f"Bearer {SECRET}"
    assert (there.authorization, there.headers.get("x-api-key")) == (
        (f"Bearer {SECRET}", SECRET) if allowed else (None, None)
    )


@pytest.mark.parametrize("prefetch", [1, 7])
async def test_all_numbered_pages_come_up_to_the_maximum(server: HTTPServer, prefetch: int) -> None:
    server.on("/", NumberedList(paged(rows(400), 2)))
    found = await read_ids(server, paginator=PageNumber(), max_pages=199, prefetch=prefetch)
    assert found == list(range(398))
    assert await read_ids(server, paginator=PageNumber(), max_pages=200, prefetch=prefetch) == list(range(400))


@pytest.mark.parametrize("prefetch", [1, 4])
async def test_an_empty_page_in_the_middle_ends_nothing(server: HTTPServer, prefetch: int) -> None:
    pages = [rows(3), [], [], rows(2, start=3), []]
    server.on("/numbers", NumberedList(pages))
    server.on("/cursors", CursorList(pages))
    server.on("/links", LinkedList(pages))
    given: dict[str, Paginator] = {"/numbers": PageNumber(), "/cursors": Cursor(), "/links": JSONLink()}
    for path, paginator in given.items():
        assert await read_ids(server, path, paginator=paginator, prefetch=prefetch) == list(range(5))


async def test_a_total_that_is_not_met_is_an_error(server: HTTPServer) -> None:
    server.on("/", OffsetList(rows(120), total=150))
    with pytest.raises(PaginationError, match="150 rows"):
        await read_ids(server, paginator=Offset(limit=100))


async def test_cursors_go_into_a_body(server: HTTPServer) -> None:
    server.on("/", CursorList(paged(rows(25), 10)))
    assert await read_ids(server, method="POST", json={"size": 10}, paginator=BodyCursor()) == list(range(25))
    assert [request.method for request in server.seen] == ["POST"] * 3


async def test_a_cursor_that_comes_again_is_an_error(server: HTTPServer) -> None:
    server.on("/", CursorList(paged(rows(40), 10), cursors=["a", "b", "a"]))
    with pytest.raises(PaginationError, match="asked for before"):
        await read_ids(server, paginator=Cursor())


FAULTS = {
    "no answer": NOTHING,
    "reset": NOTHING_BUT_RESET,
    "cut": Answer(body=b'{"results": [{"id": 0}]}', cut_after=12),
    "cut by a reset": Answer(body=b'{"results": [{"id": 0}]}', cut_after=12, ending="reset"),
    "chunk missing": Answer(body=b'{"results": []}', cut_after=15, framing="chunked"),
    "too long a length": Answer(body=b'{"results": []}', length=99, ending="closed"),
    "500": answer_json({}, status=500),
    "502": Answer(status=502, body=b"<html>"),
    "429": throttled(),
    "429 in no time": throttled({"Retry-After": "0"}),
    "503 in the past": throttled(retry_at(datetime.now(UTC) - timedelta(hours=1)), status=503),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("prefetch", [1, 4])
async def test_each_row_comes_once_though_a_page_fails_at_first(
    server: HTTPServer, fault: Answer, prefetch: int
) -> None:
    listed = OffsetList(rows(95), most=10)
    failed: set[str] = set()

    def fail_at_first(request: Request) -> Answer:
        offset = request.param("offset")
        if offset in ("0", "30", "90") and offset not in failed:
            failed.add(offset)
            return fault
        return listed(request)

    server.on("/", fail_at_first)
    assert await read_ids(server, paginator=Offset(), prefetch=prefetch) == list(range(95))
    assert failed == {"0", "30", "90"}


async def test_an_error_in_a_200_is_asked_for_again(server: HTTPServer) -> None:
    server.on("/", answer_json({"error": "try later"}), answer_json({"results": rows(3)}))

    def check(response: Response) -> None:
        if "error" in response.json():
            raise TransientResponse("the server is busy")

    async with pool_at(server, check=check) as pool:
        found = [id_of(row) async for row in pool.paginate("/")]
    assert (found, len(server.seen)) == ([0, 1, 2], 2)


async def test_numbered_pages_are_fetched_at_once_and_come_in_order(server: HTTPServer) -> None:
    listed = NumberedList(paged(rows(200), 10))
    four_there = asyncio.Event()

    async def together(request: Request) -> Answer:
        if server.in_flight == 4:
            four_there.set()
        if request.number("page", 1) > 1:
            await four_there.wait()
        return listed(request)

    server.on("/", together)
    assert await read_ids(server, paginator=PageNumber(), prefetch=4) == list(range(200))
    assert server.most_in_flight == 4


# --- answers --------------------------------------------------------------------------------------------------------


async def test_a_server_that_sends_byte_by_byte_is_given_up(server: HTTPServer) -> None:
    server.on("/", Answer(body=bytes(1000), piece_bytes=1, pause_seconds=0.01))
    async with pool_at(server, total_timeout=0.2, retry=ONCE) as pool:
        with pytest.raises(OperationTimeout):
            await pool.request("GET", "/")


async def test_a_server_that_sends_nothing_is_given_up(server: HTTPServer) -> None:
    async def silent(request: Request) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    server.on("/", silent)
    async with pool_at(server, timeout=0.1, retry=ONCE) as pool:
        with pytest.raises(OperationTimeout):
            await pool.request("GET", "/")


@pytest.mark.parametrize(
    "fault", [FAULTS["cut"], FAULTS["cut by a reset"], FAULTS["chunk missing"], FAULTS["too long a length"]]
)
async def test_a_body_that_is_always_cut_short_is_an_error(server: HTTPServer, fault: Answer) -> None:
    server.on("/", fault)
    async with pool_at(server) as pool:
        with pytest.raises(ConnectionFailed):
            await pool.request("GET", "/")
        with pytest.raises(ConnectionFailed):
            await pool.request("POST", "/", data=b"once")
    assert [request.method for request in server.seen].count("POST") == 1


async def test_a_bomb_is_not_opened(server: HTTPServer) -> None:
    server.on("/", bomb(64))
    async with pool_at(server, max_body_bytes=1024**2) as pool:
        with pytest.raises(BodyTooLarge):
            await pool.get_json("/")
    assert len(server.seen) == 1


async def test_invalid_json_is_an_error_with_its_place_and_without_the_secret(server: HTTPServer) -> None:
    server.on("/", Answer(body=f'{{"token": "{SECRET}", "rows": [1, 2, nope]}}'.encode()))
    async with pool_at(server, auth=Bearer(SECRET)) as pool:
        with pytest.raises(InvalidBody, match=r"rows") as caught:
            await pool.get_json("/", params={"api_key": "another-secret"})
    assert "byte" in str(caught.value) or "position" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "another-secret" not in str(caught.value)


async def test_a_redirect_to_another_host_gets_no_login(server: HTTPServer, elsewhere: HTTPServer) -> None:
    server.on("/", redirect(elsewhere.on("/there", answer_json({"ok": True}))))
    async with pool_at(server, auth=Basic("alice", SECRET), headers={"X-API-Key": SECRET}) as pool:
        assert await pool.get_json("/") == {"ok": True}
    assert server.seen[0].authorization is not None
    assert elsewhere.seen[0].authorization is None
    assert "x-api-key" not in elsewhere.seen[0].headers


async def test_redirects_in_a_circle_are_an_error(server: HTTPServer) -> None:
    server.on("/a", redirect("/b"))
    server.on("/b", redirect("/a"))
    async with pool_at(server) as pool:
        with pytest.raises(Exception, match="redirect"):
            await pool.request("GET", "/a")
    assert len(server.seen) <= 22
