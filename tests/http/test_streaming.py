# SPDX-License-Identifier: Apache-2.0
"""Bodies of any length, over real sockets."""

from __future__ import annotations

import gzip
import itertools
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.errors import (
    BodyTooLarge,
    ConnectionFailed,
    HTTPStatusError,
    InvalidBody,
    OperationTimeout,
)
from airflow_provider_async.http import HTTPClientPool
from airflow_provider_async.http.lines import Rows, unpacked, whole_lines
from tests.http.conftest import SOON, answer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tests.http.conftest import Request, ScriptedServer


class Row(msgspec.Struct):
    id: int


def chunked(*pieces: bytes, ends: bool = True) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + (b"0\r\n\r\n" if ends else b"")


async def test_bytes_come_as_they_are(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/", chunked(b"a" * 1000, b"b" * 1000))
    assert b"".join([piece async for piece in pool.stream("/").bytes()]) == b"a" * 1000 + b"b" * 1000


async def test_lines_are_split_where_lines_end_and_nowhere_else(server: ScriptedServer, pool: HTTPClientPool) -> None:
    text = "\ufeffone\r\ntwo\u2028still two\n\nfür"
    data = text.encode()
    server.on("/", chunked(*(data[index : index + 1] for index in range(len(data)))))
    assert [line async for line in pool.stream("/").lines()] == ["one", "two\u2028still two", "", "für"]
    server.on("/latin", answer("für\n".encode("latin-1")))
    assert [line async for line in pool.stream("latin").lines("latin-1")] == ["für"]
    with pytest.raises(InvalidBody, match=r"GET .*/latin: the body is not in utf-8"):
        [line async for line in pool.stream("latin").lines()]


@pytest.mark.parametrize("packing", ["none", "content", "file", "both"])
async def test_json_lines_are_read_whether_packed_or_not(
    server: ScriptedServer, pool: HTTPClientPool, packing: str
) -> None:
    body = b"".join(b'{"id": %d}\n' % number for number in range(1000)) + b"\n"
    if packing in ("file", "both"):
        body = gzip.compress(body[:5000]) + gzip.compress(body[5000:])
    headers = {}
    if packing in ("content", "both"):
        body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
    server.on("/", answer(body, headers=headers))

    assert [row["id"] async for row in pool.stream("/").json_lines()] == list(range(1000))
    assert [row.id async for row in pool.stream("/").json_lines(Row)] == list(range(1000))
    assert pool.statistics().leased == 0


async def test_a_line_that_is_no_json_is_named(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/", answer(b'\xef\xbb\xbf{"id": 1}\n\n{"id": oops}\n{"id": 3}\n'))
    rows = []
    with pytest.raises(InvalidBody, match=r"GET .*/: line 3 is no valid JSON: .* it begins with '\{\"id\": oops\}'"):
        rows += [row async for row in pool.stream("/").json_lines()]
    server.on("/", answer(b'{"id": "x"}\n'))
    with pytest.raises(InvalidBody, match=r"line 1 has another shape: Expected `int`"):
        rows += [row async for row in pool.stream("/").json_lines(Row)]


async def test_rows_of_csv_are_read_with_all_that_quotes_allow(server: ScriptedServer, pool: HTTPClientPool) -> None:
    text = 'id,name\r\n1,"a ""quoted"" one"\r\n2,"two\nlines, and a comma"\r\n\r\n3,\r\n'
    data = text.encode("utf-8-sig")
    server.on("/", chunked(*(data[index : index + 3] for index in range(0, len(data), 3))))
    assert [row async for row in pool.stream("/").csv()] == [
        {"id": "1", "name": 'a "quoted" one'},
        {"id": "2", "name": "two\nlines, and a comma"},
        {"id": "3", "name": ""},
    ]
    server.on("/", answer("1;2\n3;4"))
    rows = [row async for row in pool.stream("/").csv(delimiter=";", fieldnames=["a", "b"])]
    assert rows == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b\n1,2\n3\n", "row 3: it has 1 fields, and there are 2 columns"),
        ("a,b\n1,2,3\n", "row 2: it has 3 fields, and there are 2 columns"),
        ('a,b\n1,"2\n', "row 2: a quoted field has no end"),
        ('a,b\n1,"2" x"y"\n', "row 2: "),
    ],
)
async def test_a_row_that_does_not_fit_is_an_error(
    server: ScriptedServer, pool: HTTPClientPool, text: str, sentence: str
) -> None:
    server.on("/", answer(text))
    with pytest.raises(InvalidBody, match=sentence):
        [row async for row in pool.stream("/").csv()]


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r")), min_size=2, max_size=2)))
def test_rows_survive_any_division_into_lines(rows: list[list[str]]) -> None:
    quoted = ["".join(f'"{field.replace(chr(34), chr(34) * 2)}",' for field in row)[:-1] for row in rows]
    lines = "\n".join(quoted).split("\n") if quoted else []
    reader = Rows(",", '"', ["a", "b"])
    found = [row for line in lines for row in reader.read([line])]
    reader.end()
    assert found == [{"a": first, "b": second} for first, second in rows]


