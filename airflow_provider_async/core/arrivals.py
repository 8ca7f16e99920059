# SPDX-License-Identifier: Apache-2.0
"""Finished items on their way from the workers of an ``amap`` to its consumer."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from airflow_provider_async.core.outcome import Finished

__all__ = ["Arrivals"]

T = TypeVar("T")


class Arrivals(Generic[T]):
    """
    What many workers hand over to one consumer.

    :param ordered: whether items arrive in the order of their numbers instead of as they are handed over.
    :ivar ready: what has arrived, to be taken from the left.
    """

    def __init__(self, *, ordered: bool) -> None:
        self.ready: deque[Finished[T]] = deque()
        self._ordered = ordered
        self._early: dict[int, Finished[T]] = {}
        self._number = 0
        self._awaited: asyncio.Future[None] | None = None

    def put(self, number: int, finished: Finished[T]) -> None:
        """
        Hand over an item.

        :param number: counted from 0; none is left out for good.
        :param finished: the item, and what came of it.
        """
        if self._ordered:
            self._early[number] = finished
            while (following := self._early.pop(self._number, None)) is not None:
                self._number += 1
                self.ready.append(following)
        else:
            self.ready.append(finished)
        if self.ready:
            self.tell()

    def tell(self) -> None:
        """Wake the consumer, if it waits."""
        awaited = self._awaited
        if awaited is not None and not awaited.done():
            awaited.set_result(None)

    @property
    def is_awaited(self) -> bool:
        """Whether the consumer waits."""
        return self._awaited is not None

    async def wait(self) -> None:
        """Wait until something has arrived, or the consumer is told to look for another reason."""
        self._awaited = asyncio.get_running_loop().create_future()
        try:
            await self._awaited
        finally:
            self._awaited = None
