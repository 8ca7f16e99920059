# SPDX-License-Identifier: Apache-2.0
"""Fetches pages ahead of who consumes them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_async.core.work import working_on

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from airflow_provider_async.core.work import Work
    from airflow_provider_async.http.pages import Page, Paginator
    from airflow_provider_async.http.requests import PageRequest, PageResponse

__all__ = ["Prefetch"]

log = logging.getLogger(__name__)

#: When guesses were wrong so often, the pages are of no regular size.
_MOST_WRONG_GUESSES = 3


@dataclass(slots=True, eq=False)
class _Flight:
    """
    A request under way, or its answer that waits for its turn.

    :param waiter: of the consumer, if it waits for this one.
    """

    request: PageRequest
    waiter: asyncio.Future[None] | None = None
    task: asyncio.Task[PageResponse] = field(init=False)

    def wake(self) -> None:
        """Let the consumer go on."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Prefetch:
    """
    The requests under way and the answers that wait: never more than asked for, in order.

    What comes after the next page is guessed. A guess is used only if it is what is asked for at last; if it is not, it
    and those after it are dropped, and guessing begins anew.

    :param fetch: sends one request.
    :param size: how many pages are fetched ahead at most.
    :param label: what the run is called.
    :param work: where retries and waits are counted.
    """

    def __init__(
        self, fetch: Callable[[PageRequest], Awaitable[PageResponse]], size: int, *, label: str, work: Work
    ) -> None:
        self._fetch = fetch
        self._size = size
        self._label = label
        self._flights: deque[_Flight] = deque()
        self._guesses: Iterator[PageRequest] = iter(())
        self._wrong_guesses = 0
        self._is_sequential = size < 2  # noqa: PLR2004 - the next page, which is no guess
        self._tasks: set[asyncio.Task[PageResponse]] = set()
        self._is_closed = False
        # Everything runs in the context of who makes this.
        self._context = copy_context()
        self._context.run(working_on.set, work)

    def begin(self, following: PageRequest, page: Page[object], paginator: Paginator, *, at_most: int | None) -> None:
        """
        Fetch what comes after a page that is about to be consumed.

        :param following: the next request, which is certain.
        :param page: the page.
        :param paginator: asked for the requests after the next one.
        :param at_most: how many pages may still be read.
        """
        size = self._size if at_most is None else min(self._size, at_most)
        if size == 0:
            return
        if self._flights and self._flights[0].request.key != following.key:
            self._drop(page)
        if not self._flights:
            self._send(following)
            self._guesses = self._guess(following, page, paginator)
        while len(self._flights) < size and (request := next(self._guesses, None)) is not None:
            self._send(request)

    async def get(self, request: PageRequest) -> asyncio.Task[PageResponse]:
        """
        Wait for the answer to the next request, which is sent if it is not under way yet.

        :return: ended, or cancelled if this was closed meanwhile.
        """
        if not self._flights:
            self._send(request)
        flight = self._flights.popleft()
        task = flight.task
        if not task.done():
            # asyncio.wait() would take another turn of the event loop for each page.
            flight.waiter = asyncio.get_running_loop().create_future()
            await flight.waiter
        return task

    async def aclose(self) -> None:
        """Cancel what is under way, and wait until it has ended."""
        self._is_closed = True
        self._guesses = iter(())
        self._flights.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _send(self, request: PageRequest) -> None:
        flight = _Flight(request)
        flight.task = task = asyncio.get_running_loop().create_task(
            self._call(flight), name=self._label, context=self._context.copy()
        )
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, flight))
        self._flights.append(flight)

    async def _call(self, flight: _Flight) -> PageResponse:
        try:
            return await self._fetch(flight.request)
        finally:
            # The task has ended when the consumer goes on, in the next turn of the event loop.
            flight.wake()

    def _ended(self, flight: _Flight, task: asyncio.Task[PageResponse]) -> None:
        # One that was cancelled before it began has woken nobody.
        flight.wake()
        self._tasks.discard(task)
        if not task.cancelled():
            # Nobody has to hear of the error of a request that was a wrong guess.
            task.exception()

    def _guess(self, following: PageRequest, page: Page[object], paginator: Paginator) -> Iterator[PageRequest]:
        if self._is_sequential:
            return iter(())
        if (guesses := paginator.ahead(following, page)) is None:
            self._go_on_sequentially("cannot be known ahead")
            return iter(())
        return guesses

    def _drop(self, page: Page[object]) -> None:
        for flight in self._flights:
            flight.task.cancel()
        self._flights.clear()
        self._wrong_guesses += 1
        if self._wrong_guesses == _MOST_WRONG_GUESSES:
            self._go_on_sequentially("are of different sizes, so that it cannot be known where they begin")
        else:
            log.info("%s: page %d has not the size of those before; guessing begins anew", self._label, page.number)

    def _go_on_sequentially(self, reason: str) -> None:
        self._is_sequential = True
        log.info("%s: the pages %s: they are fetched one after the other, prefetch=1", self._label, reason)
