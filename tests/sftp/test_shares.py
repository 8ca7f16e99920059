# SPDX-License-Identifier: Apache-2.0
"""Several processes share a server's limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_async import Shard, shards
from airflow_provider_async.errors import InvalidConnection
from airflow_provider_async.sftp import SFTPClientPool
from tests.servers.sftp import Fields, write_files
from tests.servers.sharing import sharing

if TYPE_CHECKING:
    from tests.servers.sftp import Proxy, Sshd


async def test_processes_never_have_more_connections_than_the_limit_says(sshd: Sshd, proxy: Proxy) -> None:
    paths = write_files(sshd.files, 400)
    fields = sshd.connection(port=proxy.port, max_connections=5)

    async with sharing("sftp", fields, shards(paths, 4), pool_size=4) as done:
        assert done == [100, 100, 100, 100]
        assert proxy.connections == 5

    assert proxy.most_connections == 5
    assert sshd.logins == 5


@pytest.mark.parametrize(
    ("extras", "options", "size", "limit"),
    [
        ({}, {}, 2, 64),
        ({"max_connections": 10}, {}, 2, 64),
        ({"max_connections": 10}, {"pool_size": 8}, 3, 96),
        ({"max_connections": 4, "max_requests": "40"}, {}, 1, 10),
        ({"max_requests": 100}, {"max_concurrency": 8}, 2, 8),
    ],
)
async def test_a_pool_has_its_share_at_most(
    extras: dict[str, object], options: dict[str, int], size: int, limit: int
) -> None:
    connection = Fields("127.0.0.1", 1, extra_dejson={"look_for_keys": False, **extras})
    shard = Shard(["a"], index=1, parts=4)
    async with SFTPClientPool(connection=connection, shard=shard, **options) as pool:  # type: ignore[arg-type]
        assert (pool.statistics().size, pool.statistics().limit) == (size, limit)


async def test_without_a_shard_a_pool_has_the_whole_limit_at_most() -> None:
    connection = Fields("127.0.0.1", 1, extra_dejson={"look_for_keys": False, "max_connections": 3})
    async with SFTPClientPool(connection=connection, pool_size=8) as pool:
        assert pool.statistics().size == 3


async def test_fewer_connections_than_shards_are_an_error_before_anything_is_opened() -> None:
    connection = Fields("127.0.0.1", 1, extra_dejson={"look_for_keys": False, "max_connections": 3})
    pool = SFTPClientPool(connection=connection, shard=Shard(["a"], index=0, parts=4))
    with pytest.raises(
        InvalidConnection, match="'sftp_test': extra max_connections is 3, which is not enough for 4 sh"
    ):
        await pool.__aenter__()
