# SPDX-License-Identifier: Apache-2.0
"""Keeps the limit of an open pool where it does best."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_async.core.auto import AutoLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_async.core.pool import Pool

__all__ = ["Governor", "Load", "govern"]

#: How often it looks. A server that refuses is obeyed within this time.
_SECONDS = 0.05


class Load(NamedTuple):
    """
    What has become of operations since the beginning.

    :param ended: how many have ended, well or not.
    :param in_flight: how many are in flight now.
    :param failed: how many failed in a way that may mean that the server has too much to do.
    :param refused: how many the server has refused because there were too many.
    """

    ended: int
    in_flight: int
    failed: int = 0
    refused: int = 0


def govern(pool: Pool[Any, Any], *, most: int, load: Callable[[], Load] | None = None) -> None:
    """
    Find out, from now until a pool closes, at what limit it does best.

    :param pool: is open.
    :param most: the limit is never higher.
    :param load: tells what has become of operations, if leases do not: by default each of them is one, and has failed
        if its connection was broken; a connection that could not be opened was refused.
    """
    governor = Governor(pool, AutoLimit(most=most), load or partial(_load_of, pool))
    pool.is_governed = True
    pool.attach(governor)
    governor.start()


def _load_of(pool: Pool[Any, Any]) -> Load:
    counts = pool.statistics()
    return Load(counts.returned, counts.leased, failed=counts.spoiled, refused=counts.connect_errors)


class Governor:
    """
    Sets the limit of a pool again and again, until it is closed; see :func:`govern`.

    :param pool: is open.
    :param auto: decides.
    :param load: tells what has happened.
    """

    _timer: asyncio.TimerHandle

    def __init__(self, pool: Pool[Any, Any], auto: AutoLimit, load: Callable[[], Load]) -> None:
        self._pool = pool
        self._auto = auto
        self._load = load
        self._last = load()

    def start(self) -> None:
        """Begin, in the running loop."""
        self._pool.limit = self._auto.limit
        self._look_later()

    async def aclose(self) -> None:
        """End; the limit stays as it is."""
        self._timer.cancel()

    def _look_later(self) -> None:
        # The timer is also what refers to this object.
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._look)

    def _look(self) -> None:
        last, load = self._last, self._load()
        self._last = load
        before = self._auto.limit
        limit = self._auto.sample(
            asyncio.get_running_loop().time(),
            ended=load.ended - last.ended,
            in_flight=load.in_flight,
            failed=load.failed - last.failed,
            refused=load.refused - last.refused,
        )
        if limit != before:
            self._pool.limit = limit
        self._look_later()
