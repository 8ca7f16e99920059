# SPDX-License-Identifier: Apache-2.0
"""How folders of real servers are listed."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import OperationTimeout, UnsafePath
from airflow_provider_async.sftp import SFTPClientPool
from airflow_provider_async.sftp.listing import read_folder
from tests.servers.sftp import FolderServer, asyncssh_server, until, write_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers.sftp import Proxy, Sshd

SOON = Retry(initial_seconds=0.01, max_seconds=0.05)


def handles_in(folder: Path) -> list[str]:
    """Return the folders at or below one that any process has open."""
    found = []
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if (target := handle.readlink()).is_relative_to(folder) and target.is_dir():
                found.append(str(target))
    return found


def make_tree(root: Path, folders: int, files: int) -> list[str]:
    paths = []
    for number in range(folders):
        (root / f"{number:03}").mkdir()
        paths += write_files(root / f"{number:03}", files, size=number)
    return paths


async def test_a_walk_and_a_pattern_tell_size_and_time_of_each_file(sshd: Sshd) -> None:
    paths = make_tree(sshd.files, 20, 10)
    os.utime(paths[0], (1, 1_700_000_000))
    (sshd.files / "pipe").symlink_to(sshd.files / "001")
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        walked = sorted([entry async for entry in pool.walk(str(sshd.files))])
        found = await pool.glob(f"{sshd.files}/*/*.xml")
        one = await pool.glob(paths[0])
        links = await pool.glob(f"{sshd.files}/p*")

    assert walked == paths
    assert found == sorted(paths + [str(sshd.files / "pipe" / Path(path).name) for path in paths[10:20]])
    assert one == [paths[0]]
    assert [(entry.kind, entry.size) for entry in (walked[0], found[0], one[0])] == [("file", 12)] * 3
    assert walked[0].modified == found[0].modified == one[0].modified == 1_700_000_000
    assert [entry.kind for entry in links] == ["link"]


async def test_relative_paths_stay_relative(tmp_path: Path) -> None:
    make_tree(tmp_path, 2, 1)
    async with asyncssh_server(tmp_path) as server, SFTPClientPool(connection=server.connection()) as pool:
        assert sorted([entry async for entry in pool.walk()]) == ["000/00000.xml", "001/00000.xml"]
        assert [entry async for entry in pool.walk("000")] == ["000/00000.xml"]
        assert await pool.glob("*/*.xml") == ["000/00000.xml", "001/00000.xml"]


@pytest.mark.parametrize("down", [15_000, 60_000, 200_000])
async def test_a_folder_whose_listing_is_cut_off_gives_each_name_once(sshd: Sshd, proxy: Proxy, down: int) -> None:
    write_files(sshd.files, 3000, size=0)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        await pool.listdir("/")
        proxy.cut_after(down=down)
        names = [entry.name async for entry in pool.walk(str(sshd.files))]
        cuts = proxy.cuts

    assert sorted(names) == [f"{number:05}.xml" for number in range(3000)]
    assert cuts == 1


async def test_a_walk_needs_no_lease_while_its_consumer_is_slow(sshd: Sshd) -> None:
    # More than may wait to be read: the listing stands still while the one lease there is goes to the reading.
    write_files(sshd.files, 3000, size=1)
    async with SFTPClientPool(connection=sshd.connection(), pool_size=1, max_concurrency=1) as pool:
        assert len([file async for file in pool.read_many(pool.walk(str(sshd.files)))]) == 3000


async def test_a_walk_that_is_left_or_cancelled_leaves_no_folder_open_at_the_server(sshd: Sshd) -> None:
    make_tree(sshd.files, 8, 500)
    tasks = len(asyncio.all_tasks())
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        async with aclosing(pool.walk(str(sshd.files))) as entries:
            await anext(entries)
            assert handles_in(sshd.files)
        assert handles_in(sshd.files) == []

        for passes in range(0, 60, 3):
            globbing = asyncio.ensure_future(pool.glob(f"{sshd.files}/*/*"))
            for _ in range(passes):
                await asyncio.sleep(0.0003)
            globbing.cancel()
            with suppress(asyncio.CancelledError):
                await globbing
        assert handles_in(sshd.files) == []
        assert pool.statistics().leased == 0
        assert pool.statistics().connects <= 2
    await until(lambda: len(asyncio.all_tasks()) == tasks)


async def test_a_folder_that_must_not_be_read_is_named(tmp_path: Path) -> None:
    class Strict(FolderServer):
        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            if path.endswith(b"secret"):
                raise asyncssh.SFTPPermissionDenied("not for you")
            async for name in super().scandir(path):
                yield name

    (tmp_path / "secret").mkdir()
    async with asyncssh_server(tmp_path, Strict) as server, SFTPClientPool(connection=server.connection()) as pool:
        for listing in (pool.glob("/*/*"), anext(pool.walk("/")), pool.listdir("/secret")):
            with pytest.raises(asyncssh.SFTPPermissionDenied) as raised:
                await listing
            assert raised.value.__notes__ == ["folder '/secret'"]


async def test_a_name_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    class Evil(FolderServer):
        name = b""

        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            yield asyncssh.SFTPName(Evil.name, attrs=asyncssh.SFTPAttrs(permissions=0o100644))

    async with asyncssh_server(tmp_path, Evil) as server, SFTPClientPool(connection=server.connection()) as pool:
        for name in (b"../passwd", b"/etc/passwd", b"", b"a\0b", b"in/a"):
            Evil.name = name
            with pytest.raises(UnsafePath, match="cannot be the name of a file"):
                await pool.glob("/*")


async def test_a_server_that_tells_only_names_is_asked_what_they_are(tmp_path: Path) -> None:
    class Terse(FolderServer):
        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            async for name in super().scandir(path):
                yield asyncssh.SFTPName(name.filename, attrs=asyncssh.SFTPAttrs())

    (tmp_path / "in").mkdir()
    write_files(tmp_path / "in", 3, size=20)
    async with asyncssh_server(tmp_path, Terse) as server, SFTPClientPool(connection=server.connection()) as pool:
        entries = sorted([entry async for entry in pool.walk("/")])

    assert [(entry, entry.size) for entry in entries] == [(f"/in/{number:05}.xml", 20) for number in range(3)]


async def test_a_server_that_stalls_in_a_listing_is_given_up(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    class Stalled(FolderServer):
        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            async for name in super().scandir(path):
                yield name
            await go_on.wait()

    write_files(tmp_path, 200)
    async with asyncssh_server(tmp_path, Stalled) as server:
        connection = server.connection()
        async with SFTPClientPool(connection=connection, operation_timeout=0.1, close_timeout=1) as pool:
            once = pool._operations.with_retry(Retry(attempts=1))
            with pytest.raises(OperationTimeout, match="to list folder '/'"):
                async for _ in read_folder(once.retried, "/"):
                    pass
        go_on.set()
