# SPDX-License-Identifier: Apache-2.0
"""
Reads page after page, and gives all rows in order and each once, or an error.

A page is asked for because the page before it, and nothing else, says so. What is fetched ahead only guesses at that.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from airflow_provider_async.core.monitor import Monitor
from airflow_provider_async.core.work import Work
from airflow_provider_async.errors import CallCancelled, IteratorClosed, PaginationError
from airflow_provider_async.http.batches import Batches
from airflow_provider_async.http.bookmark import Bookmark, run_key
from airflow_provider_async.http.detect import detect
from airflow_provider_async.http.guards import Guards
from airflow_provider_async.http.pages import Page
from airflow_provider_async.http.prefetch import Prefetch
from airflow_provider_async.http.rows import find_rows, rows_at, tells_of_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
    from types import TracebackType

    from airflow_provider_async.core.position import Position
    from airflow_provider_async.core.progress import Progress
    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.pages import Paginator
    from airflow_provider_async.http.requests import PageRequest, PageResponse

__all__ = ["Pagination"]

T = TypeVar("T")

log = logging.getLogger(__name__)

#: How servers say that they do not know a cursor any more.
_EXPIRED = frozenset({400, 404, 410, 422})


class Pagination(Generic[T]):
    """
    The rows of :func:`paginate`, or its pages, to be iterated over once.

    Leaving early cancels what is in flight. ``async with`` also waits there until that has ended, whereas a mere
    ``break`` out of ``async for`` lets it end on its own.
    """

    def __init__(
        self,
        fetch: Callable[[PageRequest], Awaitable[PageResponse]],
        request: PageRequest,
        *,
        paginator: Paginator | None,
        items: str | Callable[[JSON], Sequence[T]] | None,
        prefetch: int,
        max_pages: int | None,
        max_empty_pages: int,
        equal_pages: bool,
        position: Position | None,
        label: str,
    ) -> None:
        self._fetch = fetch
        self._request = request
        self._given = paginator
        self._items = items
        self._prefetch_size = prefetch
        self._max_pages = max_pages
        self._guards = Guards(label, max_empty_pages=max_empty_pages, equal_pages=equal_pages)
        self._position = position
        self._label = label
        self._work = Work(label)
        self._prefetch: Prefetch | None = None
        self._run = "" if position is None else run_key(request, paginator, items)
        # What the next page is asked for with, and what is known from the pages before it.
        self._at = self._beginning()
        # The page that is being read, or was read last.
        self._number = 0
        self._is_resumed = False
        self._is_iterated = False
        self._closed = False
        self._closing = asyncio.Lock()

    def __aiter__(self) -> AsyncIterator[T]:
        """Iterate over the rows."""
        return self._rows()

    async def _rows(self) -> AsyncGenerator[T, None]:
        pages = self.pages()
        try:
            async for page in pages:
                for item in page.items:
                    yield item
        finally:
            await pages.aclose()

    async def pages(self) -> AsyncGenerator[Page[T], None]:
        """Iterate over the pages, those without rows included."""
        steps = self._only_steps()
        try:
            async for page, error in steps:
                yield page
                # The consumer came back for the next one.
                if error is not None:
                    raise error
                self._keep(self._place())
            self._keep(self._place())
        finally:
            await steps.aclose()
            await self.aclose()

    async def batches(self, size: int) -> AsyncGenerator[list[T], None]:
        """
        Iterate over lists of rows, whatever the size of the pages.

        With ``resume``, a page counts as consumed when the batch that has its last row is; the next try reads a page
        again that was consumed in part.

        :param size: how many rows a list has; the last one may have fewer, and so may one before an error.
        """
        if size < 1:
            raise ValueError(f"the size of a batch must be at least 1, not {size}")
        batches = Batches[T](size)
        steps = self._only_steps()
        try:
            error: Exception | None = None
            while error is None:
                try:
                    page, error = await anext(steps)
                except StopAsyncIteration:
                    break
                except Exception as raised:  # noqa: BLE001 - what has come is delivered first
                    error = raised
                else:
                    batches.add(page.items, self._place() if error is None else None)
                while (batch := batches.take()) is not None:
                    yield batch
                    self._keep(batches.reached())
            if batch := batches.rest():
                yield batch
            self._keep(batches.reached())
            if error is not None:
                raise error
            self._keep(self._place())
        finally:
            await steps.aclose()
            await self.aclose()

    def _only_steps(self) -> AsyncGenerator[tuple[Page[T], Exception | None], None]:
        if self._is_iterated:
            raise RuntimeError(f"{self._label} is iterated over twice")
        self._is_iterated = True
        return self._steps()

    async def _steps(self) -> AsyncGenerator[tuple[Page[T], Exception | None], None]:
        """Read the pages; with each comes the error that it led to, if it did, which is to be raised after it."""
        await self._begin()
        while self._at.request is not None and not self._is_enough():
            page = await self._next_page(self._at.request)
            if page is None:
                break
            yield page, self._go_on(page)

    @property
    def progress(self) -> Progress:
        """The rows of this moment."""
        return self._work.progress

    async def aclose(self) -> None:
        """Cancel the requests in flight and wait until they have ended. Whoever still iterates gets an error."""
        self._closed = True
        async with self._closing:
            if self._prefetch is not None:
                await self._prefetch.aclose()
            self._work.end()
            if self._position is not None:
                self._position.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _begin(self) -> None:
        if self._position is not None and (kept := await self._position.open()) is not None:
            self._resume(kept)
        if self._closed:
            raise self._closed_error()
        self._work.begin(Monitor.current())
        self._work.done = self._work.resumed = self._at.rows
        self._work.total = self._at.total
        self._prefetch = Prefetch(self._fetch, self._prefetch_size, label=self._label, work=self._work)

    def _resume(self, kept: dict[str, JSON]) -> None:
        try:
            at = Bookmark.read(kept, self._request, self._run)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            log.warning("%s begins anew: what was kept of it cannot be read (%r)", self._label, error)
            return
        if at is None:
            log.warning("%s begins anew: an earlier try has read pages of another request", self._label)
            return
        # Only a paginator that was found is kept; one that the caller gave is as the caller gives it.
        self._at = replace(at, paginator=self._given or at.paginator)
        self._guards.begin_anew(at.total, at.recent)
        if at.request is None:
            log.info("%s: an earlier try has read all %d pages", self._label, at.pages)
        else:
            self._is_resumed = True
            log.info("%s goes on at page %d, after %d rows: %s", self._label, at.pages + 1, at.rows, at.request)

    def _begin_anew(self) -> None:
        self._is_resumed = False
        self._at = self._beginning()
        self._guards.begin_anew()
        self._work.done = self._work.resumed = 0

    def _beginning(self) -> Bookmark:
        request = self._request if self._given is None else self._given.first(self._request)
        return Bookmark(request=request, paginator=self._given)

    def _place(self) -> dict[str, JSON] | None:
        """Return where the next try goes on if nothing more is consumed."""
        if self._position is None:
            return None
        at = replace(self._at, total=self._guards.total, recent=self._guards.recent)
        # What the caller gives each time is not kept.
        if self._given is not None:
            at = replace(at, paginator=None)
        return at.write(self._request, self._run)

    def _keep(self, place: dict[str, JSON] | None) -> None:
        if self._position is not None and place is not None:
            self._position.keep(place)

    # One page.

    async def _next_page(self, request: PageRequest) -> Page[T] | None:
        """Return the next page; ``None`` if the server says that there was none left."""
        if self._closed:
            raise self._closed_error()
        assert self._prefetch is not None  # noqa: S101 - made at the beginning
        if self._position is not None:
            await self._position.keep_up()
        self._number = self._at.pages + 1
        began = self._work.clock()
        flight = await self._prefetch.get(request)
        if self._closed:
            raise self._closed_error()
        if (seconds := self._work.clock() - began) > self._work.slow_seconds:
            self._work.note_slow(request, seconds)
        if flight.error is not None:
            return await self._next_page_after(flight.error, request)
        if flight.response is None:
            raise CallCancelled(f"{self._label}: the request for a page was cancelled")
        self._is_resumed = False
        try:
            page = self._read(request, flight.response)
        except Exception as error:
            self._locate(error, request)
            raise
        self._at.pages, self._at.rows, self._at.largest = page.number, page.rows, page.largest
        self._work.done += len(page.items)
        return page

    async def _next_page_after(self, error: BaseException, request: PageRequest) -> Page[T] | None:
        status = getattr(error, "status", None)
        if status in request.past_end:
            try:
                self._guards.check_total(self._at.rows)
            except PaginationError as missing:
                self._locate(missing, request)
                raise
            self._at.request = None
            return None
        paginator = self._at.paginator
        if self._is_resumed and status in _EXPIRED and paginator is not None and paginator.expires:
            log.warning("%s begins anew: the server does not know its place any more: %s", self._label, error)
            self._begin_anew()
            return await self._next_page(cast("PageRequest", self._at.request))
        self._locate(error, request)
        raise error

    def _read(self, request: PageRequest, response: PageResponse) -> Page[T]:
        """Make a page of an answer."""
        at = self._at
        try:
            items = self._items_of(response.body)
        except PaginationError as error:
            if tells_of_error(response.body):
                error.args = (f"{error}; the server says: {response.excerpt()}",)
            raise
        self._guards.check_page(request, response, items)
        largest = max(at.largest, len(items))
        return Page(
            number=at.pages + 1, request=request, response=response, items=items, rows_before=at.rows, largest=largest
        )

    def _items_of(self, body: JSON) -> Sequence[T]:
        if callable(self._items):
            return self._items(body)
        path = self._items if self._items is not None else self._at.items
        if path is None:
            path = find_rows(body)
            self._tell_once(f"the rows are {f'at items={path!r}' if path else 'the whole body'}")
            self._at.items = path
        return cast("Sequence[T]", rows_at(body, path))

    # From one page to the next.

    def _go_on(self, page: Page[T]) -> Exception | None:
        """Find out what comes next, and begin to fetch it; the page comes first, also where that is an error."""
        try:
            following = self._following(page)
        except Exception as error:  # noqa: BLE001 - it reaches the consumer
            self._locate(error, page.request)
            return error
        self._at.request = following
        if following is not None:
            at_most = None if self._max_pages is None else self._max_pages - page.number
            assert self._prefetch is not None  # noqa: S101 - made at the beginning
            assert self._at.paginator is not None  # noqa: S101 - which has said what follows
            self._prefetch.begin(following, page, self._at.paginator, at_most=at_most)
        return None

    def _following(self, page: Page[T]) -> PageRequest | None:
        paginator = self._at.paginator
        if paginator is None:
            paginator, reason = detect(page)
            self._tell_once(f"{reason}, so the pages are read by {paginator!r}")
            self._at.paginator = paginator
        following = paginator.next(page)
        self._guards.note_total(paginator.promised(page), page.rows)
        if self._guards.total is not None:
            self._work.total = max(self._guards.total, page.rows)
        if following is None:
            self._guards.check_total(page.rows)
            return None
        self._guards.check_following(following)
        return following

    def _tell_once(self, message: str) -> None:
        """Log what was found out; once for all runs that are parts of one work, such as the pages of many parents."""
        told = self._work.told if self._work.parent is None else self._work.parent.told
        if message not in told:
            told.add(message)
            log.info("%s: %s", self._label, message)

    def _is_enough(self) -> bool:
        if self._max_pages is None or self._at.pages < self._max_pages:
            return False
        log.info("%s ends after max_pages=%d; there may be more", self._label, self._max_pages)
        return True

    def _locate(self, error: BaseException, request: PageRequest) -> None:
        """Say in an error where it happened, and count it."""
        where = f"{self._label}, page {self._number}, {request}, after {self._at.rows} rows"
        if isinstance(error, PaginationError):
            error.args = (f"{where}: {error}",)
        else:
            error.add_note(where)
        self._work.note_failure(request, error)

    def _closed_error(self) -> IteratorClosed:
        return IteratorClosed(f"{self._label} was closed while it was iterated over")
