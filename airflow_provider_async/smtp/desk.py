# SPDX-License-Identifier: Apache-2.0
"""Where results arrive, are counted, and wait for whoever iterates over them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from airflow_provider_async.errors import SendFailed
from airflow_provider_async.smtp.results import Summary

if TYPE_CHECKING:
    from airflow_provider_async.core.work import Work
    from airflow_provider_async.smtp.delivery import Shipment
    from airflow_provider_async.smtp.results import SendResult, Status

__all__ = ["Desk"]

#: So many results wait for the consumer, or for their turn, before other messages are taken.
_MOST_WAITING = 1000


class Desk:
    """
    The results of one piece of work.

    :param work: where messages are counted.
    :param ordered: whether results are given out in the order of the messages.
    :ivar room: set when there may be room for more.
    :ivar summary: what was counted.
    """

    def __init__(self, work: Work, *, ordered: bool) -> None:
        self.room = asyncio.Event()
        self.summary = Summary()
        self._work = work
        self._ordered = ordered
        self._results: deque[SendResult] = deque()
        # How many messages have given out their results, if that goes in order; and the results of later ones.
        self._in_order = 0
        self._out_of_order: dict[int, list[SendResult]] = {}
        self._arrival: asyncio.Future[None] | None = None

    def has_room(self, taken: int) -> bool:
        """
        Tell whether another message may be taken.

        :param taken: how many were.
        """
        return len(self._results) < _MOST_WAITING and (not self._ordered or taken - self._in_order < _MOST_WAITING)

    # The side of those who send.

    def deliver(self, shipment: Shipment, result: SendResult) -> None:
        """Take the result of one recipient."""
        self.summary.add(result)
        shipment.left -= 1
        if result.status != "sent" and shipment.failure is None:
            shipment.failure = result
        if self._ordered:
            shipment.results.append(result)
        else:
            self._results.append(result)
        if shipment.left == 0:
            self._finish(shipment)
        self.wake()

    def resume(self, shipment: Shipment, status: Status) -> None:
        """Count a recipient that an earlier try has settled; there is no result of it."""
        self.summary.resume(status)
        shipment.left -= 1
        if shipment.left == 0:
            self._work.resumed += 1
            self._finish(shipment)

    def _finish(self, shipment: Shipment) -> None:
        if (failure := shipment.failure) is None:
            self._work.done += 1
        else:
            code = "" if failure.code is None else f"{failure.code} "
            sentence = f"{failure.recipient} {failure.status}: {code}{failure.response}"
            self._work.note_failure(shipment.item, SendFailed(sentence, report={}))
        if self._ordered:
            self._out_of_order[shipment.index] = shipment.results
            while (results := self._out_of_order.pop(self._in_order, None)) is not None:
                self._in_order += 1
                self._results.extend(results)
            self.room.set()

    def wake(self) -> None:
        """Let whoever waits look again."""
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    # The side of the one who iterates.

    def take(self) -> SendResult | None:
        """Return the next result, if there is one."""
        if not self._results:
            return None
        result = self._results.popleft()
        if len(self._results) == _MOST_WAITING // 2:
            self.room.set()
        return result

    async def wait(self) -> None:
        """
        Wait for something to change.

        :raises RuntimeError: if somebody does already.
        """
        if self._arrival is not None:
            raise RuntimeError("results are iterated over twice at once")
        self._arrival = asyncio.get_running_loop().create_future()
        try:
            await self._arrival
        finally:
            self._arrival = None
