# SPDX-License-Identifier: Apache-2.0
"""An ``amap`` whose calls each take a lease of one pool."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from airflow_provider_async.core.amap import amap

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable

    from airflow_provider_async.core.amap import AsyncMap
    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.pool import Pool
    from airflow_provider_async.core.progress import Tally

__all__ = ["Ack", "amap_over"]

T = TypeVar("T")
R = TypeVar("R")

#: When an item counts as done, for ``resume``.
Ack: TypeAlias = Literal["next", "manual"]


def amap_over(
    pool: Pool[Any, Any],
    function: Callable[[T], Awaitable[R]],
    items: Iterable[T] | AsyncIterable[T],
    *,
    limit: int | None,
    ordered: bool,
    resume: str | None,
    ack: Ack,
    label: str,
    tally: Tally | None = None,
    key: Callable[[T], Key] | None = None,
) -> AsyncMap[T, R]:
    """
    Make an ``amap`` of calls that lease from a pool, and that the pool ends before it closes.

    :param pool: is open.
    :param function: takes one lease at a time.
    :param items: as for :func:`~airflow_provider_async.amap`, like what is not named here.
    :param limit: how many calls run at once; by default and at most as many as the pool has leases at that moment, for
        more would only wait for one until the acquire time-out.
    :param key: what tells one item from another, if the work can be resumed.
    """
    most = sys.maxsize if limit is None else limit
    results = amap(
        function,
        items,
        limit=min(most, pool.limit),
        ordered=ordered,
        resume=resume,
        key=None if resume is None else key,
        ack=ack,
        label=label,
        tally=tally,
    )
    pool.attach(results)
    pool.follow(results, most=most)
    return results
