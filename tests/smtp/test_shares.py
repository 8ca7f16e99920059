# SPDX-License-Identifier: Apache-2.0
"""Several tasks share a server's limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_async import shards
from airflow_provider_async.core.shards import Shard
from airflow_provider_async.errors import InvalidConnection
from airflow_provider_async.smtp import SMTPClientPool
from tests.servers.smtp import FaultyServer, Fields
from tests.smtp.conftest import SOON, mail


async def test_all_shards_together_have_no_more_connections_than_the_server_takes(server: FaultyServer) -> None:
    connection = server.connection().with_extras(max_connections=5)
    parts = shards(range(60), 4)

    async def send(shard: Shard[int]) -> int:
        async with SMTPClientPool(connection=connection, retry=SOON, pool_size=4, shard=shard) as pool:
            report = await pool.send_many([mail(number) for number in shard]).report()
            return report["sent"]

    assert await asyncio.gather(*(send(part) for part in parts)) == [15, 15, 15, 15]
    assert server.books.most_sessions <= 5


@pytest.mark.parametrize(
    ("extras", "options", "size", "rate", "per_day"),
    [
        ({}, {}, 4, None, None),
        ({"max_connections": 10}, {}, 3, None, None),
        ({"max_connections": 9, "rate": 8}, {"pool_size": 2}, 2, 2.0, None),
        ({"recipients_per_day": 402}, {}, 4, None, 101),
        ({"preset": "exchange_online", "max_connections": 4}, {}, 1, (7.5, 60), 2_500),
    ],
)
async def test_a_pool_has_its_share_at_most(
    extras: dict[str, object], options: dict[str, Any], size: int, rate: object, per_day: int | None
) -> None:
    shard = Shard(["a"], index=1, parts=4)
    async with SMTPClientPool(connection=Fields().with_extras(**extras), shard=shard, **options) as pool:
        assert pool.statistics().size == size
        limits = pool._open[1].limits
        assert (limits.rate, limits.recipients_per_day) == (rate, per_day)


async def test_without_a_shard_there_are_no_more_connections_than_the_server_takes() -> None:
    async with SMTPClientPool(connection=Fields().with_extras(max_connections="3")) as pool:
        assert pool.statistics().size == 3


async def test_fewer_connections_than_shards_are_an_error_before_anything_is_sent() -> None:
    connection = Fields().with_extras(preset="exchange_online")
    pool = SMTPClientPool(connection=connection, shard=Shard(["a"], index=0, parts=4))
    with pytest.raises(InvalidConnection, match="extra max_connections is 3, which is not enough for 4 shards"):
        await pool.__aenter__()
