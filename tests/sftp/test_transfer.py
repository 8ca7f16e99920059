# SPDX-License-Identifier: Apache-2.0
"""Downloads and uploads: complete or not there at all, and never outside of their folder."""

from __future__ import annotations

import asyncio
import resource
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import UnsafePath
from airflow_provider_async.sftp import SFTPClientPool, TransferredFile
from tests.servers.sftp import FolderServer, asyncssh_server, until, write_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.servers.sftp import Proxy, Sshd

SOON = Retry(initial_seconds=0.01, max_seconds=0.05)
ONCE = Retry(attempts=1)


@pytest.fixture
async def pool(sshd: Sshd) -> AsyncIterator[SFTPClientPool]:
    async with SFTPClientPool(connection=sshd.connection()) as opened:
        yield opened


@pytest.fixture
def local(tmp_path: Path) -> Path:
    folder = tmp_path / "local"
    folder.mkdir()
    return folder


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let this process write no larger files. Not for longer than needed: it also writes the report of the tests."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Downloads.


async def test_downloads_lie_side_by_side(pool: SFTPClientPool, sshd: Sshd, tmp_path: Path) -> None:
    paths = write_files(sshd.files, 30)
    target = tmp_path / "new" / "folder"

    files = [file async for file in pool.download_many(paths, target, ordered=True)]

    assert contents(target) == contents(sshd.files)
    assert files[0] == TransferredFile(paths[0], target / "00000.xml", 3500)


