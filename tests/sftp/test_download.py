# SPDX-License-Identifier: Apache-2.0
"""Downloads: complete or not there at all, and never outside of their folder."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async.core.progress import Tally
from airflow_provider_async.errors import UnsafePath
from airflow_provider_async.sftp import SFTPClientPool
from airflow_provider_async.sftp.files import RemoteEntry
from airflow_provider_async.sftp.local import LocalFolder
from airflow_provider_async.sftp.parts import LARGE_BYTES
from tests.servers.sftp import until, write_files
from tests.sftp.transfers import (
    BLOCK,
    LARGE,
    SIZES,
    TIME,
    contents,
    data_of,
    download,
    download_outcomes,
    time_of,
    times,
    write_large,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_async.sftp.files import RemotePath
    from tests.servers.sftp import Proxy, Sshd


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let this process write no larger files. Not for longer than needed: it also writes the report of the tests."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# What arrives.


@pytest.mark.parametrize("listed", [True, False])
async def test_a_file_of_any_size_arrives_with_its_time(
    pool: SFTPClientPool, sshd: Sshd, local: Path, listed: bool
) -> None:
    paths: list[RemotePath] = []
    for size in SIZES:
        path = sshd.files / str(size)
        write_large(path, size)
        paths.append(RemoteEntry(str(path), "file", size, TIME) if listed else str(path))
    tally = Tally()

    files = await download(pool, paths, local / "new" / "folder", tally=tally)

    assert contents(local / "new" / "folder") == contents(sshd.files)
    assert times(local) == {TIME}
    assert [file.size for file in files] == SIZES
    assert files[0].local_path == local / "new" / "folder" / "0"
    assert tally == Tally(bytes=sum(SIZES))


async def test_files_keep_the_folders_below_a_base(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (sshd.files / "a" / "b").mkdir(parents=True)
    paths = write_files(sshd.files / "a", 2) + write_files(sshd.files / "a" / "b", 2)

    await download(pool, paths, local, base=PurePosixPath(sshd.files))

    assert contents(local) == contents(sshd.files)
    assert set(contents(local)) == {"a/00000.xml", "a/00001.xml", "a/b/00000.xml", "a/b/00001.xml"}


@pytest.mark.parametrize("now", [0, 10, BLOCK + 1])
async def test_what_is_there_now_counts_not_what_was_listed(
    pool: SFTPClientPool, sshd: Sshd, local: Path, now: int
) -> None:
    path = sshd.files / "x"
    write_large(path, now)

    (file,) = await download(pool, [RemoteEntry(str(path), "file", 3500, 1.0)], local)

    assert (local / "x").read_bytes() == path.read_bytes()
    assert file.size == now
    assert (local / "x").stat().st_mtime == TIME


async def test_a_time_that_was_not_listed_is_asked_for(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    write_large(sshd.files / "x", 10)

    await download(pool, [RemoteEntry(f"{sshd.files}/x", "file", 10)], local)

    assert times(local) == {TIME}


async def test_a_choice_that_there_is_not_is_refused(pool: SFTPClientPool, local: Path) -> None:
    with pytest.raises(ValueError, match="existing must be one of overwrite, skip, error, not 'replace'"):
        await download(pool, ["x"], local, existing="replace")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="verify must be one of size, checksum, not 'md5'"):
        await download(pool, ["x"], local, verify="md5")  # type: ignore[arg-type]


async def test_a_link_s_own_size_does_not_matter(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (path,) = write_files(sshd.files, 1)
    link = sshd.files / "link"
    link.symlink_to(path)

    await download(pool, [RemoteEntry(str(link), "link", link.lstat().st_size, 1.0)], local)

    assert (local / "link").read_bytes() == data_of(path)
    assert not (local / "link").is_symlink()


@pytest.mark.parametrize("size", [0, 1_000_001])
async def test_a_file_and_a_link_are_replaced_but_not_what_the_link_leads_to(
    pool: SFTPClientPool, sshd: Sshd, local: Path, tmp_path: Path, size: int
) -> None:
    (sshd.files / "x").write_bytes(b"n" * size)
    (tmp_path / "precious").write_bytes(b"precious")
    (local / "x").symlink_to(tmp_path / "precious")

    await download(pool, [str(sshd.files / "x")], local)

    assert contents(local) == {"x": b"n" * size}
    assert (tmp_path / "precious").read_bytes() == b"precious"


# Files that exist.


@pytest.mark.parametrize("listed", [True, False])
async def test_a_file_of_the_same_size_and_time_is_skipped(
    pool: SFTPClientPool, sshd: Sshd, local: Path, listed: bool
) -> None:
    paths = write_files(sshd.files, 3)
    await download(pool, paths, local)
    (local / "00000.xml").write_bytes(b"other size")
    os.utime(local / "00001.xml", (1, 1))
    (local / "00002.xml").write_bytes(b"=" * 3500)
    os.utime(local / "00002.xml", (0, time_of(paths[2])))
    given = [RemoteEntry(path, "file", 3500, time_of(path)) for path in paths] if listed else paths
    tally = Tally()

    files = await download(pool, given, local, existing="skip", tally=tally)

    assert [file.skipped for file in files] == [False, False, True]
    assert files[2].size == 3500
    assert tally == Tally(skipped=1, bytes=7000)
    assert (local / "00000.xml").read_bytes() == data_of(paths[0])
    assert (local / "00001.xml").stat().st_mtime == time_of(paths[1])
    assert (local / "00002.xml").read_bytes() == b"=" * 3500


async def test_a_link_is_not_skipped_but_replaced(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (path,) = write_files(sshd.files, 1)
    (local / "00000.xml").symlink_to(path)

    (file,) = await download(pool, [path], local, existing="skip")

    assert not file.skipped
    assert not (local / "00000.xml").is_symlink()


@pytest.mark.parametrize("size", [3500, LARGE])
async def test_an_existing_file_can_be_an_error(pool: SFTPClientPool, sshd: Sshd, local: Path, size: int) -> None:
    write_large(sshd.files / "old", size)
    write_large(sshd.files / "new", size)
    (local / "old").write_bytes(b"old")

    outcomes = await download_outcomes(pool, [f"{sshd.files}/old", f"{sshd.files}/new"], local, existing="error")

    assert isinstance(outcomes[0].error, FileExistsError)
    assert outcomes[0].error.filename == str(local / "old")
    assert contents(local) == {"old": b"old", "new": (sshd.files / "new").read_bytes()}


@pytest.mark.parametrize("size", [3500, LARGE])
async def test_a_file_that_appears_meanwhile_is_not_replaced_when_that_is_an_error(
    pool: SFTPClientPool, sshd: Sshd, local: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_large(sshd.files / "x", size)
    find = LocalFolder.find

    async def too_early(folder: LocalFolder, path: str) -> object:
        found = await find(folder, path)
        (local / "x").write_bytes(b"another's")
        return found

    monkeypatch.setattr(LocalFolder, "find", too_early)

    with pytest.raises(FileExistsError):
        await download(pool, [f"{sshd.files}/x"], local, existing="error")

    assert contents(local) == {"x": b"another's"}


# Names.


async def test_two_remote_files_never_become_one_local_file(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    for folder in ("a", "b"):
        (sshd.files / folder).mkdir()
        (sshd.files / folder / "same").write_text(folder)
    paths = [f"{sshd.files}/a/same", f"{sshd.files}/b/same"]

    outcomes = await download_outcomes(pool, paths, local)

    assert [type(outcome.error) for outcome in outcomes] == [type(None), UnsafePath]
    assert contents(local) == {"same": b"a"}


@pytest.mark.parametrize("path", ["/out/..", "..", "/", "", "/out/a\0b"])
async def test_a_path_without_a_name_is_refused(pool: SFTPClientPool, local: Path, path: str) -> None:
    with pytest.raises(UnsafePath, match="names no file inside of a folder"):
        await download(pool, [path], local)

    assert contents(local.parent / "local") == {}


@pytest.mark.parametrize("path", ["/out/../etc/passwd", "/out/a/../../etc/passwd", "/out", "/etc/passwd", "out/x"])
async def test_a_path_that_leads_out_of_the_base_is_refused(pool: SFTPClientPool, local: Path, path: str) -> None:
    with pytest.raises(UnsafePath):
        await download(pool, [path], local, base=PurePosixPath("/out"))

    assert contents(local) == {}


async def test_a_link_that_leads_out_of_the_local_folder_is_not_followed(
    pool: SFTPClientPool, sshd: Sshd, local: Path, tmp_path: Path
) -> None:
    (sshd.files / "sub" / "deep").mkdir(parents=True)
    (sshd.files / "sub" / "deep" / "x").touch()
    (tmp_path / "elsewhere").mkdir()
    (local / "sub").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UnsafePath, match=r"leads out of .* through a link"):
        await download(pool, [f"{sshd.files}/sub/deep/x"], local, base=PurePosixPath(sshd.files))

    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_a_local_folder_may_itself_be_a_link(
    pool: SFTPClientPool, sshd: Sshd, local: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(local)

    await download(pool, write_files(sshd.files, 1), tmp_path / "link")

    assert set(contents(local)) == {"00000.xml"}


async def test_the_longest_name_can_be_downloaded(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    write_large(sshd.files / ("x" * 255))

    await download(pool, [str(sshd.files / ("x" * 255))], local)

    assert contents(local) == contents(sshd.files)


async def test_a_string_that_looks_like_an_address_is_no_folder(pool: SFTPClientPool) -> None:
    with pytest.raises(ValueError, match=r"'s3://bucket' is no local path; give an airflow.sdk.ObjectStoragePath"):
        await download(pool, ["x"], "s3://bucket")


# Errors.


async def test_a_failed_download_leaves_the_old_file_and_nothing_else(
    pool: SFTPClientPool, sshd: Sshd, local: Path
) -> None:
    (local / "gone").write_text("old")
    (local / "folder").mkdir()
    (sshd.files / "folder").touch()
    write_large(sshd.files / "remote folder", 1)
    paths = [f"{sshd.files}/gone", f"{sshd.files}/folder", str(sshd.files)]

    outcomes = await download_outcomes(pool, paths, local)

    assert [type(outcome.error) for outcome in outcomes] == [
        asyncssh.SFTPNoSuchFile,
        IsADirectoryError,
        asyncssh.SFTPFailure,
    ]
    assert contents(local) == {"gone": b"old"}
    assert pool.statistics().connects == 1


@pytest.mark.parametrize("size", [3500, 1_000_000])
async def test_a_full_disk_ends_a_download_with_the_name_of_the_file(
    pool: SFTPClientPool, sshd: Sshd, local: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_large(sshd.files / "x", size)
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if str(local) not in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            return write(descriptor, data)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        await download(pool, [f"{sshd.files}/x"], local)

    assert str(raised.value.filename).startswith(str(local))
    assert contents(local) == {}


async def test_a_file_that_cannot_grow_ends_a_download_halfway(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (path,) = write_files(sshd.files, 1)

    with files_up_to(1000), pytest.raises(OSError, match="File too large"):
        await download(pool, [path], local)

    assert contents(local) == {}


async def test_a_folder_that_cannot_be_made_is_an_error(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (local / "file").touch()

    with pytest.raises(OSError, match="file"):
        await download(pool, write_files(sshd.files, 1), local / "file" / "folder")


async def test_a_cancelled_download_leaves_nothing(sshd: Sshd, proxy: Proxy, local: Path) -> None:
    for name in ("a", "b"):
        write_large(sshd.files / name, LARGE_BYTES)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        downloading = asyncio.ensure_future(download(pool, [f"{sshd.files}/a", f"{sshd.files}/b"], local))
        await until(lambda: any(contents(local).values()))
        assert all(name.endswith(".part") for name in contents(local))

        downloading.cancel()

        with pytest.raises(asyncio.CancelledError):
            await downloading
        assert contents(local) == {}
        assert pool.statistics().leased == 0
