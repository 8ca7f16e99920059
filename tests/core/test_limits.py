# SPDX-License-Identifier: Apache-2.0
"""The shares of a server's limits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.core.limits import ServerLimits
from airflow_provider_async.core.shards import Shard
from airflow_provider_async.errors import InvalidConnection

if TYPE_CHECKING:
    from airflow_provider_async.core.values import Rate


def siblings(parts: int) -> list[Shard[Any]]:
    return [Shard((), index=index, parts=parts) for index in range(parts)]


@given(st.data())
def test_shares_are_even_and_add_up_to_the_limit(data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, 50))
    limit = data.draw(st.integers(parts, 1000))
    limits = ServerLimits(max_connections=limit, max_requests=2 * limit)

    shares = [limits.share(shard, "c") for shard in siblings(parts)]

    connections = [share.connections(10**6) for share in shares]
    assert sum(connections) == limit
    assert max(connections) - min(connections) <= 1
    assert sum(share.requests(10**6) for share in shares) == 2 * limit


@pytest.mark.parametrize(("rate", "share"), [(8.0, 2.0), ((90, 60.0), (22.5, 60.0)), (None, None)])
def test_a_rate_is_divided(rate: Rate | None, share: object) -> None:
    assert [ServerLimits(rate=rate).share(shard, "c").rate for shard in siblings(4)] == [share] * 4


@pytest.mark.parametrize("name", ["max_connections", "max_requests"])
def test_a_limit_that_is_not_enough_for_all_shards_is_an_error(name: str) -> None:
    sentence = f"Connection 'partner': extra {name} is 3, which is not enough for 4 shards: make 3 at most, or raise it"
    for shard in siblings(4):
        with pytest.raises(InvalidConnection, match=re.escape(sentence)):
            ServerLimits(**{name: 3}).share(shard, "partner")


def test_a_task_without_a_shard_has_the_whole_limit() -> None:
    limits = ServerLimits(max_connections=5, rate=2.0)
    assert limits.share(None, "c") is limits
    assert (limits.connections(3), limits.connections(8), limits.requests(8)) == (3, 5, 8)
