# SPDX-License-Identifier: Apache-2.0
"""Transfers that were cut off: nothing half is left, and large files go on where they stopped."""

from __future__ import annotations

import asyncio
import fcntl
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async.core.progress import Tally
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.sftp import SFTPClientPool, parts
from airflow_provider_async.sftp.blocks import WINDOW_BYTES
from airflow_provider_async.sftp.parts import Part
from airflow_provider_async.sftp.session import is_lost
from tests.servers.sftp import until, write_files
from tests.sftp.transfers import (
    LARGE,
    SOON,
    TIME,
    contents,
    download,
    download_outcomes,
    only_file,
    upload,
    upload_outcomes,
    write_large,
)

if TYPE_CHECKING:
    from airflow_provider_async.sftp.local import Existing, Verify
    from tests.servers.sftp import Proxy, Sshd


# Downloads.


@pytest.mark.parametrize("attempts", [1, 5])
async def test_in_a_download_a_cut_connection_leaves_no_half_file(
    sshd: Sshd, proxy: Proxy, local: Path, attempts: int
) -> None:
    paths = write_files(sshd.files, 4, size=2_000_001)
    retry = Retry(attempts=attempts, initial_seconds=0.01, max_seconds=0.05)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        await pool._operations.retried(lambda session: session.client.stat("/"))
        proxy.cut_after(down=1_500_000)
        outcomes = await download_outcomes(pool, paths, local, retry=retry)

    complete = {outcome.value.local_path.name for outcome in outcomes if outcome.value}
    assert (len(complete) == 4) == (attempts > 1)
    assert contents(local) == {name: (sshd.files / name).read_bytes() for name in complete}


async def cut_off_download(sshd: Sshd, proxy: Proxy, path: Path, local: Path) -> Path:
    """Download a large file until the connection is cut, and return its part."""
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        proxy.cut_after(down=5_000_000)
        (outcome,) = await download_outcomes(pool, [str(path)], local)
    assert outcome.error is not None
    assert is_lost(outcome.error)
    part = only_file(local)
    assert part.name.startswith(f".{path.name}.")
    assert part.name.endswith(".part")
    assert 0 < part.stat().st_size <= 5_000_000
    return part


@pytest.mark.parametrize("verify", ["size", "checksum"])
async def test_in_a_download_a_large_file_goes_on_where_another_pool_stopped(
    sshd: Sshd, proxy: Proxy, local: Path, verify: Verify
) -> None:
    data = write_large(sshd.files / "big")
    part = await cut_off_download(sshd, proxy, sshd.files / "big", local)
    kept, tally = part.stat().st_size, Tally()

    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        await download(pool, [str(sshd.files / "big")], local, tally=tally, verify=verify)

    assert contents(local) == {"big": data}
    assert tally.bytes == LARGE - kept
    assert (local / "big").stat().st_mtime == TIME


async def test_a_part_of_another_version_is_removed(sshd: Sshd, proxy: Proxy, local: Path) -> None:
    write_large(sshd.files / "big")
    await cut_off_download(sshd, proxy, sshd.files / "big", local)
    data = write_large(sshd.files / "big", LARGE + 1)
    tally = Tally()

    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        await download(pool, [str(sshd.files / "big")], local, tally=tally)

    assert contents(local) == {"big": data}
    assert tally.bytes == LARGE + 1


async def test_a_part_that_is_in_use_is_left_alone(sshd: Sshd, proxy: Proxy, local: Path) -> None:
    data = write_large(sshd.files / "big")
    part = await cut_off_download(sshd, proxy, sshd.files / "big", local)
    kept = part.read_bytes()

    with part.open("rb") as used:
        fcntl.flock(used, fcntl.LOCK_EX)
        async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
            await download(pool, [str(sshd.files / "big")], local)
            write_large(sshd.files / "big", LARGE + 1)
            await download(pool, [str(sshd.files / "big")], local)

    assert contents(local) == {"big": (sshd.files / "big").read_bytes(), part.name: kept}
    assert data.startswith(kept)


