# SPDX-License-Identifier: Apache-2.0
"""The pool against OpenSSH's server: leases, listings and reading; what goes wrong is in test_pool_faults.py."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async.errors import InvalidConnection, PoolClosed
from airflow_provider_async.sftp import RemoteFile, SFTPClientPool
from tests.servers.sftp import Fields, write_files
from tests.sftp.transfers import contents

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.sftp import Sshd


# Leases.


async def test_nothing_is_opened_before_it_is_needed(pool: SFTPClientPool, sshd: Sshd) -> None:
    assert pool.statistics().open == 0
    assert sshd.logins == 0


async def test_leases_share_connections_up_to_the_pool_size(sshd: Sshd) -> None:
    everybody_in = asyncio.Barrier(10)

    async def work(pool: SFTPClientPool) -> None:
        async with pool.get_sftp_client() as client:
            await client.stat(str(sshd.files))
            await everybody_in.wait()

    async with SFTPClientPool(connection=sshd.connection(), pool_size=2, max_concurrency=10) as pool:
        await asyncio.gather(*(work(pool) for _ in range(10)))
        assert pool.statistics().open == 2

    assert sshd.logins == 2


async def test_each_lease_has_a_working_directory_of_its_own(sshd: Sshd) -> None:
    for name in ("a", "b"):
        (sshd.files / name).mkdir()
        (sshd.files / name / "here").write_text(name)
    async with SFTPClientPool(connection=sshd.connection(), pool_size=1) as pool:
        async with pool.get_sftp_client() as first, pool.get_sftp_client() as second, pool.get_sftp_client() as third:
            start = await third.getcwd()
            await first.chdir(str(sshd.files / "a"))
            await second.chdir(str(sshd.files / "b"))

            assert [await client.getcwd() for client in (first, second, third)] == [
                str(sshd.files / "a"),
                str(sshd.files / "b"),
                start,
            ]
            async with first.open("here") as in_a, second.open("here") as in_b:
                assert (await in_a.read(), await in_b.read()) == ("a", "b")
        async with pool.get_sftp_client() as fourth:
            assert await fourth.getcwd() == start

    assert sshd.logins == 1


async def test_a_lease_is_a_client_like_any_other_but_cannot_end_the_session(pool: SFTPClientPool, sshd: Sshd) -> None:
    async with pool.get_sftp_client() as client:
        assert isinstance(client, asyncssh.SFTPClient)
        async with client:
            await client.mkdir(str(sshd.files / "new"))
        client.exit()
    async with pool.get_sftp_client() as client:
        assert await client.isdir(str(sshd.files / "new"))

    assert pool.statistics().connects == 1


async def test_limits_stand_in_the_extras_and_arguments_win(sshd: Sshd) -> None:
    connection = sshd.connection(pool_size="3", max_concurrency=7)

    async with SFTPClientPool(connection=connection) as pool:
        assert (pool.statistics().size, pool.statistics().limit) == (3, 7)
    async with SFTPClientPool(connection=connection, pool_size=1, max_concurrency=5) as pool:
        assert (pool.statistics().size, pool.statistics().limit) == (1, 5)
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        assert (pool.statistics().size, pool.statistics().limit) == (2, 64)


@pytest.mark.parametrize("argument", ["pool_size", "max_concurrency"])
def test_an_impossible_limit_is_refused_at_once(argument: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} must be at least 1"):
        SFTPClientPool(**{argument: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_an_impossible_time_for_an_answer_is_refused_at_once(seconds: float) -> None:
    with pytest.raises(ValueError, match=f"operation_timeout must be above zero, not {seconds}"):
        SFTPClientPool(operation_timeout=seconds)


async def test_an_unusable_connection_is_refused_on_entering() -> None:
    with pytest.raises(InvalidConnection, match="host is missing"):
        async with SFTPClientPool(connection=Fields(None)):
            pytest.fail("entered")


async def test_a_pool_that_is_not_open_says_so(sshd: Sshd) -> None:
    pool = SFTPClientPool("partner", connection=sshd.connection())

    assert repr(pool) == "<SFTPClientPool('partner'): not open>"
    with pytest.raises(PoolClosed, match=r"SFTPClientPool\('partner'\) is not open; use 'async with'"):
        pool.read_many(["/a"])
    async with pool:
        assert "open" in repr(pool)
        with pytest.raises(RuntimeError, match="entered once"):
            await pool.__aenter__()
        await pool.close()
        with pytest.raises(PoolClosed):
            await pool.listdir()


# Listings.


async def test_a_folder_is_listed_by_sorted_names(pool: SFTPClientPool, sshd: Sshd) -> None:
    (sshd.files / "folder").mkdir()
    for name in ("b", "a", ".hidden"):
        (sshd.files / name).touch()

    assert await pool.listdir(str(sshd.files)) == [".hidden", "a", "b", "folder"]
    assert await pool.listdir(PurePosixPath(sshd.files)) == [".hidden", "a", "b", "folder"]


async def test_a_missing_folder_is_an_error_that_names_it(pool: SFTPClientPool) -> None:
    with pytest.raises(asyncssh.SFTPNoSuchFile) as raised:
        await pool.listdir("/no/such/folder")

    assert "'/no/such/folder'" in "".join(raised.value.__notes__)


async def test_names_that_are_not_utf8_are_listed_and_read(pool: SFTPClientPool, sshd: Sshd) -> None:
    (sshd.files / "b\udce4r.xml").write_bytes(b"<bear/>")

    (path,) = await pool.glob(f"{sshd.files}/*.xml")

    assert [file.data async for file in pool.read_many([path])] == [b"<bear/>"]


async def test_a_pattern_finds_sorted_paths(pool: SFTPClientPool, sshd: Sshd) -> None:
    paths = write_files(sshd.files, 3)
    (sshd.files / "other.txt").touch()

    assert await pool.glob(f"{sshd.files}/*.xml") == paths
    assert await pool.glob(f"{sshd.files}/*.pdf") == []
    assert await pool.glob(PurePosixPath(sshd.files, "other.txt")) == [f"{sshd.files}/other.txt"]
    assert await pool.glob(f"{sshd.files}/missing.txt") == []


async def test_a_tree_is_walked_without_following_links(pool: SFTPClientPool, sshd: Sshd, tmp_path: Path) -> None:
    (sshd.files / "deep" / "deeper").mkdir(parents=True)
    (sshd.files / "deep" / "deeper" / "x").write_bytes(b"123")
    (sshd.files / "y").touch()
    (sshd.files / "circle").symlink_to(sshd.files)
    (sshd.files / "link").symlink_to(sshd.files / "y")
    os.mkfifo(sshd.files / "pipe")

    entries = [entry async for entry in pool.walk(str(sshd.files))]

    assert [entry.path for entry in entries] == [f"{sshd.files}/y", f"{sshd.files}/deep/deeper/x"]
    assert (entries[1].name, entries[1].kind, entries[1].size) == ("x", "file", 3)
    assert entries[1].modified == int((sshd.files / "deep" / "deeper" / "x").stat().st_mtime)


# Reading.


async def test_many_files_are_read(pool: SFTPClientPool, sshd: Sshd) -> None:
    paths = write_files(sshd.files, 300)

    files = [file async for file in pool.read_many(await pool.glob(f"{sshd.files}/*.xml"))]

    assert {file.path: file.data for file in files} == {path: (sshd.files / path).read_bytes() for path in paths}
    assert sshd.logins <= 2


async def test_files_are_read_in_order_when_asked_for(pool: SFTPClientPool, sshd: Sshd) -> None:
    paths = write_files(sshd.files, 50)

    files = [file async for file in pool.read_many(paths, ordered=True)]

    assert [file.path for file in files] == paths


@pytest.mark.parametrize("size", [0, 1, 1024, 16384, 261120, 261121, 2 * 261120, 1_000_001])
async def test_a_file_of_any_size_is_read_whole(pool: SFTPClientPool, sshd: Sshd, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    (sshd.files / "file").write_bytes(data[:size])

    (file,) = [file async for file in pool.read_many([PurePosixPath(sshd.files / "file")])]

    assert file == RemoteFile(str(sshd.files / "file"), data[:size])


async def test_a_walk_can_be_read_while_it_goes_on(pool: SFTPClientPool, sshd: Sshd) -> None:
    for folder in ("a", "b"):
        (sshd.files / folder).mkdir()
        write_files(sshd.files / folder, 5)

    files = [file async for file in pool.read_many(pool.walk(str(sshd.files)))]

    assert len(files) == 10


async def test_a_limit_bounds_what_is_in_flight(sshd: Sshd) -> None:
    paths = write_files(sshd.files, 40)
    async with SFTPClientPool(connection=sshd.connection(), max_concurrency=8) as pool:
        for limit, expected in ((3, 3), (1000, 8), (None, 8)):
            most = 0
            async for _ in pool.read_many(paths, limit=limit):
                most = max(most, pool.statistics().leased + pool.statistics().waiting)
            assert 0 < most <= expected


async def test_progress_counts(pool: SFTPClientPool, sshd: Sshd) -> None:
    paths = write_files(sshd.files, 10)
    files = pool.read_many(paths)

    assert [len(batch) async for batch in files.batches(4)] == [4, 4, 2]
    assert (files.progress.done, files.progress.total) == (10, 10)


# Copies by the pool's own methods; what becomes of files is in test_download.py and test_upload.py.


async def test_a_tree_is_downloaded_and_uploaded_by_its_root_alone(
    pool: SFTPClientPool, sshd: Sshd, local: Path
) -> None:
    (sshd.files / "in" / "sub").mkdir(parents=True)
    write_files(sshd.files / "in", 2)
    write_files(sshd.files / "in" / "sub", 3)

    files = pool.download_many(PurePosixPath(sshd.files, "in"), local)
    assert {file.local_path async for file in files} == {local / name for name in contents(local)}
    assert contents(local) == contents(sshd.files / "in")
    assert (files.progress.done, files.progress.bytes, files.progress.skipped) == (5, 5 * 3500, 0)

    uploaded = pool.upload_many(str(local), PurePosixPath(sshd.files, "again"))
    assert len([file async for file in uploaded]) == 5
    assert contents(sshd.files / "again") == contents(local)
    assert (uploaded.progress.done, uploaded.progress.bytes, uploaded.progress.skipped) == (5, 5 * 3500, 0)

    (sshd.files / "again" / "sub" / "00001.xml").unlink()
    uploaded = pool.upload_many(local, str(sshd.files / "again"), existing="skip")
    assert sorted([file.skipped async for file in uploaded]) == [False, True, True, True, True]
    assert (uploaded.progress.done, uploaded.progress.bytes, uploaded.progress.skipped) == (5, 3500, 4)


async def test_a_base_of_its_own_keeps_more_folders_or_fewer(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    (sshd.files / "in" / "sub").mkdir(parents=True)
    (path,) = write_files(sshd.files / "in" / "sub", 1)

    [file async for file in pool.download_many(f"{sshd.files}/in/sub", local / "more", base=str(sshd.files))]
    [file async for file in pool.download_many([path], local / "none")]
    [file async for file in pool.upload_many(local / "more", f"{sshd.files}/up", base=local / "more" / "in")]

    assert set(contents(local)) == {"more/in/sub/00000.xml", "none/00000.xml"}
    assert set(contents(sshd.files / "up")) == {"sub/00000.xml"}


def test_importing_the_package_imports_neither_asyncssh_nor_airflow() -> None:
    code = "import airflow_provider_async.sftp, sys; print({'asyncssh', 'airflow'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "set()"
