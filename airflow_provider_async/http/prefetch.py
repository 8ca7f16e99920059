# SPDX-License-Identifier: Apache-2.0
"""Fetches pages ahead of who consumes them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from airflow_provider_async.core.work import working_on

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from airflow_provider_async.core.work import Work
    from airflow_provider_async.http.pages import Page, Paginator
    from airflow_provider_async.http.requests import PageRequest, PageResponse

__all__ = ["Flight", "Prefetch"]

log = logging.getLogger(__name__)

#: When guesses were wrong so often, the pages are of no regular size.
_MOST_WRONG_GUESSES = 3


@dataclass(slots=True, eq=False)
class Flight:
    """
    A request under way, or what came of it and waits for its turn: an answer, an error, or neither if it was cancelled.

    :param starter: will send it as soon as the event loop has its turn.
    :param task: sends it.
    :param waiter: of the consumer, if it waits for this one.
    """

    request: PageRequest
    response: PageResponse | None = None
    error: Exception | None = None
    starter: asyncio.Handle | None = None
    task: asyncio.Task[None] | None = None
    waiter: asyncio.Future[None] | None = None

    def cancel(self) -> None:
        """Let nothing more come of it."""
        if self.starter is not None:
            self.starter.cancel()
        if self.task is not None:
            self.task.cancel()

    def wake(self) -> None:
        """Let the consumer go on."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class _Visit:
    """What the consumer's task does for a page, so that it can be ended without the task."""

    __slots__ = ("_cancelling", "_ended", "_is_interrupted", "_task")

    def __init__(self) -> None:
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self._is_interrupted = False
        self._ended: asyncio.Future[None] | None = None

    async def interrupt(self) -> None:
        """Cancel it, and wait until it has ended."""
        if not self._is_interrupted:
            self._is_interrupted = True
            self._task.cancel()
            self._ended = self._task.get_loop().create_future()
        await asyncio.shield(cast("asyncio.Future[None]", self._ended))

    def is_of_consumer(self) -> bool:
        """Tell whether a cancellation that has arrived is one of the task, and take back that of :meth:`interrupt`."""
        if self._is_interrupted:
            self._task.uncancel()
        return self._task.cancelling() > self._cancelling

    def end(self) -> None:
        """Let those go on who have interrupted it."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


class Prefetch:
    """
    The requests under way and the answers that wait: never more than asked for, in order.

    One page ahead is asked for as soon as the consumer waits for anything. One that comes back without having waited
    sends the request itself, for nothing could have gone on meanwhile.

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
        self._flights: deque[Flight] = deque()
        self._awaited: Flight | None = None
        self._visit: _Visit | None = None
        self._guesses: Iterator[PageRequest] = iter(())
        self._wrong_guesses = 0
        self._is_sequential = size < 2  # noqa: PLR2004 - the next page, which is no guess
        self._tasks: set[asyncio.Task[None]] = set()
        self._work = work
        # Every task runs in the context of who makes this.
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
            self._guesses = self._guess(following, page, paginator)
            self._send(following)
        while len(self._flights) < size and (request := next(self._guesses, None)) is not None:
            self._send(request)

    async def get(self, request: PageRequest) -> Flight:
        """
        Wait for the answer to the next request, which is sent if it is not under way yet.

        :return: ended, or cancelled if this was closed meanwhile.
        """
        flight = self._flights.popleft() if self._flights else Flight(request)
        if flight.task is None:
            # A consumer that comes back at once needs no other task beside its own, which would cost as much as all
            # else that is done for a page.
            flight.cancel()
            await self._fetch_here(flight)
        elif not flight.task.done():
            # asyncio.wait() would take another turn of the event loop for each page.
            flight.waiter = asyncio.get_running_loop().create_future()
            self._awaited = flight
            await flight.waiter
        return flight

    async def aclose(self) -> None:
        """Cancel what is under way, and wait until it has ended."""
        self._guesses = iter(())
        for flight in self._flights:
            flight.cancel()
        self._flights.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
            self._tasks.clear()
        # What was cancelled before it began has woken nobody.
        if self._awaited is not None:
            self._awaited.wake()
        if self._visit is not None:
            await self._visit.interrupt()

    def _send(self, request: PageRequest) -> None:
        """Send a request: at once where several are under way, else as soon as the consumer waits for anything."""
        flight = Flight(request)
        if self._is_sequential:
            flight.starter = asyncio.get_running_loop().call_soon(self._start, flight)
        else:
            self._start(flight)
        self._flights.append(flight)

    def _start(self, flight: Flight) -> None:
        flight.task = asyncio.get_running_loop().create_task(
            self._call(flight), name=self._label, context=self._context.copy()
        )
        self._tasks.add(flight.task)

    async def _call(self, flight: Flight) -> None:
        try:
            flight.response = await self._fetch(flight.request)
        except Exception as error:  # noqa: BLE001 - the consumer raises it, if it was no wrong guess
            flight.error = error
        finally:
            # The task has ended when the consumer goes on, in the next turn of the event loop.
            flight.wake()
            self._tasks.discard(cast("asyncio.Task[None]", flight.task))

    async def _fetch_here(self, flight: Flight) -> None:
        """Send a request in the consumer's own task."""
        visit = self._visit = _Visit()
        before = working_on.get()
        working_on.set(self._work)
        try:
            flight.response = await self._fetch(flight.request)
        except Exception as error:  # noqa: BLE001 - as above
            flight.error = error
        except asyncio.CancelledError:
            if visit.is_of_consumer():
                raise
        finally:
            working_on.set(before)
            self._visit = None
            visit.end()

    def _guess(self, following: PageRequest, page: Page[object], paginator: Paginator) -> Iterator[PageRequest]:
        if self._is_sequential:
            return iter(())
        if (guesses := paginator.ahead(following, page)) is None:
            self._go_on_sequentially("cannot be known ahead")
            return iter(())
        return guesses

    def _drop(self, page: Page[object]) -> None:
        for flight in self._flights:
            flight.cancel()
        self._flights.clear()
        self._wrong_guesses += 1
        if self._wrong_guesses == _MOST_WRONG_GUESSES:
            self._go_on_sequentially("are of different sizes, so that it cannot be known where they begin")
        else:
            log.info("%s: page %d has not the size of those before; guessing begins anew", self._label, page.number)

    def _go_on_sequentially(self, reason: str) -> None:
        self._is_sequential = True
        log.info("%s: the pages %s: they are fetched one after the other, prefetch=1", self._label, reason)
