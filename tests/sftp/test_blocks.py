# SPDX-License-Identifier: Apache-2.0
"""Large files in blocks, against OpenSSH's server and against one of asyncssh's that misbehaves."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async import Retry
from airflow_provider_async.errors import FileChanged, OperationTimeout
from airflow_provider_async.sftp import SFTPClientPool, blocks
from airflow_provider_async.sftp.blocks import MAX_BLOCK_BYTES, WINDOW_BYTES, BlockFile
from tests.servers.sftp import FolderServer, asyncssh_server, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from airflow_provider_async.sftp.operations import Operations
    from tests.servers.sftp import Proxy, Sshd

DATA = os.urandom(1 << 20) * 12


def operations_of(pool: SFTPClientPool) -> Operations:
    return pool._operations


async def collect(operations: Operations, path: str, start: int, end: int) -> list[bytes]:
    async with BlockFile(operations, path, "rb") as file, aclosing(file.blocks(start, end)) as found:
        return [block async for block in found]


async def in_blocks(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.fixture
def big(sshd: Sshd) -> str:
    path = sshd.files / "big"
    path.write_bytes(DATA)
    return str(path)


async def test_the_blocks_of_any_part_are_read_in_order(sshd: Sshd, big: str) -> None:
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        for start, end in ((0, len(DATA)), (5, 6), (7, 7), (MAX_BLOCK_BYTES - 1, 3 * MAX_BLOCK_BYTES + 1)):
            assert b"".join(await collect(operations_of(pool), big, start, end)) == DATA[start:end]


async def test_the_blocks_of_one_file_spread_over_connections_if_the_server_is_far(
    sshd: Sshd, big: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_WINDOW_BYTES_A_SECOND", 1 << 50)
    async with SFTPClientPool(connection=sshd.connection(), pool_size=4, max_concurrency=16) as pool:
        await collect(operations_of(pool), big, 0, len(DATA))

        # They are opened in the background; whatever is connecting by now will be open.
        await until(lambda: pool.statistics().open == 4)


async def test_a_file_that_is_shorter_than_thought_ends_with_a_short_block(sshd: Sshd, big: str) -> None:
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        found = await collect(operations_of(pool), big, len(DATA) - 10, len(DATA) + 2 * MAX_BLOCK_BYTES)

    assert b"".join(found) == DATA[-10:]


async def test_blocks_are_asked_for_only_as_fast_as_they_are_taken(tmp_path: Path) -> None:
    reads = 0

    class Counting(FolderServer):
        def read(self, file_obj: object, offset: int, size: int) -> bytes:
            nonlocal reads
            reads += 1
            return bytes(size)

    (tmp_path / "endless").write_bytes(b"")
    async with (
        asyncssh_server(tmp_path, Counting) as server,
        SFTPClientPool(connection=server.connection()) as pool,
        BlockFile(operations_of(pool), "endless", "rb") as file,
        aclosing(file.blocks(0, 1 << 40)) as found,
    ):
        await anext(found)
        for _ in range(100):
            await asyncio.sleep(0)

        # asyncssh's server announces 4 MiB, of which a block is at most 256 KiB.
        assert reads <= WINDOW_BYTES // MAX_BLOCK_BYTES + 1


async def test_many_large_files_at_once_share_the_pools_limit(tmp_path: Path) -> None:
    running = most = 0

    class Slow(FolderServer):
        async def read(self, file_obj: object, offset: int, size: int) -> bytes:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return bytes(size)

    for name in "abcdefgh":
        (tmp_path / name).write_bytes(b"")
    async with (
        asyncssh_server(tmp_path, Slow) as server,
        SFTPClientPool(connection=server.connection(), max_concurrency=6) as pool,
    ):
        operations = operations_of(pool)
        size = 4 * WINDOW_BYTES
        received = await asyncio.gather(*(collect(operations, name, 0, size) for name in "abcdefgh"))

    assert [sum(map(len, found)) for found in received] == [size] * 8
    assert most <= 6


async def test_a_lost_connection_costs_no_block(sshd: Sshd, proxy: Proxy, big: str) -> None:
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        proxy.cut_after(down=5_000_000)

        assert b"".join(await collect(operations_of(pool), big, 0, len(DATA))) == DATA

    assert proxy.cuts == 1


async def test_what_is_written_in_blocks_arrives_even_if_a_connection_is_lost(sshd: Sshd, proxy: Proxy) -> None:
    target = sshd.files / "target"
    target.write_bytes(DATA[:100])
    written: list[int] = []
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        proxy.cut_after(up=5_000_000)
        async with BlockFile(operations_of(pool), str(target), "r+b") as file:
            source = in_blocks(DATA[100:], await file.block_bytes())
            assert await file.write_blocks(100, source, written.append) == len(DATA)

    assert target.read_bytes() == DATA
    assert sum(written) == len(DATA) - 100
    assert proxy.cuts == 1


async def test_what_was_written_has_no_holes_but_in_the_last_window(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    async def write(_: BlockFile, offset: int, block: bytes) -> int:
        if offset == 0:
            await asyncio.Event().wait()
        written.append(offset)
        return len(block)

    monkeypatch.setattr(BlockFile, "_write", write)
    async with (
        SFTPClientPool(connection=sshd.connection()) as pool,
        BlockFile(operations_of(pool), str(sshd.files / "target"), "r+b") as file,
    ):
        source = in_blocks(bytes(4 * WINDOW_BYTES), await file.block_bytes())
        writing = asyncio.ensure_future(file.write_blocks(0, source))
        await until(lambda: len(written) >= 3)
        for _ in range(100):
            await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

    assert max(written) < WINDOW_BYTES


async def test_an_error_of_closing_a_written_file_is_raised(tmp_path: Path) -> None:
    class Full(FolderServer):
        def close(self, file_obj: object) -> None:
            super().close(file_obj)
            raise asyncssh.SFTPNoSpaceOnFilesystem("no space left")

    (tmp_path / "target").write_bytes(b"")
    async with (
        asyncssh_server(tmp_path, Full) as server,
        SFTPClientPool(connection=server.connection()) as pool,
    ):
        with pytest.raises(asyncssh.SFTPError, match="no space left"):
            async with BlockFile(operations_of(pool), "target", "r+b") as file:
                await file.write_blocks(0, in_blocks(b"data", 10))


async def test_a_missing_file_is_an_error_and_leaves_nothing_open(sshd: Sshd) -> None:
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        for _ in range(3):
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await collect(operations_of(pool), str(sshd.files / "missing"), 0, len(DATA))

        assert pool.statistics().leased == 0


async def test_a_stalled_server_is_given_up_and_named(tmp_path: Path) -> None:
    is_over = asyncio.Event()
    ended = 0

    class Stalled(FolderServer):
        async def read(self, file_obj: object, offset: int, size: int) -> bytes:
            await is_over.wait()
            return b""

        def exit(self) -> None:
            nonlocal ended
            ended += 1

    (tmp_path / "file.xml").write_bytes(b"data")
    async with asyncssh_server(tmp_path, Stalled) as server:
        async with SFTPClientPool(connection=server.connection(), operation_timeout=0.1) as pool:
            with pytest.raises(OperationTimeout, match=r"no answer from the server for 0\.1 s to read 'file\.xml'"):
                await anext(aiter(pool.read_many(["file.xml"], retry=Retry(attempts=2, initial_seconds=0))))

        # Each attempt on a connection of its own.
        assert server.sessions == 2
        is_over.set()
        await until(lambda: ended == 2)


@pytest.mark.parametrize("size", [100, 3 * MAX_BLOCK_BYTES])
async def test_a_file_that_changes_while_it_is_read_is_reported(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file.xml"

    def grow() -> None:
        with path.open("ab") as file:
            file.write(b"x")

    class Growing(FolderServer):
        def read(self, file_obj: object, offset: int, size: int) -> bytes:
            grow()
            data = super().read(file_obj, offset, size)
            grow()
            return data  # type: ignore[return-value]

    path.write_bytes(bytes(size))
    async with (
        asyncssh_server(tmp_path, Growing) as server,
        SFTPClientPool(connection=server.connection()) as pool,
    ):
        [entry] = await pool.glob("*.xml")
        with pytest.raises(FileChanged, match=r"'file\.xml' was changed while it was read"):
            await anext(aiter(pool.read_many([entry])))


async def test_a_file_that_grew_after_it_was_listed_is_read_as_it_is_now(sshd: Sshd) -> None:
    path = sshd.files / "file.xml"
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        for now in (b"longer than it was", bytes(2 * MAX_BLOCK_BYTES)):
            path.write_bytes(b"short")
            [entry] = await pool.glob(str(path))
            path.write_bytes(now)

            assert [file.data async for file in pool.read_many([entry])] == [now]


async def test_a_server_that_tells_no_size_is_read_to_its_end(tmp_path: Path) -> None:
    class Silent(FolderServer):
        def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
            return asyncssh.SFTPAttrs()

    (tmp_path / "file").write_bytes(DATA)
    async with (
        asyncssh_server(tmp_path, Silent) as server,
        SFTPClientPool(connection=server.connection()) as pool,
    ):
        assert [file.data async for file in pool.read_many(["file"])] == [DATA]
