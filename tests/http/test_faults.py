# SPDX-License-Identifier: Apache-2.0
"""The pool against a server that fails: pages, limits, logins and what is below HTTP."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest

from airflow_provider_async import amap
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import (
    BodyTooLarge,
    ConnectionFailed,
    HTTPStatusError,
    InvalidBody,
    OperationTimeout,
    PaginationError,
    TransientResponse,
)
from airflow_provider_async.http import ApiKey, Auth, Basic, Bearer, HTTPClientPool, OAuth2ClientCredentials
from airflow_provider_async.http.pages import BodyCursor, Cursor, JSONLink, LinkHeader, Offset, PageNumber
from tests.servers.http import (
    NOTHING,
    NOTHING_BUT_RESET,
    Answer,
    HTTPServer,
    Request,
    answer_json,
    http_server,
    ids,
    in_turn,
    rows,
)
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
    by_token,
    comma_separated,
    guarded,
    json_lines,
    paged,
    redirect,
    refusing_duplicates,
    retry_at,
    throttled,
    zipped,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from airflow_provider_async.core.checkpoint import JSON
    from airflow_provider_async.http.pages import Paginator
    from airflow_provider_async.http.response import Response

SOON = Retry(attempts=4, initial_seconds=0.001, max_seconds=0.01)
ONCE = Retry(attempts=1)
SECRET = "hush-hush-secret"

Paging = Literal["header", "next", "links.next", "@odata.nextLink"]


@pytest.fixture
async def server() -> AsyncIterator[HTTPServer]:
    async with http_server() as running:
        yield running


@pytest.fixture
async def elsewhere() -> AsyncIterator[HTTPServer]:
    """Another host, as far as logins are concerned."""
    async with http_server() as running:
        yield running


def pool_at(server: HTTPServer, **options: Any) -> HTTPClientPool:  # noqa: ANN401 - the pool's own
    return HTTPClientPool(None, base_url=server.url(), **{"retry": SOON, **options})


def id_of(row: JSON) -> object:
    assert isinstance(row, dict)
    return row["id"]


async def read_ids(
    server: HTTPServer,
    path: str = "/",
    *,
    pool: HTTPClientPool | None = None,
    **options: Any,  # noqa: ANN401 - those of paginate
) -> list[object]:
    async with pool or pool_at(server) as opened:
        return [id_of(row) async for row in opened.paginate(path, **options)]


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


# --- limits ---------------------------------------------------------------------------------------------------------


def in_two_seconds() -> dict[str, str]:
    now = datetime(2020, 1, 1, tzinfo=UTC)
    return retry_at(now + timedelta(seconds=2), server_time=now)


ONE_SECOND = {
    "seconds": (throttled({"Retry-After": "1"}), 1.0),
    "a date by the server's clock": (throttled(in_two_seconds()), 2.0),
    "503": (throttled({"Retry-After": "1"}, status=503), 1.0),
    "structured": (answer_json({}, headers={"RateLimit": '"default";r=0;t=1'}), 1.0),
    "combined": (answer_json({}, headers={"RateLimit": "limit=5, remaining=0, reset=1"}), 1.0),
    "of old": (answer_json({}, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}), 1.0),
}


@pytest.mark.parametrize(("first", "seconds"), ONE_SECOND.values(), ids=ONE_SECOND)
async def test_all_requests_wait_as_long_as_the_server_asks(server: HTTPServer, first: Answer, seconds: float) -> None:
    server.on("/", first, Answer(body=b"{}"))
    async with pool_at(server, max_concurrency=4) as pool:
        await pool.request("POST", "/")
        responses = [response async for response in pool.get_many(["/"] * 10)]
    assert len(responses) == 10
    began, *later = (request.at for request in server.seen)
    assert all(at - began >= seconds * 0.99 for at in later)


@pytest.mark.parametrize("form", ["structured", "combined", "x", "retry", "none"])
async def test_a_storm_of_refusals_ends_with_all_answers(
    server: HTTPServer, form: Literal["structured", "combined", "x", "retry", "none"]
) -> None:
    window = Window(lambda request: answer_json({"n": request.param("n")}), limit=15, seconds=1, form=form)
    server.on("/", window)
    async with pool_at(server, max_concurrency=16, retry=Retry()) as pool:
        found = {response.json()["n"] async for response in pool.get_many(f"/?n={n}" for n in range(40))}
    assert found == {str(n) for n in range(40)}
    # No more than all in flight, a few times: they do not ask again one by one.
    assert window.refused <= 80


async def test_a_rate_is_kept(server: HTTPServer) -> None:
    server.on("/", Answer())
    async with pool_at(server, rate=(20, 1)) as pool:
        assert len([response async for response in pool.get_many(["/"] * 15)]) == 15
    times = [request.at for request in server.seen]
    assert times[-1] - times[0] >= 13 / 20


async def test_no_more_are_in_flight_than_allowed(server: HTTPServer) -> None:
    server.on("/", Answer(body=b"ab", piece_bytes=1, pause_seconds=0.001))
    async with pool_at(server, max_concurrency=5) as pool:
        assert len([response async for response in pool.get_many(["/"] * 50)]) == 50
    assert server.most_in_flight == 5


async def test_what_is_refused_for_good_is_not_asked_for_again(server: HTTPServer) -> None:
    server.on("/", answer_json({"error": "no", "echo": SECRET}, status=403))
    async with pool_at(server, auth=Bearer(SECRET)) as pool:
        with pytest.raises(HTTPStatusError, match="403") as caught:
            await pool.request("GET", "/")
    assert len(server.seen) == 1
    assert SECRET not in f"{caught.value} {caught.value.body}"


# --- logins ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        pytest.param(Basic("alice", SECRET), by_login("alice", SECRET), id="basic"),
        pytest.param(Bearer(SECRET), by_token(SECRET), id="bearer"),
        pytest.param(ApiKey(SECRET, header="X-Key"), by_key(SECRET, header="X-Key"), id="key in a header"),
        pytest.param(ApiKey(SECRET, query="key"), by_key(SECRET, query="key"), id="key in the query"),
        pytest.param(lambda: {"X-Key": SECRET}, by_key(SECRET, header="X-Key"), id="function"),
    ],
)
async def test_logins_are_accepted_on_every_page(
    server: HTTPServer, auth: Auth | Callable[[], Mapping[str, str]], expected: Callable[[Request], bool]
) -> None:
    server.on("/", guarded(refusing_duplicates(LinkedList(paged(rows(30), 10))), expected))
    async with pool_at(server, auth=auth) as pool:
        assert [id_of(row) async for row in pool.paginate("/")] == list(range(30))


async def test_one_token_serves_all_and_is_replaced_once_when_it_is_refused(server: HTTPServer) -> None:
    tokens = Tokens()
    token_url = server.on("/token", tokens)
    server.on("/", tokens.guarding(lambda request: answer_json({})))
    auth = OAuth2ClientCredentials(token_url, client_id="me", client_secret="hush-hush")
    async with pool_at(server, auth=auth) as pool:
        for _ in range(2):
            assert len([response async for response in pool.get_many(["/"] * 40)]) == 40
            tokens.expire()
    assert (tokens.given, tokens.overlaps) == (2, 0)


async def test_a_token_that_is_always_refused_is_asked_for_once_more(server: HTTPServer) -> None:
    tokens = Tokens()
    token_url = server.on("/token", tokens)
    server.on("/", answer_json({}, status=401))
    auth = OAuth2ClientCredentials(token_url, client_id="me", client_secret="hush-hush")
    async with pool_at(server, auth=auth) as pool:
        with pytest.raises(HTTPStatusError, match="401"):
            await pool.get_json("/")
    assert (tokens.given, len(server.requests("/"))) == (2, 2)


# --- files and streams ----------------------------------------------------------------------------------------------


CONTENT = bytes(range(256)) * 4096


async def test_a_download_goes_on_where_it_was_cut(server: HTTPServer, tmp_path: Path) -> None:
    server.on("/a.bin", StoredFile(CONTENT, cuts=[300_000, 400_000]))
    async with pool_at(server) as pool:
        (file,) = [file async for file in pool.download_many(["/a.bin"], tmp_path)]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert file.size == len(CONTENT)
    first, *later = server.seen
    assert "range" not in first.headers
    assert all(request.headers["if-range"] == '"v1"' for request in later)
    assert os.listdir(tmp_path) == ["a.bin"]  # noqa: PTH208 - pathlib's would be no list


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_file_that_changes_in_between_is_downloaded_anew(
    server: HTTPServer, tmp_path: Path, ranges: bool
) -> None:
    file = StoredFile(CONTENT, cuts=[300_000], ranges=ranges)

    def change(request: Request) -> Answer:
        file.replace(CONTENT[::-1], '"v2"')
        return file(request)

    server.on("/a.bin", file, change)
    async with pool_at(server) as pool:
        assert len([file async for file in pool.download_many(["/a.bin"], tmp_path)]) == 1
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


async def test_an_upload_arrives(server: HTTPServer, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    server.on("/a.bin", throttled({"Retry-After": "0"}), Answer())
    async with pool_at(server) as pool:
        await pool.upload("/a.bin", tmp_path / "a.bin")
    assert [request.body == CONTENT for request in server.seen] == [True, True]


@pytest.mark.parametrize("zip_it", [lambda answer: answer, zipped], ids=["plain", "zipped"])
async def test_lines_of_json_and_csv_are_streamed(server: HTTPServer, zip_it: Callable[[Answer], Answer]) -> None:
    server.on("/json", zip_it(json_lines(rows(5000))))
    server.on("/csv", zip_it(comma_separated(rows(5000))))
    async with pool_at(server) as pool:
        assert ids([row async for row in pool.stream("/json").json_lines()]) == list(range(5000))
        assert [int(row["id"]) async for row in pool.stream("/csv").csv()] == list(range(5000))


@pytest.mark.parametrize("kind", ["cut", "chunked", "reset"])
async def test_a_stream_that_is_cut_short_is_an_error(server: HTTPServer, kind: str) -> None:
    body = json_lines(rows(5000)).body
    # At the end of a line, where what came looks complete.
    cut = body.index(b"\n", 100_000) + 1
    framing: Literal["chunked", "length"] = "chunked" if kind == "chunked" else "length"
    ending: Literal["reset", "kept"] = "reset" if kind == "reset" else "kept"
    server.on("/", Answer(body=body, cut_after=cut, framing=framing, ending=ending))
    async with pool_at(server) as pool:
        with pytest.raises(ConnectionFailed):
            async for _ in pool.stream("/").json_lines():
                pass


async def test_the_children_of_many_parents_are_read_within_the_limit(server: HTTPServer) -> None:
    lists = {f"/parents/{n}": OffsetList(rows(n % 7, start=100 * n), most=3) for n in range(60)}
    for path, listed in lists.items():
        server.on(path, listed)
    server.on("/parents/13", in_turn(FAULTS["reset"], lists["/parents/13"]))
    async with pool_at(server, max_concurrency=8) as pool:

        async def read(path: str) -> list[object]:
            return [id_of(row) async for row in pool.paginate(path, paginator=Offset(limit=5))]

        found = [children async for children in amap(read, lists, limit=20, ordered=True)]
    assert found == [ids(listed.rows) for listed in lists.values()]
    assert server.most_in_flight <= 8
