# SPDX-License-Identifier: Apache-2.0
"""Uploads: complete or not there at all, and never outside of their folder."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async.core.progress import Tally
from airflow_provider_async.errors import OperationTimeout, UnsafePath
from airflow_provider_async.sftp import SFTPClientPool
from airflow_provider_async.sftp.folders import Folders
from airflow_provider_async.sftp.object_storage import walk_tree
from airflow_provider_async.sftp.parts import LARGE_BYTES
from tests.servers.sftp import FolderServer, asyncssh_server, until, write_files
from tests.sftp.transfers import (
    LARGE,
    SIZES,
    TIME,
    contents,
    only_file,
    times,
    upload,
    upload_outcomes,
    write_large,
)

if TYPE_CHECKING:
    from tests.servers.sftp import Sshd


# What arrives.


async def test_a_file_of_any_size_arrives_with_its_time(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    for size in SIZES:
        write_large(local / str(size), size)
        if size % 2:
            (sshd.files / str(size)).write_bytes(b"old")
    tally = Tally()

    files = await upload(pool, [local / str(size) for size in SIZES], sshd.files, tally=tally)

    assert contents(sshd.files) == contents(local)
    assert times(sshd.files) == {TIME}
    assert [(file.path, file.local_path, file.size) for file in files] == [
        (f"{sshd.files}/{size}", local / str(size), size) for size in SIZES
    ]
    assert tally == Tally(bytes=sum(SIZES))


async def test_a_tree_arrives_in_folders_that_are_made_once(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (local / "a" / "b").mkdir(parents=True)
    (local / "c").mkdir()
    for folder in ("a", "a/b", "c"):
        write_files(local / folder, 10)
    (sshd.files / "new" / "c").mkdir(parents=True)

    await upload(pool, walk_tree(local), sshd.files / "new", base=local)

    assert contents(sshd.files / "new") == contents(local)


async def test_the_folder_itself_is_made_and_those_above_it(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    await upload(pool, write_files(local, 20), f"{sshd.files}/very/new/folder/")

    assert contents(sshd.files / "very" / "new" / "folder") == contents(local)


async def test_a_relative_folder_is_made_where_the_login_begins(remote: Path, local: Path) -> None:
    async with asyncssh_server(remote) as server, SFTPClientPool(connection=server.connection()) as pool:
        await upload(pool, write_files(local, 2), "new")

    assert contents(remote / "new") == contents(local)


def test_a_tree_is_walked_folder_by_folder_in_order_without_links(local: Path, tmp_path: Path) -> None:
    (local / "b" / "c").mkdir(parents=True)
    (local / "a").mkdir()
    for name in ("z", "b/y", "b/c/x", "a/w", ".hidden"):
        (local / name).touch()
    (local / "link").symlink_to(local / "z")
    (local / "loop").symlink_to(local)
    (local / "out").symlink_to(tmp_path)
    os.mkfifo(local / "pipe")

    found = walk_tree(local)

    assert not hasattr(found, "__aiter__")
    assert [str(path.relative_to(local)) for path in found] == [".hidden", "z", "a/w", "b/y", "b/c/x"]  # type: ignore[union-attr]


async def test_a_tree_that_is_missing_is_an_error(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await upload(pool, walk_tree(local / "missing"), sshd.files)


async def test_two_local_files_never_become_one_remote_file(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    for folder in ("a", "b"):
        (local / folder).mkdir()
        (local / folder / "same").write_text(folder)

    with pytest.raises(UnsafePath, match="would both become 'same'"):
        await upload(pool, [local / "a" / "same", local / "b" / "same"], sshd.files)


async def test_a_server_with_small_blocks_gets_small_blocks(remote: Path, local: Path) -> None:
    written: list[int] = []

    class Small(FolderServer):
        def write(self, file_obj: object, offset: int, data: bytes) -> int:
            written.append(len(data))
            return super().write(file_obj, offset, data)  # type: ignore[return-value]

    write_large(local / "x", 100_000)
    async with asyncssh_server(remote, Small) as server, SFTPClientPool(connection=server.connection()) as pool:
        async with pool.get_sftp_client() as client:
            limit = client.limits.max_write_len
        await upload(pool, [local / "x"], "/")

    assert contents(remote) == contents(local)
    assert max(written) <= limit


# Files that exist.


async def test_a_file_of_the_same_size_and_time_is_skipped(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    paths = [Path(path) for path in write_files(local, 3)]
    await upload(pool, paths, sshd.files)
    (sshd.files / "00000.xml").write_bytes(b"other size")
    os.utime(sshd.files / "00001.xml", (1, 1))
    (sshd.files / "00002.xml").write_bytes(b"=" * 3500)
    os.utime(sshd.files / "00002.xml", (0, paths[2].stat().st_mtime))
    tally = Tally()

    files = await upload(pool, paths, sshd.files, existing="skip", tally=tally)

    assert [file.skipped for file in files] == [False, False, True]
    assert tally == Tally(skipped=1, bytes=7000)
    assert (sshd.files / "00000.xml").read_bytes() == paths[0].read_bytes()
    assert (sshd.files / "00002.xml").read_bytes() == b"=" * 3500


@pytest.mark.parametrize("size", [3500, LARGE])
async def test_an_existing_file_can_be_an_error(pool: SFTPClientPool, sshd: Sshd, local: Path, size: int) -> None:
    for name in ("old", "new"):
        write_large(local / name, size)
    (sshd.files / "old").write_bytes(b"old")

    outcomes = await upload_outcomes(pool, [local / "old", local / "new"], sshd.files, existing="error")

    assert isinstance(outcomes[0].error, FileExistsError)
    assert outcomes[0].error.filename == f"{sshd.files}/old"
    assert contents(sshd.files) == {"old": b"old", "new": (local / "new").read_bytes()}


@pytest.mark.parametrize("size", [3500, LARGE])
async def test_a_file_that_appears_meanwhile_is_not_replaced_when_that_is_an_error(
    pool: SFTPClientPool, sshd: Sshd, local: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_large(local / "x", size)
    make = Folders.make

    async def make_and_write(folders: Folders, folder: str) -> None:
        await make(folders, folder)
        (sshd.files / "x").write_bytes(b"another's")

    monkeypatch.setattr(Folders, "make", make_and_write)

    with pytest.raises(FileExistsError):
        await upload(pool, [local / "x"], sshd.files, existing="error")

    assert contents(sshd.files) == {"x": b"another's"}


# Errors.


async def test_a_failed_upload_leaves_nothing(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    for name in ("folder", "large folder"):
        write_large(local / name, 1_000_000 if "large" in name else 3)
        (sshd.files / name).mkdir()
        (sshd.files / name / "y").touch()
    os.mkfifo(local / "pipe")
    paths = [local / "folder", local / "large folder", local / "missing", local, local / "pipe"]

    outcomes = await upload_outcomes(pool, paths, sshd.files)

    assert [type(outcome.error) for outcome in outcomes] == [
        asyncssh.SFTPFailure,
        asyncssh.SFTPFailure,
        FileNotFoundError,
        IsADirectoryError,
        OSError,
    ]
    assert contents(sshd.files) == {"folder/y": b"", "large folder/y": b""}


async def test_a_folder_that_cannot_be_made_is_an_error(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (local / "a").mkdir()
    write_files(local / "a", 1)
    (sshd.files / "a").write_text("no folder")

    with pytest.raises(asyncssh.SFTPFailure):
        await upload(pool, [local / "a" / "00000.xml"], sshd.files, base=local)


class Full(FolderServer):
    """Its disk is full after some bytes."""

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        if offset + len(data) > 2000:
            raise OSError(28, "No space left on device")
        return super().write(file_obj, offset, data)  # type: ignore[return-value]


@pytest.mark.parametrize("size", [3500, 1_000_000])
async def test_a_full_disk_leaves_nothing(remote: Path, local: Path, size: int) -> None:
    write_large(local / "x", size)
    async with asyncssh_server(remote, Full) as server, SFTPClientPool(connection=server.connection()) as pool:
        with pytest.raises(asyncssh.SFTPError, match="No space left"):
            await upload(pool, [local / "x"], "/")

    assert contents(remote) == {}


async def test_a_file_that_cannot_be_closed_is_an_error(remote: Path, local: Path) -> None:
    class Unclosable(FolderServer):
        def close(self, file_obj: object) -> None:
            super().close(file_obj)
            raise OSError(28, "No space left on device")

    async with asyncssh_server(remote, Unclosable) as server, SFTPClientPool(connection=server.connection()) as pool:
        with pytest.raises(asyncssh.SFTPError, match="No space left"):
            await upload(pool, write_files(local, 1), "/")

    assert contents(remote) == {}


@pytest.mark.parametrize("size", [3500, 1_000_000])
async def test_a_server_that_does_not_answer_is_an_error_and_leaves_nothing_under_the_final_name(
    remote: Path, local: Path, size: int
) -> None:
    go_on = asyncio.Event()

    class Stalled(FolderServer):
        async def write(self, file_obj: object, offset: int, data: bytes) -> int:
            await go_on.wait()
            return 0

    write_large(local / "x", size)
    async with (
        asyncssh_server(remote, Stalled) as server,
        SFTPClientPool(connection=server.connection(), operation_timeout=0.2) as pool,
    ):
        with pytest.raises(OperationTimeout, match=r"write '.*\.part'"):
            await upload(pool, [local / "x"], "/")
        go_on.set()

    assert contents(remote) == {}


async def test_a_server_that_sets_no_times_gets_the_file_nevertheless(remote: Path, local: Path) -> None:
    class Timeless(FolderServer):
        def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> None:
            raise asyncssh.SFTPPermissionDenied("times are mine")

        def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
            raise asyncssh.SFTPOpUnsupported("times are mine")

    write_large(local / "small", 1000)
    write_large(local / "large")
    async with asyncssh_server(remote, Timeless) as server, SFTPClientPool(connection=server.connection()) as pool:
        await upload(pool, [local / "small", local / "large"], "/")

    assert contents(remote) == contents(local)


@pytest.mark.parametrize("size", [3500, LARGE_BYTES])
async def test_a_cancelled_upload_leaves_nothing(pool: SFTPClientPool, sshd: Sshd, local: Path, size: int) -> None:
    paths = [local / str(number) for number in range(20)]
    for path in paths:
        write_large(path, size)
    uploading = asyncio.ensure_future(upload(pool, paths, sshd.files))
    await until(lambda: any(contents(sshd.files)))

    uploading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await uploading
    assert all(not name.endswith(".part") and len(data) == size for name, data in contents(sshd.files).items())
    assert pool.statistics().leased == 0


# Servers without posix-rename@openssh.com.


class Plain(FolderServer):
    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("no posix-rename here")


@pytest.mark.parametrize("replaced", [True, False])
async def test_without_posix_rename_an_old_file_is_removed_first(remote: Path, local: Path, replaced: bool) -> None:
    if replaced:
        (remote / "00000.xml").write_text("old")
    async with asyncssh_server(remote, Plain) as server, SFTPClientPool(connection=server.connection()) as pool:
        await upload(pool, write_files(local, 1), "/")

    assert contents(remote) == contents(local)


async def test_without_posix_rename_a_folder_is_not_removed(remote: Path, local: Path) -> None:
    (remote / "00000.xml").mkdir(parents=True)
    async with asyncssh_server(remote, Plain) as server, SFTPClientPool(connection=server.connection()) as pool:
        with pytest.raises(asyncssh.SFTPError):
            await upload(pool, write_files(local, 1), "/")

    assert only_file(remote) == remote / "00000.xml"


async def test_a_cancellation_does_not_come_between_removing_and_renaming(remote: Path, local: Path) -> None:
    removed, go_on = asyncio.Event(), asyncio.Event()

    class Slow(Plain):
        async def remove(self, path: bytes) -> None:
            super().remove(path)
            removed.set()
            await go_on.wait()

    (remote / "00000.xml").write_text("old")
    async with asyncssh_server(remote, Slow) as server, SFTPClientPool(connection=server.connection()) as pool:
        uploading = asyncio.ensure_future(upload(pool, write_files(local, 1), "/"))
        await removed.wait()
        uploading.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await uploading

    assert contents(remote) == contents(local)
