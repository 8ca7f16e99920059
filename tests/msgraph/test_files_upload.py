# SPDX-License-Identifier: Apache-2.0
"""Files go into drives whole, whatever happens to the session on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_async import resumable
from airflow_provider_async.errors import FileChanged, GraphError, InvalidBody, VerificationFailed
from airflow_provider_async.msgraph.drive_upload import target_url
from airflow_provider_async.testing.msgraph import RESET, Drive, GraphAnswer, error, throttled

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.testing.msgraph import GraphRequest, GraphServer

UNIT = 320 * 1024

CONTENT = bytes(number * 37 % 251 for number in range(5_000_000))

UPLOAD = "/public/upload/session1"


@pytest.fixture
def drive(server: GraphServer) -> Drive:
    return server.drive


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "may.csv"
    path.write_bytes(CONTENT)
    return path


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def stored(drive: Drive, name: str) -> bytes:
    file = drive.named(name)
    assert file is not None
    return file.content


def pieces(server: GraphServer) -> list[GraphRequest]:
    return [request for request in server.seen if request.path.startswith("/public/upload/")]


@pytest.mark.parametrize("size", [0, 1, 4 * 1024 * 1024])
async def test_a_small_file_goes_in_one_request(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, path: Path, size: int
) -> None:
    write(path, CONTENT[:size])
    found = await pool.upload(path, "me/drive/root:/reports/may.csv")

    assert stored(drive, "reports/may.csv") == CONTENT[:size]
    assert (found.path, found.size, found.verified) == (path, size, "quickXorHash")
    assert found.item.url == "drives/b!drive/items/item1"
    assert [request.method for request in server.seen] == ["PUT"]


async def test_a_large_file_goes_in_pieces_without_a_token(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, path: Path
) -> None:
    found = await pool.upload(path, "me/drive/root:/may.csv", chunk_bytes=4 * UNIT)

    assert stored(drive, "may.csv") == CONTENT
    assert found.verified == "quickXorHash"
    assert [request.headers["content-range"] for request in pieces(server)] == [
        "bytes 0-1310719/5000000",
        "bytes 1310720-2621439/5000000",
        "bytes 2621440-3932159/5000000",
        "bytes 3932160-4999999/5000000",
    ]
    assert not any("authorization" in request.headers for request in pieces(server))
    assert drive.sessions == {}


async def test_pieces_that_fail_are_sent_again(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, path: Path
) -> None:
    server.fail(UPLOAD, None, RESET, throttled("0.1"), error(503, "x"), None, error(500, "x"))
    await pool.upload(path, "me/drive/root:/may.csv", chunk_bytes=4 * UNIT)
    assert stored(drive, "may.csv") == CONTENT


class LosingAnswers:
    """Does what it is asked, and then the connection ends before the answer."""

    def __init__(self, server: GraphServer, path: str, at: set[int]) -> None:
        self._at, self._path, self._count = at, path, 0
        self._handle = server.handle
        server.handle = self.handle  # type: ignore[method-assign]

    async def handle(self, request: GraphRequest) -> GraphAnswer:
        answer = await self._handle(request)
        if request.path == self._path and request.method == "PUT":
            self._count += 1
            if self._count in self._at:
                return RESET
        return answer


@pytest.mark.parametrize("lost", [{1}, {2}, {1, 3}, {4}])
async def test_a_piece_whose_answer_was_lost_is_not_sent_twice_into_the_file(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, path: Path, lost: set[int]
) -> None:
    LosingAnswers(server, UPLOAD, lost)
    found = await pool.upload(path, "me/drive/root:/may.csv", chunk_bytes=4 * UNIT)

    assert stored(drive, "may.csv") == CONTENT
    assert found.verified == "quickXorHash"
    assert drive.finished == 1


async def test_graph_says_where_an_upload_goes_on(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, path: Path
) -> None:
    class KeepingLess(LosingAnswers):
        """Has got only a part of the first piece."""

        async def handle(self, request: GraphRequest) -> GraphAnswer:
            answer = await self._handle(request)
            if request.method == "PUT" and len(pieces(server)) == 1:
                del drive.sessions["session1"].content[UNIT:]
                return GraphAnswer(status=202, body={"nextExpectedRanges": [f"{UNIT}-{4 * UNIT}", "9-"]})
            return answer

    KeepingLess(server, UPLOAD, set())
    await pool.upload(path, "me/drive/root:/may.csv", chunk_bytes=4 * UNIT)
    assert stored(drive, "may.csv") == CONTENT
    assert pieces(server)[1].headers["content-range"].startswith(f"bytes {UNIT}-")


async def test_an_upload_that_stands_still_is_an_error(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, path: Path
) -> None:
    server.fail(UPLOAD, *[GraphAnswer(status=202, body={"nextExpectedRanges": ["0-"]})] * 6)
    with pytest.raises(InvalidBody, match="Graph asks for the bytes from 0 on again and again"):
        await pool.upload(path, "me/drive/root:/may.csv", chunk_bytes=4 * UNIT)
    assert drive.sessions == {}


async def test_an_answer_that_does_not_say_how_to_go_on_is_an_error(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, path: Path
) -> None:
    for ranges in ([], None, ["x"], ["5000000-"]):
        server.fail("*", None, GraphAnswer(status=202, body={"nextExpectedRanges": ranges}))
        with pytest.raises(InvalidBody, match="does not say how the upload goes on"):
            await pool.upload(path, "me/drive/root:/may.csv")


async def test_a_session_that_graph_forgets_is_begun_anew(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, path: Path
) -> None:
    server.fail(UPLOAD, None, error(404, "itemNotFound"))
    await pool.upload(path, "me/drive/root:/may.csv", chunk_bytes=4 * UNIT)
    assert stored(drive, "may.csv") == CONTENT

    server.fail("*", *[None, error(404, "itemNotFound"), None] * 3)
    with pytest.raises(InvalidBody, match="has forgotten 3 upload sessions"):
        await pool.upload(path, "me/drive/root:/other.csv")


async def test_what_there_is_is_replaced_refused_or_left_beside(
    drive: Drive, pool: MSGraphClientPool, path: Path
) -> None:
    drive.add("may.csv", b"old")
    with pytest.raises(GraphError, match="nameAlreadyExists") as caught:
        await pool.upload(path, "me/drive/root:/may.csv", conflict="fail")
    assert caught.value.status == 409
    assert stored(drive, "may.csv") == b"old"
    renamed = await pool.upload(path, "me/drive/root:/may.csv", conflict="rename")
    assert renamed.item.name == "may.csv 1"
    await pool.upload(path, "me/drive/root:/may.csv")
    assert stored(drive, "may.csv") == CONTENT
    write(path, b"small")
    with pytest.raises(GraphError, match="nameAlreadyExists"):
        await pool.upload(path, "me/drive/root:/may.csv", conflict="fail")
    await pool.upload(path, "me/drive/items/item1")
    assert stored(drive, "may.csv") == b"small"


async def test_an_upload_that_fails_leaves_no_session_behind(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, path: Path
) -> None:
    server.fail(UPLOAD, None, error(507, "insufficientStorage"))
    with pytest.raises(GraphError, match="507") as caught:
        await pool.upload(path, "me/drive/root:/may.csv", chunk_bytes=4 * UNIT)
    assert drive.sessions == {}
    assert "session1" not in repr(caught.value) + str(vars(caught.value))


async def test_what_graph_has_is_compared(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, path: Path
) -> None:
    file = drive.add("may.csv", b"x", lies={"file": {"hashes": {"quickXorHash": "AAAA"}}})
    with pytest.raises(VerificationFailed, match=r"has the quickXorHash .*, and drives/b!drive/items/item1 has AAAA"):
        await pool.upload(path, "me/drive/root:/may.csv")
    file.lies["size"] = 7
    with pytest.raises(VerificationFailed, match="has 5000000 bytes, and drives/b!drive/items/item1 has 7"):
        await pool.upload(path, "me/drive/root:/may.csv")
    assert (await pool.upload(path, "me/drive/root:/may.csv", verify=False)).verified is None


async def test_a_file_that_is_changed_meanwhile_is_an_error(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, path: Path
) -> None:
    class Changing(LosingAnswers):
        async def handle(self, request: GraphRequest) -> GraphAnswer:
            answer = await self._handle(request)
            if request.method == "PUT":
                write(path, b"shorter")
            return answer

    Changing(server, UPLOAD, set())
    with pytest.raises(FileChanged, match="has become shorter"):
        await pool.upload(path, "me/drive/root:/may.csv", chunk_bytes=4 * UNIT)
    write(path, b"as large")
    with pytest.raises(FileChanged, match="was changed while it was sent"):
        await pool.upload(path, "me/drive/root:/may.csv")


async def test_bad_options_are_refused(pool: MSGraphClientPool, path: Path) -> None:
    with pytest.raises(ValueError, match="chunk_bytes must be a multiple of 327680"):
        await pool.upload(path, "me/drive/root:/may.csv", chunk_bytes=1_000_000)
    with pytest.raises(ValueError, match="conflict must be one of replace, fail, rename"):
        await pool.upload(path, "me/drive/root:/may.csv", conflict="x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("folder", "name", "url"),
    [
        ("me/drive/root", "a b.csv", "me/drive/root:/a%20b.csv"),
        ("me/drive/root:/reports/", "x#1.csv", "me/drive/root:/reports/x%231.csv"),
        ("me/drive/root:/reports:", "sub/x", "me/drive/root:/reports/sub/x"),
        ("drives/1/items/2", "x", "drives/1/items/2:/x"),
        ("https://graph.microsoft.com/v1.0/me/drive/root", "x", "https://graph.microsoft.com/v1.0/me/drive/root:/x"),
    ],
)
def test_names_stand_in_urls_as_graph_wants_them(folder: str, name: str, url: str) -> None:
    assert target_url(folder, name) == url


async def test_many_are_uploaded_and_the_next_try_leaves_out_what_is_done(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, tmp_path: Path
) -> None:
    files = {f"{number} é.csv": f"{number}\n".encode() * 99 for number in range(60)}
    paths = [tmp_path / name for name in files]
    for one in paths:
        one.write_bytes(files[one.name])

    async def attempt(number: int, *, fail: bool) -> int:
        count = 0
        async with resumable(tmp_path / "kept", attempt=number):
            async for _ in pool.upload_many(paths, "me/drive/root:/new", resume="files", ordered=True):
                count += 1
                if fail and count == 51:
                    raise ZeroDivisionError
        return count

    with pytest.raises(ZeroDivisionError):
        await attempt(1, fail=True)
    paths[3].write_bytes(b"changed")
    assert await attempt(2, fail=False) == 11
    found = {file.name: file.content for file in drive.files.values()}
    assert found == {f"new/{name}": content for name, content in (files | {"3 é.csv": b"changed"}).items()}
