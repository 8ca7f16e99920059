# SPDX-License-Identifier: Apache-2.0
"""Several processes share a server's limit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider_async import Shard, shards
from airflow_provider_async.errors import InvalidConnection
from airflow_provider_async.http import AsyncHTTPHook, HTTPClientPool
from airflow_provider_async.http.connection import read_options
from tests.http.conftest import Fields
from tests.servers.http import Answer, Request, http_server
from tests.servers.sharing import sharing


async def test_processes_never_have_more_connections_than_the_limit_says() -> None:
    async def answer(_: Request) -> Answer:
        await asyncio.sleep(0.01)
        return Answer(body=b"{}")

    async with http_server() as server:
        server.on("/*", answer)
        fields = Fields(host="127.0.0.1", port=server.port, extra_dejson={"max_connections": 6})
        paths = [f"orders/{number}" for number in range(200)]

        async with sharing("http", fields, shards(paths, 4)) as done:
            assert done == [50, 50, 50, 50]
            assert server.open_connections == 6

        assert server.most_connections == 6
        assert server.most_in_flight <= 6
        assert sorted(request.path for request in server.seen) == sorted(f"/{path}" for path in paths)


@pytest.mark.parametrize(
    ("extras", "options", "most", "rate"),
    [
        ({}, {}, 16, None),
        ({"max_connections": 10}, {}, 3, None),
        ({"max_connections": 10, "max_requests": 7}, {"max_concurrency": 9}, 2, None),
        ({"rate": 8}, {}, 16, 2.0),
        ({"rate": 8}, {"rate": (60, 60)}, 16, (15, 60)),
    ],
)
async def test_a_pool_has_its_share_at_most(
    extras: dict[str, object], options: dict[str, Any], most: int, rate: object
) -> None:
    connection = Fields(host="127.0.0.1", extra_dejson=extras)
    async with HTTPClientPool(connection=connection, shard=Shard(["a"], index=1, parts=4), **options) as pool:
        assert pool.statistics().limit == most
        assert pool.sender.options.rate == rate


async def test_without_a_shard_there_are_no_more_requests_than_the_server_takes() -> None:
    connection = Fields(host="127.0.0.1", extra_dejson={"max_connections": "3"})
    async with HTTPClientPool(connection=connection) as pool:
        assert pool.statistics().limit == 3
    async with AsyncHTTPHook(connection=connection).connect() as client:
        assert client.sender.options.max_concurrency == 3
    assert read_options(connection, "c").headers == {}


async def test_fewer_requests_than_shards_are_an_error_before_anything_is_sent() -> None:
    connection = Fields(host="127.0.0.1", extra_dejson={"max_requests": 3})
    pool = HTTPClientPool(connection=connection, shard=Shard(["a"], index=0, parts=4))
    with pytest.raises(
        InvalidConnection, match="'http_test': extra max_requests is 3, which is not enough for 4 shards"
    ):
        await pool.__aenter__()
