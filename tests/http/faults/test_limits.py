# SPDX-License-Identifier: Apache-2.0
"""The pool against a server that fails: limits, logins, files and streams."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import pytest

from airflow_provider_async import amap
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import (
    ConnectionFailed,
    HTTPStatusError,
)
from airflow_provider_async.http import ApiKey, Auth, Basic, Bearer, OAuth2ClientCredentials
from airflow_provider_async.http.pages import Offset
from tests.servers.http import (
    NOTHING_BUT_RESET,
    Answer,
    HTTPServer,
    Request,
    answer_json,
    ids,
    in_turn,
    rows,
)
from tests.servers.http_apis import (
    LinkedList,
    OffsetList,
    StoredFile,
    Tokens,
    Window,
    by_key,
    by_login,
    by_token,
    comma_separated,
    guarded,
    json_lines,
    paged,
    refusing_duplicates,
    retry_at,
    throttled,
    zipped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


from tests.http.faults.reading import SECRET, id_of, pool_at

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
    server.on("/parents/13", in_turn(NOTHING_BUT_RESET, lists["/parents/13"]))
    async with pool_at(server, max_concurrency=8) as pool:

        async def read(path: str) -> list[object]:
            return [id_of(row) async for row in pool.paginate(path, paginator=Offset(limit=5))]

        found = [children async for children in amap(read, lists, limit=20, ordered=True)]
    assert found == [ids(listed.rows) for listed in lists.values()]
    assert server.most_in_flight <= 8