@pytest.mark.parametrize(
    "broken",
    [
        chunked(b'{"id": 1}\n{"id": 2}\n', ends=False),
        answer(b'{"id": 1}\n{"id": 2}\n', length=1000),
        answer(gzip.compress(b'{"id": 1}\n{"id": 2}\n')[:-8], headers={"Content-Encoding": "gzip"}),
        answer(gzip.compress(b'{"id": 1}\n{"id": 2}\n')[:-8]),
    ],
    ids=["chunks", "length", "gzip", "gzip file"],
)
async def test_a_body_that_is_cut_short_is_an_error_after_what_came(
    server: ScriptedServer, pool: HTTPClientPool, broken: bytes
) -> None:
    server.on("/", broken)
    rows = []
    with pytest.raises(ConnectionFailed, match=r"^GET "):  # noqa: PT012
        async for row in pool.stream("/").json_lines():
            rows.append(row)  # noqa: PERF401 - what came before the error counts
    assert rows in ([], [{"id": 1}, {"id": 2}])
    assert pool.statistics().leased == 0
    assert len(server.requests) == 1


async def test_what_fails_before_the_body_is_tried_again(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/", answer(status=503), b"", b"", answer("1\n2\n"))
    assert [value async for value in pool.stream("/").json_lines()] == [1, 2]
    server.on("/", answer(status=404))
    with pytest.raises(HTTPStatusError, match="404"):
        [value async for value in pool.stream("/").json_lines()]


@pytest.mark.parametrize("as_file", [False, True])
async def test_a_bomb_is_stopped_by_its_ratio_alone(
    server: ScriptedServer, pool: HTTPClientPool, as_file: bool
) -> None:
    bomb = gzip.compress((b"x" * 1023 + b"\n") * (64 * 1024))
    server.on("/", answer(bomb, headers={} if as_file else {"Content-Encoding": "gzip"}))
    with pytest.raises(BodyTooLarge, match="more than 200 times as many"):
        async for _ in pool.stream("/").lines():
            pass


async def test_a_line_without_end_is_bounded(server: ScriptedServer) -> None:
    server.on("/", answer(b"x" * 100_000))
    async with HTTPClientPool(None, base_url=server.url, max_body_bytes=1000) as pool:
        assert sum([len(piece) async for piece in pool.stream("/").bytes()]) == 100_000
        with pytest.raises(BodyTooLarge, match=r"GET .*: a line is longer than 1000"):
            [line async for line in pool.stream("/").lines()]


async def test_a_stream_that_falls_silent_is_given_up(server: ScriptedServer) -> None:
    async def falls_silent(request: Request) -> bytes:
        request.writer.write(chunked(b"1\n", ends=False))
        await request.writer.drain()
        await server_forever.wait()
        raise AssertionError

    import asyncio

    server_forever = asyncio.Event()
    server.handle("/", falls_silent)
    async with HTTPClientPool(None, base_url=server.url, timeout=0.1, total_timeout=0.05, retry=SOON) as pool:
        values = []
        with pytest.raises(OperationTimeout):  # noqa: PT012
            async for value in pool.stream("/").json_lines():
                values.append(value)  # noqa: PERF401 - what came before the error counts
    assert values == [1]


async def test_leaving_early_returns_the_lease(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/", answer(b"1\n" * 1_000_000))
    rows = pool.stream("/").json_lines()
    async for _ in rows:
        break
    await rows.aclose()
    assert pool.statistics().leased == 0


async def test_closing_the_pool_ends_a_stream_first(server: ScriptedServer) -> None:
    server.on("/", answer(b"1\n" * 1_000_000))
    async with HTTPClientPool(None, base_url=server.url) as pool:
        rows = pool.stream("/").json_lines()
        assert await anext(rows) == 1
    with pytest.raises(StopAsyncIteration):
        await anext(rows)


async def pieces(*data: bytes) -> AsyncGenerator[bytes, None]:
    for piece in data:
        yield piece


@given(st.lists(st.binary(max_size=5)))
async def test_lines_do_not_depend_on_the_pieces(data: list[bytes]) -> None:
    whole = b"".join(data)
    lines = [line async for batch in whole_lines(pieces(*data), b"\n", 10**6) for line in batch]
    assert lines == (whole.removesuffix(b"\n").split(b"\n") if whole else [])


@given(st.lists(st.binary(max_size=3)))
async def test_what_is_no_gzip_is_left_as_it_is(data: list[bytes]) -> None:
    whole = b"".join(data)
    if not whole.startswith(b"\x1f\x8b"):
        assert b"".join([piece async for piece in unpacked(pieces(*data))]) == whole


@given(st.binary(), st.lists(st.integers(min_value=0, max_value=50)))
async def test_gzip_does_not_depend_on_the_pieces(data: bytes, cuts: list[int]) -> None:
    packed = gzip.compress(data[:10]) + gzip.compress(data[10:])
    marks = sorted({0, *cuts, len(packed)})
    parts = [packed[start:end] for start, end in itertools.pairwise(marks)]
    assert b"".join([piece async for piece in unpacked(pieces(*parts))]) == data
