# SPDX-License-Identifier: Apache-2.0
"""Files of drives come as they are, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async import resumable
from airflow_provider_async.errors import GraphError, InvalidBody, UnsafePath, VerificationFailed
from airflow_provider_async.msgraph.drive_item import item_key, url_of
from airflow_provider_async.testing.msgraph import RESET, GraphAnswer, error, throttled
from tests.msgraph.conftest import make_pool

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.testing.msgraph import Drive, GraphServer

CONTENT = bytes(number * 31 % 256 for number in range(3_000_000))


@pytest.fixture
def drive(server: GraphServer) -> Drive:
    return server.drive


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(server: GraphServer) -> list[str]:
    return [request.headers.get("range", "") for request in server.seen if "/public/content/" in request.path]


@pytest.mark.parametrize("url", ["me/drive/root:/may.csv", "/drives/b!drive/items/item1", "me/drive/root:/may.csv:"])
async def test_a_file_is_downloaded_and_compared(
    drive: Drive, pool: MSGraphClientPool, tmp_path: Path, url: str
) -> None:
    drive.add("may.csv", CONTENT)
    found = await pool.download(url, tmp_path / "here.csv")

    assert (tmp_path / "here.csv").read_bytes() == CONTENT
    assert (found.size, found.verified, found.skipped) == (len(CONTENT), "quickXorHash", False)
    assert (found.item.name, found.item.size) == ("may.csv", len(CONTENT))
    assert int((tmp_path / "here.csv").stat().st_mtime) == 1783326600
    assert names_in(tmp_path) == ["here.csv"]


async def test_pre_authenticated_urls_get_no_token_and_no_error_tells_them(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, tmp_path: Path
) -> None:
    file = drive.add("may.csv", CONTENT)
    await pool.download("me/drive/root:/may.csv", tmp_path / "here.csv")
    (got,) = [request for request in server.seen if request.path.startswith("/public/content/")]
    assert "authorization" not in got.headers

    key = next(key for key, (number, _) in drive.keys.items() if number == file.id)
    server.fail("*", None, *[error(500, "generalException")] * 9)
    with pytest.raises(GraphError) as caught:
        await pool.download("me/drive/root:/may.csv", tmp_path / "here.csv")
    told = repr(caught.value) + str(vars(caught.value)) + "".join(getattr(caught.value, "__notes__", []))
    assert "pre-authenticated" in str(caught.value)
    assert "tempauth" not in told
    assert key not in told
    assert "tempauth" not in repr(await pool.download("me/drive/root:/may.csv", tmp_path / "again.csv"))


@pytest.mark.parametrize(
    ("hashes", "verified"),
    [
        (("sha1Hash", "quickXorHash"), "sha1Hash"),
        (("quickXorHash", "sha1Hash", "sha256Hash"), "sha256Hash"),
        ((), None),
    ],
)
async def test_the_best_hash_that_graph_has_is_compared(
    drive: Drive, pool: MSGraphClientPool, tmp_path: Path, hashes: tuple[str, ...], verified: str | None
) -> None:
    drive.add("may.csv", b"1;2\n", hashes=hashes)
    found = await pool.download("me/drive/root:/may.csv", tmp_path / "here.csv")
    assert found.verified == verified


@pytest.mark.parametrize("hashed", ["quickXorHash", "sha1Hash", "sha256Hash"])
async def test_what_is_not_what_graph_has_is_an_error_and_no_file(
    drive: Drive, pool: MSGraphClientPool, tmp_path: Path, hashed: str
) -> None:
    lies = {"file": {"hashes": {hashed: "AAAA"}}}
    drive.add("may.csv", CONTENT, lies=lies)
    with pytest.raises(VerificationFailed, match=rf"me/drive/root:/may.csv \('may.csv'\): its {hashed} is AAAA"):
        await pool.download("me/drive/root:/may.csv", tmp_path / "here.csv")
    assert names_in(tmp_path) == []
    found = await pool.download("me/drive/root:/may.csv", tmp_path / "here.csv", verify=False)
    assert found.verified is None


async def test_another_length_is_an_error(drive: Drive, pool: MSGraphClientPool, tmp_path: Path) -> None:
    drive.add("may.csv", b"1;2\n", lies={"size": 3})
    with pytest.raises(VerificationFailed, match="4 bytes came, and it has 3"):
        await pool.download("me/drive/root:/may.csv", tmp_path / "here.csv")


async def test_a_file_that_was_changed_since_it_was_listed_comes_as_it_is_now(
    drive: Drive, pool: MSGraphClientPool, tmp_path: Path
) -> None:
    file = drive.add("may.csv", b"old")
    (row,) = [row async for row in pool.paginate("me/drive/root/children")]
    file.content, file.version = b"newer", 2
    found = await pool.download(row, tmp_path / "here.csv")

    assert (tmp_path / "here.csv").read_bytes() == b"newer"
    assert (found.size, found.verified) == (5, "quickXorHash")


async def test_a_url_that_has_expired_is_asked_for_again(drive: Drive, pool: MSGraphClientPool, tmp_path: Path) -> None:
    drive.add("may.csv", CONTENT)
    (row,) = [row async for row in pool.paginate("me/drive/root/children")]
    drive.keys.clear()
    await pool.download(row, tmp_path / "here.csv")
    assert (tmp_path / "here.csv").read_bytes() == CONTENT


async def test_a_download_that_is_cut_off_goes_on_where_it_was(
    server: GraphServer, drive: Drive, pool: MSGraphClientPool, tmp_path: Path
) -> None:
    file = drive.add("may.csv", CONTENT)
    tag = {"ETag": f'"{{{file.id}}},1"'}
    server.fail("/public/content/key1", GraphAnswer(body=CONTENT, headers=tag, cut_after=2_000_000))
    await pool.download("me/drive/root:/may.csv", tmp_path / "here.csv")

    assert (tmp_path / "here.csv").read_bytes() == CONTENT
    first, second = contents(server)
    assert first == ""
    assert second.startswith("bytes=")
    assert int(second.removeprefix("bytes=").removesuffix("-")) > 1_000_000


async def test_another_process_goes_on_and_another_version_begins_anew(
    server: GraphServer, drive: Drive, tmp_path: Path
) -> None:
    file = drive.add("may.csv", CONTENT)

    async def fail(number: int) -> None:
        tag = {"ETag": f'"{{{file.id}}},{file.version}"'}
        cut = GraphAnswer(body=file.content, headers=tag, cut_after=2_000_000)
        server.fail(f"/public/content/key{number}", cut, *[error(500, "x")] * 9)
        async with make_pool(server) as pool:
            with pytest.raises(GraphError, match="500"):
                await pool.download("me/drive/root:/may.csv", tmp_path / "here.csv")

    await fail(1)
    async with make_pool(server) as pool:
        await pool.download("me/drive/root:/may.csv", tmp_path / "here.csv")
        assert contents(server)[-1].startswith("bytes=")
        await fail(3)
        file.content, file.version = CONTENT[::-1], 2
        await pool.download("me/drive/root:/may.csv", tmp_path / "here.csv")
    assert contents(server)[-1] == ""
    assert (tmp_path / "here.csv").read_bytes() == CONTENT[::-1]


async def test_a_folder_is_no_file(pool: MSGraphClientPool, tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="'a folder' is no file in a drive"):
        await pool.download("me/drive/items/folder1", tmp_path / "here")


async def test_what_is_no_item_is_an_error(server: GraphServer, pool: MSGraphClientPool, tmp_path: Path) -> None:
    with pytest.raises(InvalidBody, match="me is no item of a drive"):
        await pool.download("me", tmp_path / "here")
    with pytest.raises(ValueError, match="a row without id and parentReference"):
        await pool.download({"name": "x"}, tmp_path / "here")
    with pytest.raises(TypeError, match="not of type int"):
        await pool.download(5, tmp_path / "here")
    with pytest.raises(GraphError, match="itemNotFound"):
        await pool.download("me/drive/root:/missing", tmp_path / "here")


# Many.


@pytest.fixture
def many(drive: Drive) -> dict[str, bytes]:
    files = {f"{number}.csv": f"{number};{number * 7}\n".encode() * 50 for number in range(120)}
    for name, content in files.items():
        drive.add(name, content)
    return files


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_rows_of_a_listing_need_no_other_request(
    server: GraphServer, many: dict[str, bytes], pool: MSGraphClientPool, tmp_path: Path
) -> None:
    work = pool.download_many(pool.paginate("me/drive/root/children"), tmp_path / "files")
    found = [file async for file in work]

    assert read_all(tmp_path / "files") == many
    assert {file.verified for file in found} == {"quickXorHash"}
    assert work.progress.bytes == sum(map(len, many.values()))
    assert {request.path.rpartition("/")[0] for request in server.seen} == {
        "/me/drive/root",
        "/public/content",
    }


async def test_urls_and_names_are_the_callers(many: dict[str, bytes], pool: MSGraphClientPool, tmp_path: Path) -> None:
    urls = [f"me/drive/root:/{name}" for name in list(many)[:3]]
    found = [
        file async for file in pool.download_many(urls, tmp_path, name=lambda item: f"sub/{item.id}", ordered=True)
    ]
    assert [file.path for file in found] == [tmp_path / "sub" / f"item{number}" for number in (1, 2, 3)]


async def test_files_that_are_there_are_left_alone_if_that_is_wanted(
    server: GraphServer, many: dict[str, bytes], pool: MSGraphClientPool, tmp_path: Path
) -> None:
    (tmp_path / "1.csv").write_bytes(b"mine")
    work = pool.download_many(pool.paginate("me/drive/root/children"), tmp_path, existing="skip")
    assert sum(file.skipped for file in [file async for file in work]) == 1
    assert (tmp_path / "1.csv").read_bytes() == b"mine"
    assert work.progress.skipped == 1
    failing = pool.download_many(["me/drive/root:/1.csv"], tmp_path, existing="error")
    (outcome,) = [outcome async for outcome in failing.outcomes()]
    assert isinstance(outcome.error, FileExistsError)


@pytest.mark.parametrize("name", ["../x", "/x", "", "a/../b", "."])
async def test_a_name_leads_out_of_no_folder(drive: Drive, pool: MSGraphClientPool, tmp_path: Path, name: str) -> None:
    drive.add("x", b"x", lies={"name": name})
    with pytest.raises(UnsafePath):
        [file async for file in pool.download_many(["me/drive/items/item1"], tmp_path)]
    assert names_in(tmp_path) == []


async def test_two_items_of_one_name_are_refused(drive: Drive, pool: MSGraphClientPool, tmp_path: Path) -> None:
    for _ in range(2):
        drive.add("x", b"x")
    with pytest.raises(UnsafePath, match="two URLs give a file of the name 'x'"):
        [file async for file in pool.download_many(["me/drive/items/item1", "me/drive/items/item2"], tmp_path)]


async def test_the_next_try_downloads_what_is_missing_or_was_changed(
    server: GraphServer, drive: Drive, many: dict[str, bytes], pool: MSGraphClientPool, tmp_path: Path
) -> None:
    async def attempt(number: int, *, fail: bool) -> int:
        count = 0
        async with resumable(tmp_path / "kept", attempt=number):
            rows = pool.paginate("me/drive/root/children")
            async for _ in pool.download_many(rows, tmp_path / "files", resume="files", ordered=True):
                count += 1
                if fail and count == 101:
                    raise ZeroDivisionError
        return count

    with pytest.raises(ZeroDivisionError):
        await attempt(1, fail=True)
    changed = drive.named("7.csv")
    assert changed is not None
    changed.content, changed.version = b"new", 2
    assert await attempt(2, fail=False) == 21
    assert read_all(tmp_path / "files") == {**many, "7.csv": b"new"}


async def test_throttling_and_lost_connections_lose_no_file(
    server: GraphServer, many: dict[str, bytes], pool: MSGraphClientPool, tmp_path: Path
) -> None:
    rows: list[Any] = [row async for row in pool.paginate("me/drive/root/children")]
    server.fail("*", throttled("0.1"), RESET, error(503, "serviceNotAvailable"), RESET, throttled(None))
    assert len([file async for file in pool.download_many(rows, tmp_path)]) == 120
    assert read_all(tmp_path) == many


def test_an_item_is_told_by_its_content() -> None:
    row = {"id": "1", "cTag": "a", "eTag": "b", "parentReference": {"driveId": "d"}}
    assert item_key(row) == ("drives/d/items/1", "a")
    assert item_key({**row, "cTag": None}) == ("drives/d/items/1", "b")
    assert item_key("me/drive/items/1") == "me/drive/items/1"
    assert url_of("https://graph.microsoft.com/v1.0/me/drive/items/1:") == (
        "https://graph.microsoft.com/v1.0/me/drive/items/1:"
    )
