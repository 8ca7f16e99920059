# SPDX-License-Identifier: Apache-2.0
"""Several tasks share what Graph takes."""

from __future__ import annotations

import pytest

from airflow_provider_async import Shard
from airflow_provider_async.errors import InvalidConnection
from airflow_provider_async.msgraph import MSGraphClientPool
from tests.msgraph.conftest import Fields


class Credential:
    """Is never asked."""

    async def get_token(self, *scopes: str) -> None:
        raise AssertionError(scopes)


def pool_of(shard: Shard[str] | None, **extras: object) -> MSGraphClientPool:
    return MSGraphClientPool(connection=Fields(extra_dejson=extras), credential=Credential(), shard=shard)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("extras", "most", "rate"),
    [
        ({}, 16, None),
        ({"max_requests": 10}, 3, None),
        ({"max_requests": 40, "max_concurrency": 8, "rate": 8}, 8, 2.0),
        ({"max_concurrency": "auto"}, 4, None),
    ],
)
async def test_a_pool_has_its_share_at_most(extras: dict[str, object], most: int, rate: object) -> None:
    async with pool_of(Shard(["a"], index=1, parts=4), **extras) as pool:
        assert pool.statistics().limit == most
        assert pool.sender.options.rate == rate


async def test_fewer_requests_than_shards_are_an_error_before_anything_is_sent() -> None:
    with pytest.raises(InvalidConnection, match="extra max_requests is 3, which is not enough for 4 shards"):
        await pool_of(Shard(["a"], index=0, parts=4), max_requests=3).__aenter__()