async def test_what_lies_in_the_place_of_a_part_is_not_written_to(
    sshd: Sshd, proxy: Proxy, local: Path, tmp_path: Path
) -> None:
    data = write_large(sshd.files / "big")
    part = await cut_off_download(sshd, proxy, sshd.files / "big", local)
    part.unlink()
    (tmp_path / "precious").write_bytes(b"precious")
    part.symlink_to(tmp_path / "precious")

    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        await download(pool, [str(sshd.files / "big")], local)

    assert (local / "big").read_bytes() == data
    assert (tmp_path / "precious").read_bytes() == b"precious"


async def test_in_a_download_a_part_that_is_too_long_begins_again(sshd: Sshd, proxy: Proxy, local: Path) -> None:
    data = write_large(sshd.files / "big")
    part = await cut_off_download(sshd, proxy, sshd.files / "big", local)
    part.write_bytes(b"x" * (LARGE + 1))

    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        await download(pool, [str(sshd.files / "big")], local)

    assert contents(local) == {"big": data}


async def test_in_a_download_a_large_file_goes_on_by_itself_over_another_connection(
    sshd: Sshd, proxy: Proxy, local: Path
) -> None:
    data = write_large(sshd.files / "big")
    tally = Tally()
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        proxy.cut_after(down=5_000_000)
        await download(pool, [str(sshd.files / "big")], local, retry=SOON, tally=tally)

    assert contents(local) == {"big": data}
    assert proxy.cuts > 0
    assert tally.bytes == LARGE


