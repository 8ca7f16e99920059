# SPDX-License-Identifier: Apache-2.0
"""Downloads, over real sockets: complete or not there, and continued where the server says that it is the same."""

from __future__ import annotations

import asyncio
import fcntl
import gzip
import os
import re
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import ConnectionFailed, HTTPStatusError, UnsafePath
from airflow_provider_async.http import HTTPClientPool
from airflow_provider_async.http.parts import open_part
from tests.http.conftest import SOON, answer, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.http.conftest import Request, ScriptedServer

ONCE = Retry(attempts=1)


class FileServer:
    """Serves one file, with ranges and tags, and cuts the connection after so many bytes."""

    def __init__(self, data: bytes, *, tag: str | None = '"v1"', ranges: bool = True) -> None:
        self.data = data
        self.tag = tag
        self.ranges = ranges
        self.cut_after: int | None = None
        self.modified = 1_000_000_000

    def __call__(self, request: Request) -> bytes:
        headers = {"Last-Modified": formatdate(self.modified, usegmt=True)}
        if self.tag:
            headers["ETag"] = self.tag
        data, status, asked = self.data, 200, re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if self.ranges and asked and request.headers.get("if-range") == self.tag:
            start = int(asked[1])
            if start >= len(data):
                return answer(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data, status = data[start:], 206
        sent = data if self.cut_after is None else data[: self.cut_after]
        return answer(sent, status=status, headers=headers, length=len(data))


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def download(pool: HTTPClientPool, folder: Path, *urls: str, **options: Any) -> list[Any]:  # noqa: ANN401
    return [file async for file in pool.download_many(urls, folder, ordered=True, **options)]


async def test_many_files_are_downloaded_with_their_times(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "folder"
    for number in range(50):
        server.handle(f"/files/{number}.bin", FileServer(bytes([number]) * number))
    downloads = pool.download_many((f"files/{number}.bin?x=1" for number in range(50)), folder)
    found = {file.url: file async for file in downloads}

    assert files_in(folder) == {f"{number}.bin": bytes([number]) * number for number in range(50)}
    assert (found["files/7.bin?x=1"].path, found["files/7.bin?x=1"].size) == (folder / "7.bin", 7)
    assert (folder / "7.bin").stat().st_mtime == 1_000_000_000
    assert downloads.progress.bytes == sum(range(50))


async def test_what_is_cut_short_goes_on_where_it_stopped(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    data = os.urandom(3_000_000)
    files = FileServer(data)
    files.cut_after = 700_000
    server.handle("/f", files)
    (file,) = await download(pool, tmp_path, "f")

    assert files_in(tmp_path) == {"f": data}
    assert file.size == len(data)
    ranges = [request.headers.get("range") for request in server.requests]
    assert ranges == [None, *(f"bytes={700_000 * number}-" for number in range(1, 5))]


async def test_a_later_try_goes_on_too(server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path) -> None:
    files = FileServer(os.urandom(100_000))
    files.cut_after = 60_000
    server.handle("/f", files)
    with pytest.raises(ConnectionFailed):
        await download(pool, tmp_path, "f", retry=ONCE)
    assert len(files_in(tmp_path)) == 2
    assert not (tmp_path / "f").exists()

    files.cut_after = None
    await download(pool, tmp_path, "f", retry=ONCE)
    assert files_in(tmp_path) == {"f": files.data}
    assert server.requests[-1].headers["range"] == "bytes=60000-"


async def test_another_version_is_read_from_its_beginning(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    files = FileServer(os.urandom(100_000))
    files.cut_after = 60_000
    server.handle("/f", files)
    with pytest.raises(ConnectionFailed):
        await download(pool, tmp_path, "f", retry=ONCE)
    files.data, files.tag, files.cut_after = os.urandom(80_000), '"v2"', None

    await download(pool, tmp_path, "f", retry=ONCE)
    assert files_in(tmp_path) == {"f": files.data}


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
async def test_without_a_strong_tag_nothing_is_kept(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path, tag: str | None
) -> None:
    files = FileServer(os.urandom(100_000), tag=tag)
    files.cut_after = 60_000
    server.handle("/f", files)
    with pytest.raises(ConnectionFailed):
        await download(pool, tmp_path, "f", retry=ONCE)
    assert files_in(tmp_path) == {}
    with pytest.raises(ConnectionFailed):
        await download(pool, tmp_path, "f", retry=SOON)
    assert not any("range" in request.headers for request in server.requests)


async def test_a_server_without_ranges_is_read_anew(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    files = FileServer(os.urandom(100_000), ranges=False)
    files.cut_after = 60_000

    def handle(request: Request) -> bytes:
        if "range" in request.headers:
            files.cut_after = None
        return files(request)

    server.handle("/f", handle)
    await download(pool, tmp_path, "f")
    assert files_in(tmp_path) == {"f": files.data}


async def test_a_range_that_begins_elsewhere_is_not_believed(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    data = os.urandom(1000)
    tag = {"ETag": '"v1"'}
    server.on(
        "/f",
        answer(data[:500], headers=tag, length=1000),
        answer(data, status=206, headers=tag | {"Content-Range": "bytes 0-999/1000"}),
        answer(data, headers=tag),
    )
    await download(pool, tmp_path, "f")
    assert files_in(tmp_path) == {"f": data}


async def test_a_part_that_was_complete_already_is_taken(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    data = os.urandom(1000)
    server.on(
        "/f",
        answer(data, headers={"ETag": '"v1"'}, length=1001),
        answer(status=416, headers={"Content-Range": "bytes */1000"}),
    )
    await download(pool, tmp_path, "f")
    assert files_in(tmp_path) == {"f": data}

    server.on(
        "/g",
        answer(data, headers={"ETag": '"v1"'}, length=1001),
        answer(status=416, headers={"Content-Range": "bytes */10"}),
        answer(data[:10]),
    )
    await download(pool, tmp_path, "g")
    assert (tmp_path / "g").read_bytes() == data[:10]


async def test_a_range_that_is_refused_without_having_been_asked_for_is_an_error(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    server.on("/f", answer(status=416))
    with pytest.raises(HTTPStatusError, match="416"):
        await download(pool, tmp_path, "f")
    assert files_in(tmp_path) == {}


async def test_a_range_that_comes_short_is_asked_for_again(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    data = os.urandom(1000)
    tag = {"ETag": '"v1"'}
    server.on(
        "/f",
        answer(data[:500], headers=tag, length=1000),
        answer(data[500:700], status=206, headers=tag | {"Content-Range": "bytes 500-999/1000"}),
        answer(data[700:], status=206, headers=tag | {"Content-Range": "bytes 700-999/1000"}),
    )
    await download(pool, tmp_path, "f")
    assert files_in(tmp_path) == {"f": data}


async def test_what_is_encoded_all_the_same_is_decoded(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    data = b"text " * 1000
    server.on("/f", answer(gzip.compress(data), headers={"Content-Encoding": "gzip", "ETag": '"v1"'}))
    server.on("/g.gz", answer(gzip.compress(data, mtime=0)))
    await download(pool, tmp_path, "f", "g.gz")
    assert files_in(tmp_path) == {"f": data, "g.gz": gzip.compress(data, mtime=0)}
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_what_is_there_is_overwritten_skipped_or_an_error(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    server.on("/f", answer(b"new"))
    (tmp_path / "f").write_bytes(b"old!")
    skipping = pool.download_many(["f"], tmp_path, existing="skip")
    (skipped,) = [file async for file in skipping]
    assert (skipped.skipped, skipped.size, skipping.progress.skipped) == (True, 4, 1)
    with pytest.raises(FileExistsError, match="/f"):
        await download(pool, tmp_path, "f", existing="error")
    assert server.requests == []
    (file,) = await download(pool, tmp_path, "f")
    assert (file.skipped, files_in(tmp_path)) == (False, {"f": b"new"})
    with pytest.raises(ValueError, match="existing must be one of overwrite, skip, error, not 'x'"):
        pool.download_many(["f"], tmp_path, existing="x")  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["", "/", "a/", "a/..", "a/%2e%2e", "a/b%2Fc/..", "a/%00", "a/.%2F..%2F.."])
async def test_a_url_that_gives_no_safe_name_is_refused(pool: HTTPClientPool, tmp_path: Path, url: str) -> None:
    with pytest.raises(UnsafePath):
        await download(pool, tmp_path, url)


async def test_names_can_be_made_and_two_of_the_same_are_refused(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    for path in ("/a/f", "/b/f"):
        server.on(path, answer(path))
    with pytest.raises(UnsafePath, match="two URLs give a file of the name 'f'"):
        await download(pool, tmp_path, "a/f", "b/f")
    await download(pool, tmp_path, "a/f", "b/f", name=lambda url: f"all/{url.replace('/', '-')}")
    assert files_in(tmp_path / "all") == {"a-f": b"/a/f", "b-f": b"/b/f"}
    with pytest.raises(UnsafePath):
        await download(pool, tmp_path, "a/f", name=lambda _: "../out")


async def test_a_link_does_not_lead_out_of_the_folder(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    server.on("/f", answer("x"))
    folder, outside = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    with pytest.raises(UnsafePath, match="through a link"):
        await download(pool, folder, "f", name=lambda _: "link/f")
    assert files_in(outside) == {}


async def test_a_part_that_another_process_works_on_is_left_alone(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    server.on("/f", answer("whole"))
    with open_part(tmp_path / "f", "f") as other:
        assert other.length == 0
        await download(pool, tmp_path, "f")
        assert (tmp_path / "f").read_bytes() == b"whole"
        descriptor = os.open(other.path, os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)


async def test_a_folder_that_cannot_be_written_to_is_no_reason_to_ask_again(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    server.on("/f", answer("x"))
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        await download(pool, tmp_path / "file", "f")
    assert server.requests == []


async def test_a_download_that_is_cancelled_keeps_what_came(server: ScriptedServer, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def stops(request: Request) -> bytes:
        request.writer.write(answer(b"x" * 1000, headers={"ETag": '"v1"'}, length=2000))
        await request.writer.drain()
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.handle("/f", stops)
    async with HTTPClientPool(None, base_url=server.url) as pool:
        job = asyncio.create_task(download(pool, tmp_path, "f"))
        await begun.wait()
        await until(lambda: any(path.stat().st_size for path in tmp_path.glob(".*.part.etag")))
        job.cancel()
        await asyncio.wait([job])
        assert pool.statistics().leased == 0
    server.handle("/f", FileServer(b"x" * 1000 + b"y" * 1000))
    async with HTTPClientPool(None, base_url=server.url) as pool:
        await download(pool, tmp_path, "f")
    assert files_in(tmp_path) == {"f": b"x" * 1000 + b"y" * 1000}
    assert server.requests[-1].headers["range"] == "bytes=1000-"
