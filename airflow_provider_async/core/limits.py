# SPDX-License-Identifier: Apache-2.0
"""What a server takes from all tasks together, and the share of it that one of them may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_async.errors import InvalidConnection

if TYPE_CHECKING:
    from airflow_provider_async.core.shards import Shard
    from airflow_provider_async.core.values import Rate

__all__ = ["ServerLimits", "share_of"]


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """
    A server's limits, as a Connection states them; ``None`` for none.

    :param max_connections: connections at once.
    :param max_requests: requests, or operations, at once.
    :param rate: requests that may begin in a time.
    """

    max_connections: int | None = None
    max_requests: int | None = None
    rate: Rate | None = None

    def share(self, shard: Shard[Any] | None, conn_id: str) -> ServerLimits:
        """
        Return the part of the limits that belongs to one of the tasks which share some work.

        The shares of all its shards are even, and add up to the limits.

        :param shard: the task's part of the work; ``None`` if it has all of it, and so all of the limits.
        :param conn_id: what the error calls the Connection.
        :raises InvalidConnection: if there is less than one connection, or request, for each shard.
        """
        if shard is None:
            return self
        number, seconds = self.rate if isinstance(self.rate, tuple) else (self.rate, None)
        rate = None if number is None else number / shard.parts
        return ServerLimits(
            max_connections=share_of("max_connections", self.max_connections, shard, conn_id),
            max_requests=share_of("max_requests", self.max_requests, shard, conn_id),
            rate=rate if rate is None or seconds is None else (rate, seconds),
        )

    def connections(self, wanted: int) -> int:
        """Return how many connections there may be, where so many are wanted."""
        return wanted if self.max_connections is None else min(wanted, self.max_connections)

    def requests(self, wanted: int) -> int:
        """Return how many requests there may be at once, where so many are wanted."""
        return wanted if self.max_requests is None else min(wanted, self.max_requests)


def share_of(name: str, limit: int | None, shard: Shard[Any], conn_id: str) -> int | None:
    """
    Return the part of one limit that belongs to a shard.

    :param name: what the error calls the limit.
    :raises InvalidConnection: if there is less than one for each shard.
    """
    if limit is None:
        return None
    share, rest = divmod(limit, shard.parts)
    if not share:
        raise InvalidConnection(
            f"Connection {conn_id!r}: extra {name} is {limit}, which is not enough for {shard.parts} shards: make "
            f"{limit} at most, or raise it"
        )
    return share + (shard.index < rest)