async def test_downloads_keep_the_folders_below_a_base(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (sshd.files / "a" / "b").mkdir(parents=True)
    write_files(sshd.files / "a", 2)
    write_files(sshd.files / "a" / "b", 2)

    async for _ in pool.download_many(pool.walk(str(sshd.files)), str(local), base=str(sshd.files)):
        pass

    assert contents(local) == contents(sshd.files)
    assert set(contents(local)) == {"a/00000.xml", "a/00001.xml", "a/b/00000.xml", "a/b/00001.xml"}


@pytest.mark.parametrize("size", [0, 1_000_001])
async def test_a_download_replaces_a_file_and_a_link_but_not_what_the_link_leads_to(
    pool: SFTPClientPool, sshd: Sshd, local: Path, tmp_path: Path, size: int
) -> None:
    (sshd.files / "x").write_bytes(b"n" * size)
    (tmp_path / "precious").write_bytes(b"precious")
    (local / "x").symlink_to(tmp_path / "precious")

    async for _ in pool.download_many([str(sshd.files / "x")], local):
        pass

    assert contents(local) == {"x": b"n" * size}
    assert (tmp_path / "precious").read_bytes() == b"precious"


async def test_two_remote_files_never_become_one_local_file(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    for folder in ("a", "b"):
        (sshd.files / folder).mkdir()
        (sshd.files / folder / "same").write_text(folder)
    paths = [f"{sshd.files}/a/same", f"{sshd.files}/b/same"]

    outcomes = [outcome async for outcome in pool.download_many(paths, local, ordered=True).outcomes()]

    assert [type(outcome.error) for outcome in outcomes] == [type(None), UnsafePath]
    assert f"'{paths[1]}' and '{paths[0]}' would both become 'same'" in str(outcomes[1].error)
    assert contents(local) == {"same": b"a"}


async def test_the_same_file_may_be_downloaded_twice(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (path,) = write_files(sshd.files, 1)

    assert len([file async for file in pool.download_many([path, path], local)]) == 2


@pytest.mark.parametrize("path", ["/out/..", "..", "/", "", "/out/a\0b"])
async def test_a_path_without_a_name_is_refused(pool: SFTPClientPool, local: Path, path: str) -> None:
    with pytest.raises(UnsafePath, match="names no file inside of a folder"):
        async for _ in pool.download_many([path], local):
            pass

    assert list(local.parent.glob("**/.*.part")) == []


@pytest.mark.parametrize("path", ["/out/../etc/passwd", "/out/a/../../etc/passwd", "/out", "/etc/passwd", "out/x"])
async def test_a_path_that_leads_out_of_the_base_is_refused(pool: SFTPClientPool, local: Path, path: str) -> None:
    with pytest.raises(UnsafePath):
        async for _ in pool.download_many([path], local, base="/out"):
            pass

    assert contents(local) == {}


async def test_a_link_that_leads_out_of_the_local_folder_is_not_followed(
    pool: SFTPClientPool, sshd: Sshd, local: Path, tmp_path: Path
) -> None:
    (sshd.files / "sub" / "deep").mkdir(parents=True)
    (sshd.files / "sub" / "deep" / "x").touch()
    (tmp_path / "elsewhere").mkdir()
    (local / "sub").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UnsafePath, match=r"leads out of .* through a link"):
        async for _ in pool.download_many(pool.walk(str(sshd.files)), local, base=PurePosixPath(sshd.files)):
            pass

    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_local_folder_may_itself_be_a_link(
    pool: SFTPClientPool, sshd: Sshd, local: Path, tmp_path: Path
) -> None:
    paths = write_files(sshd.files, 1)
    (tmp_path / "link").symlink_to(local)

    async for _ in pool.download_many(paths, tmp_path / "link"):
        pass

    assert set(contents(local)) == {"00000.xml"}


async def test_a_failed_download_leaves_the_old_file_and_nothing_else(
    pool: SFTPClientPool, sshd: Sshd, local: Path
) -> None:
    (local / "gone").write_text("old")
    (local / "folder").mkdir()
    (sshd.files / "folder").touch()
    paths = [f"{sshd.files}/gone", f"{sshd.files}/folder"]

    outcomes = [outcome async for outcome in pool.download_many(paths, local, ordered=True).outcomes()]

    assert [type(outcome.error) for outcome in outcomes] == [asyncssh.SFTPNoSuchFile, IsADirectoryError]
    assert contents(local) == {"gone": b"old"}
    assert pool.statistics().connects == 1


async def test_a_local_file_that_cannot_grow_ends_a_download_with_the_name_of_the_file(
    pool: SFTPClientPool, sshd: Sshd, local: Path
) -> None:
    (path,) = write_files(sshd.files, 1)

    with files_up_to(1000), pytest.raises(OSError, match="File too large") as raised:
        async for _ in pool.download_many([path], local):
            pass

    assert path in raised.value.__notes__[0]
    assert contents(local) == {}


async def test_a_cut_connection_leaves_no_half_download(sshd: Sshd, proxy: Proxy, local: Path) -> None:
    paths = write_files(sshd.files, 4, size=2_000_001)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        await pool.listdir("/")
        proxy.cut_after(down=1_500_000)
        outcomes = [outcome async for outcome in pool.download_many(paths, local, retry=ONCE).outcomes()]
        complete = {outcome.value.local_path.name for outcome in outcomes if outcome.value}
        assert complete != {Path(path).name for path in paths}
        assert contents(local) == {name: (sshd.files / name).read_bytes() for name in complete}

        proxy.cut_after(down=1_500_000)
        async for _ in pool.download_many(paths, local, retry=SOON):
            pass

    assert contents(local) == contents(sshd.files)


async def test_a_cancelled_download_leaves_nothing(sshd: Sshd, proxy: Proxy, local: Path) -> None:
    paths = write_files(sshd.files, 2, size=20_000_000)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        downloading = asyncio.ensure_future(anext(aiter(pool.download_many(paths, local))))
        await until(lambda: any(contents(local).values()))
        assert all(name.endswith(".part") for name in contents(local))

        downloading.cancel()

        with pytest.raises(asyncio.CancelledError):
            await downloading
        assert contents(local) == {}
        assert pool.statistics().leased == 0


# Uploads.


async def test_uploads_lie_side_by_side(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    paths = write_files(local, 30)

    files = [file async for file in pool.upload_many(paths, str(sshd.files), ordered=True)]

    assert contents(sshd.files) == contents(local)
    assert files[0] == TransferredFile(f"{sshd.files}/00000.xml", local / "00000.xml", 3500)


async def test_uploads_keep_the_folders_below_a_base(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (local / "a" / "b").mkdir(parents=True)
    (local / "c").mkdir()
    paths = [path for folder in ("a", "a/b", "c") for path in write_files(local / folder, 10)]
    (sshd.files / "c").mkdir()

    async for _ in pool.upload_many(paths, PurePosixPath(sshd.files), base=local, limit=4):
        pass

    assert contents(sshd.files) == contents(local)


@pytest.mark.parametrize("size", [0, 1, 261120, 1_000_001])
async def test_an_upload_of_any_size_replaces_a_file(pool: SFTPClientPool, sshd: Sshd, local: Path, size: int) -> None:
    (local / "x").write_bytes(b"n" * size)
    (sshd.files / "x").write_bytes(b"old")

    async for _ in pool.upload_many([local / "x"], str(sshd.files)):
        pass

    assert contents(sshd.files) == {"x": b"n" * size}


async def test_two_local_files_never_become_one_remote_file(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    for folder in ("a", "b"):
        (local / folder).mkdir()
        (local / folder / "same").write_text(folder)

    with pytest.raises(UnsafePath, match="would both become 'same'"):
        async for _ in pool.upload_many([local / "a" / "same", local / "b" / "same"], str(sshd.files)):
            pass


async def test_a_failed_upload_leaves_nothing(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (local / "x").write_bytes(b"new")
    (sshd.files / "x").mkdir()
    (sshd.files / "x" / "y").touch()
    paths = [local / "x", local / "missing"]

    outcomes = [outcome async for outcome in pool.upload_many(paths, str(sshd.files), ordered=True).outcomes()]

    assert [type(outcome.error) for outcome in outcomes] == [asyncssh.SFTPFailure, FileNotFoundError]
    assert contents(sshd.files) == {"x/y": b""}


async def test_an_upload_into_a_missing_folder_is_an_error(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (path,) = write_files(local, 1)

    with pytest.raises(asyncssh.SFTPNoSuchFile):
        async for _ in pool.upload_many([path], f"{sshd.files}/missing"):
            pass


async def test_a_folder_that_cannot_be_made_is_an_error(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (local / "a").mkdir()
    write_files(local / "a", 1)
    (sshd.files / "a").write_text("no folder")

    with pytest.raises(asyncssh.SFTPFailure):
        async for _ in pool.upload_many([local / "a" / "00000.xml"], str(sshd.files), base=local):
            pass


async def test_a_cut_connection_leaves_no_half_upload(sshd: Sshd, proxy: Proxy, local: Path) -> None:
    paths = write_files(local, 4, size=2_000_001)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        await pool.listdir("/")
        proxy.cut_after(up=1_500_000)
        outcomes = [outcome async for outcome in pool.upload_many(paths, str(sshd.files), retry=ONCE).outcomes()]
        complete = {outcome.value.local_path.name for outcome in outcomes if outcome.value}
        assert complete != {Path(path).name for path in paths}
        assert contents(sshd.files) == {name: (local / name).read_bytes() for name in complete}

        proxy.cut_after(up=1_500_000)
        async for _ in pool.upload_many(paths, str(sshd.files), retry=SOON):
            pass

    assert contents(sshd.files) == contents(local)


async def test_a_cancelled_upload_leaves_nothing(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    paths = write_files(local, 2, size=50_000_000)
    uploading = asyncio.ensure_future(anext(aiter(pool.upload_many(paths, str(sshd.files)))))
    await until(lambda: any(contents(sshd.files).values()))

    uploading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await uploading
    assert contents(sshd.files) == {}
    assert pool.statistics().leased == 0


# Servers without posix-rename@openssh.com.


class Plain(FolderServer):
    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("no posix-rename here")


@pytest.mark.parametrize("replaced", [True, False])
async def test_without_posix_rename_an_old_file_is_removed_first(tmp_path: Path, local: Path, replaced: bool) -> None:
    remote = tmp_path / "remote"
    remote.mkdir()
    if replaced:
        (remote / "00000.xml").write_text("old")
    async with asyncssh_server(remote, Plain) as server, SFTPClientPool(connection=server.connection()) as pool:
        async for _ in pool.upload_many(write_files(local, 1), "/"):
            pass

    assert contents(remote) == contents(local)


async def test_without_posix_rename_a_folder_is_not_removed(tmp_path: Path, local: Path) -> None:
    remote = tmp_path / "remote"
    (remote / "00000.xml").mkdir(parents=True)
    async with asyncssh_server(remote, Plain) as server, SFTPClientPool(connection=server.connection()) as pool:
        with pytest.raises(asyncssh.SFTPError):
            async for _ in pool.upload_many(write_files(local, 1), "/"):
                pass

    assert list(remote.iterdir()) == [remote / "00000.xml"]


async def test_a_cancellation_does_not_come_between_removing_and_renaming(tmp_path: Path, local: Path) -> None:
    removed, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Plain):
        async def remove(self, path: bytes) -> None:
            super().remove(path)
            removed.set()
            await go_on.wait()

    remote = tmp_path / "remote"
    remote.mkdir()
    (remote / "00000.xml").write_text("old")
    async with asyncssh_server(remote, Slow) as server, SFTPClientPool(connection=server.connection()) as pool:
        uploading = asyncio.ensure_future(anext(aiter(pool.upload_many(write_files(local, 1), "/"))))
        await removed.wait()
        uploading.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await uploading

    assert contents(remote) == contents(local)
