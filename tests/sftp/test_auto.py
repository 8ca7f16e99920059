# SPDX-License-Identifier: Apache-2.0
"""A pool that finds out how many operations at once are best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_async.sftp import SFTPClientPool
from tests.servers.sftp import write_files

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers.sftp import Proxy, Sshd


async def test_it_begins_low_and_reads_everything(sshd: Sshd) -> None:
    paths = write_files(sshd.files, 2000)
    async with SFTPClientPool(connection=sshd.connection(), max_concurrency="auto") as pool:
        assert (pool.statistics().limit, pool.statistics().auto) == (4, True)
        assert len([path async for path in pool.walk(str(sshd.files))]) == 2000
        files = [file async for file in pool.read_many(paths)]
        assert 1 <= pool.statistics().limit <= 128
    assert sorted(file.path for file in files) == paths


async def test_large_files_have_their_blocks_on_the_way_whatever_the_limit_is(sshd: Sshd, proxy: Proxy) -> None:
    (sshd.files / "large.bin").write_bytes(bytes(range(256)) * 40_000)
    connection = sshd.connection(port=proxy.port, max_concurrency="auto")
    async with SFTPClientPool(connection=connection) as pool:
        (file,) = [file async for file in pool.read_many([f"{sshd.files}/large.bin"])]
    assert file.data == bytes(range(256)) * 40_000


async def test_it_trips_max_startups_at_most_once(make_sshd: Callable[..., Sshd]) -> None:
    # Two logins at once are one too many: the second is refused before it has begun.
    sshd = make_sshd(options="MaxStartups 1:100:1")
    paths = write_files(sshd.files, 3000, size=20_000)
    async with SFTPClientPool(connection=sshd.connection(), pool_size=8, max_concurrency="auto") as pool:
        files = [file async for file in pool.read_many(paths)]
        statistics = pool.statistics()
    assert len(files) == 3000
    assert statistics.connect_errors <= 1