async def test_a_slow_disk_is_written_to_in_a_thread(
    pool: SFTPClientPool, sshd: Sshd, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_SLOW_SECONDS", -1)
    threads: set[threading.Thread] = set()
    write = Part._write

    def note(part: Part, block: bytes) -> None:
        threads.add(threading.current_thread())
        write(part, block)

    monkeypatch.setattr(Part, "_write", note)
    data = write_large(sshd.files / "big")
    tally = Tally()

    await download(pool, [str(sshd.files / "big")], local, tally=tally)

    assert contents(local) == {"big": data}
    assert tally.bytes == LARGE
    # The first block, which turns out to take long, and the others.
    assert threading.main_thread() in threads
    assert len(threads) > 1


async def test_a_cancelled_write_in_a_thread_ends_before_the_file_is_closed(
    pool: SFTPClientPool, sshd: Sshd, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_SLOW_SECONDS", -1)
    loop = asyncio.get_running_loop()
    began, may_end = asyncio.Event(), threading.Event()
    written: list[int] = []
    write = Part._write

    def slow(part: Part, block: bytes) -> None:
        if threading.current_thread() is not threading.main_thread():
            loop.call_soon_threadsafe(began.set)
            may_end.wait(30)
        write(part, block)
        written.append(len(block))

    monkeypatch.setattr(Part, "_write", slow)
    data = write_large(sshd.files / "big")
    downloading = asyncio.create_task(download(pool, [str(sshd.files / "big")], local))
    await began.wait()

    downloading.cancel()
    await asyncio.sleep(0.01)
    assert not downloading.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await downloading

    # What was written is there for the next attempt, and nothing came after the file was closed.
    part = only_file(local)
    assert part.read_bytes() == data[: sum(written)]
    assert len(written) == 2


# Uploads.


@pytest.mark.parametrize("attempts", [1, 5])
async def test_in_an_upload_a_cut_connection_leaves_no_half_file(
    sshd: Sshd, proxy: Proxy, local: Path, attempts: int
) -> None:
    paths = [Path(path) for path in write_files(local, 4, size=2_000_001)]
    for number in range(10):
        paths.append(local / f"small-{number}")
        write_large(paths[-1], 3500 + number)
    retry = Retry(attempts=attempts, initial_seconds=0.01, max_seconds=0.05)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        await pool._operations.retried(lambda session: session.client.stat("/"))
        proxy.cut_after(up=1_500_000)
        outcomes = await upload_outcomes(pool, paths, sshd.files, retry=retry)

    await until(lambda: not sshd.sessions)
    complete = {outcome.value.local_path.name for outcome in outcomes if outcome.value}
    there = contents(sshd.files)
    assert (len(complete) == len(paths)) == (attempts > 1)
    # One more is there if it was the answer to its last request that was lost.
    assert there.items() <= {path.name: path.read_bytes() for path in paths}.items()
    assert complete <= there.keys()


#: Enough to have something before the last window when it is cut off.
UPLOAD = WINDOW_BYTES + LARGE


async def cut_off_upload(sshd: Sshd, proxy: Proxy, path: Path) -> Path:
    """Upload a large file until the connection is cut, and return its part."""
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        proxy.cut_after(up=WINDOW_BYTES + 4_000_000)
        (outcome,) = await upload_outcomes(pool, [path], sshd.files)
    assert outcome.error is not None
    assert is_lost(outcome.error)
    await until(lambda: not sshd.sessions)
    part = only_file(sshd.files)
    assert part.name.startswith(f".{path.name}.")
    assert part.name.endswith(".part")
    assert WINDOW_BYTES < part.stat().st_size < UPLOAD
    return part


@pytest.mark.parametrize("verify", ["size", "checksum"])
async def test_in_an_upload_a_large_file_goes_on_where_another_pool_stopped(
    sshd: Sshd, proxy: Proxy, local: Path, verify: Verify
) -> None:
    data = write_large(local / "big", UPLOAD)
    part = await cut_off_upload(sshd, proxy, local / "big")
    kept, tally = part.stat().st_size, Tally()
    # What the last window may lack.
    with part.open("r+b") as file:
        file.seek(kept - WINDOW_BYTES)
        file.write(bytes(WINDOW_BYTES))

    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        await upload(pool, [local / "big"], sshd.files, tally=tally, verify=verify)

    assert contents(sshd.files) == {"big": data}
    assert tally.bytes == UPLOAD - kept + WINDOW_BYTES
    assert (sshd.files / "big").stat().st_mtime == TIME


async def test_a_part_of_another_version_is_not_gone_on_with(sshd: Sshd, proxy: Proxy, local: Path) -> None:
    write_large(local / "big", UPLOAD)
    await cut_off_upload(sshd, proxy, local / "big")
    data = write_large(local / "big", UPLOAD + 1)

    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        await upload(pool, [local / "big"], sshd.files)

    assert (sshd.files / "big").read_bytes() == data


async def test_in_an_upload_a_part_that_is_too_long_begins_again(sshd: Sshd, proxy: Proxy, local: Path) -> None:
    data = write_large(local / "big", UPLOAD)
    part = await cut_off_upload(sshd, proxy, local / "big")
    part.write_bytes(b"x" * (UPLOAD + 1))

    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        await upload(pool, [local / "big"], sshd.files)

    assert contents(sshd.files) == {"big": data}


async def test_in_an_upload_a_large_file_goes_on_by_itself_over_another_connection(
    sshd: Sshd, proxy: Proxy, local: Path
) -> None:
    data = write_large(local / "big")
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        proxy.cut_after(up=5_000_000)
        await upload(pool, [local / "big"], sshd.files, retry=SOON)

    assert contents(sshd.files) == {"big": data}
    assert proxy.cuts > 0


@pytest.mark.parametrize("size", [3500, LARGE])
@pytest.mark.parametrize("existing", ["overwrite", "error"])
async def test_an_answer_to_the_renaming_that_is_lost_is_no_error(  # noqa: PLR0917 - fixtures
    sshd: Sshd, proxy: Proxy, local: Path, monkeypatch: pytest.MonkeyPatch, size: int, existing: Existing
) -> None:
    data = write_large(local / "x", size)
    for method in ("rename", "posix_rename"):
        renamed = getattr(asyncssh.SFTPClient, method)

        async def rename_and_cut(*arguments: object, renamed: object = renamed) -> None:
            await renamed(*arguments)  # type: ignore[operator]
            if not proxy.cuts:
                proxy.cut()
                raise asyncssh.SFTPConnectionLost("cut")

        monkeypatch.setattr(asyncssh.SFTPClient, method, rename_and_cut)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        await upload(pool, [local / "x"], sshd.files, retry=SOON, existing=existing)

    assert proxy.cuts == 1
    assert contents(sshd.files) == {"x": data}
