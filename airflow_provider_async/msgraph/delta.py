# SPDX-License-Identifier: Apache-2.0
"""
What has changed since a delta query was made before: https://learn.microsoft.com/graph/delta-query-overview.

Page leads to page, and the last one to the link by which the next query goes on. A link is good for some days: when
Graph does not know it any more (410), everything is read anew, and the one who reads is told.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from airflow_provider_async.core.carryover import current_carryovers
from airflow_provider_async.core.checks import check_name
from airflow_provider_async.core.monitor import Monitor
from airflow_provider_async.core.position import Position
from airflow_provider_async.core.work import Work
from airflow_provider_async.errors import HTTPStatusError, InvalidBody, IteratorClosed, PaginationError
from airflow_provider_async.http.guards import Guards
from airflow_provider_async.http.links import follow
from airflow_provider_async.http.requests import PageRequest, PageResponse
from airflow_provider_async.msgraph.change import Change, change_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from types import TracebackType

    from airflow_provider_async.core.carryover import Carryover, Carryovers
    from airflow_provider_async.core.progress import Progress
    from airflow_provider_async.core.values import JSON

__all__ = ["Delta"]

log = logging.getLogger(__name__)

_BAD_REQUEST = 400
_GONE = 410

#: By which services say, with a 400, what others say with a 410.
_EXPIRED_CODES = frozenset(
    {"directory_expiredpagetoken", "resyncrequired", "syncstateinvalid", "syncstatenotfound", "tokenexpired"}
)

#: A server that sends its readers back to the beginning again and again has no end.
_MOST_RESYNCS = 3

#: A delta of few changes among many may have long runs of empty pages.
_MOST_EMPTY_PAGES = 1000

_TOKEN_PARAMETERS = frozenset({"$deltatoken", "deltatoken", "token"})


class Delta:
    """
    The changes of one delta query, to be iterated over once.

    :param fetch: sends one request and returns the decoded answer; its retries and limits are its own.
    :param request: the one that begins anew.
    :param link: goes on from there instead; what :attr:`link` was at the end of an earlier query.
    :param cursor: a name under which the link is kept from run to run.
    :param resume: a name under which it is kept how far this run has come.
    :param label: what the work is called in logs.
    """

    def __init__(
        self,
        fetch: Callable[[PageRequest], Awaitable[PageResponse]],
        request: PageRequest,
        *,
        link: str | None = None,
        cursor: str | None = None,
        resume: str | None = None,
        label: str | None = None,
    ) -> None:
        if link is not None and cursor is not None:
            raise ValueError("link and cursor are both given, and each says where to go on; give one of them")
        self._fetch = fetch
        self._request = request
        self._given = link
        self._cursor = None if cursor is None else check_name("cursor", cursor)
        self._position = None if resume is None else Position(resume)
        self._label = label or urlsplit(request.url).path.strip("/") or "delta"
        self._guards = Guards(self._label, max_empty_pages=_MOST_EMPTY_PAGES, equal_pages=True)
        self._work = Work(self._label)
        self._carryovers: Carryovers | None = None
        self._carryover: Carryover | None = None
        self._at: PageRequest | None = request
        self._pages = 0
        self._reset: str | None = None
        self._full = False
        self._resyncs = 0
        self._link: str | None = None
        self._ahead: asyncio.Task[PageResponse] | None = None
        self._begun = False
        self._closed = False

    @property
    def link(self) -> str | None:
        """Where the next query goes on; ``None`` before all changes of this one were consumed."""
        return self._link

    @property
    def is_full(self) -> bool:
        """Whether everything there is comes, because this is the first query or the link had expired."""
        return self._full

    @property
    def resyncs(self) -> int:
        """How often the server did not know any more where this was, so that it began anew."""
        return self._resyncs

    @property
    def progress(self) -> Progress:
        """The counts of this moment."""
        return self._work.progress

    def __aiter__(self) -> AsyncIterator[Change]:
        """Iterate over the changes, in the server's order. An item may come twice: what comes last is true."""
        return self._changes()

    async def aclose(self) -> None:
        """Give up what is in flight. Whoever still iterates gets an error."""
        self._closed = True
        if self._ahead is not None:
            self._ahead.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await asyncio.wait([self._ahead])
        self._work.end()
        if self._position is not None:
            self._position.close()
        if self._carryovers is not None and self._cursor is not None:
            self._carryovers.release(self._cursor)
            self._carryovers = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def pages(self) -> AsyncGenerator[list[Change], None]:
        """Iterate over the changes page by page, some of which may be empty; for whoever writes a page at once."""
        if self._begun:
            raise RuntimeError(f"{self._label} is iterated over once; make another delta")
        self._begun = True
        try:
            await self._begin()
            while self._at is not None:
                response = await self._next_page()
                items, following, link = self._read(self._at, response)
                if following is not None:
                    self._ahead = asyncio.get_running_loop().create_task(self._ask(following), name=self._label)
                changes = [] if self._reset is None else [Change("reset", reason=self._reset)]
                self._reset = None
                changes += map(change_of, items)
                yield changes
                # The consumer came back: the page is consumed.
                self._pages += 1
                self._at = following
                self._keep(link)
            self._finish()
        finally:
            await self.aclose()

    async def _changes(self) -> AsyncGenerator[Change, None]:
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                for change in page:
                    yield change

    # Where it begins, and what is kept of it.

    async def _begin(self) -> None:
        link = self._given
        if self._cursor is not None:
            link = await self._open_cursor(self._cursor)
        kept = None if self._position is None else await self._position.open()
        if self._closed:
            raise IteratorClosed(f"{self._label} was closed before it began")
        self._work.begin(Monitor.current())
        if link is not None:
            self._at = self._to(link)
        elif not any(name.lower() in _TOKEN_PARAMETERS for name, _ in self._request.query):
            self._begin_anew("everything is read for the first time")
        if kept is not None:
            self._resume(kept)

    async def _open_cursor(self, name: str) -> str | None:
        if (carryovers := current_carryovers()) is None:
            log.info("cursor=%r keeps nothing: this is neither a task nor a block of resumable()", name)
            return None
        self._carryover = await carryovers.open(name)
        self._carryovers = carryovers
        if (value := self._carryover.value) is None:
            return None
        if value.get("of") != self._request.key:
            log.warning("%s is read anew: what the cursor %r has kept is of another query", self._label, name)
            return None
        return str(value["link"])

    def _resume(self, kept: dict[str, JSON]) -> None:
        match kept:
            case {"of": of, "at": at, "link": link, "full": bool(full), "pages": int(pages), "rows": int(rows)} if (
                of == self._request.key
            ):
                self._pages, self._work.done = pages, rows
                self._work.resumed = rows
                # Whoever is on the way has been told.
                self._full, self._reset = full, None
                self._guards.begin_anew(recent=str(kept.get("recent", "")))
                self._at = None if at is None else self._to(str(at))
                self._link = None if link is None else str(link)
                log.info("%s goes on after %d pages and %d rows of an earlier try", self._label, pages, rows)
            case _:
                log.warning("%s begins anew: an earlier try has read pages of another query", self._label)

    def _keep(self, link: str | None) -> None:
        self._link = link
        if self._position is not None:
            self._position.keep(
                {
                    "of": self._request.key,
                    "at": None if self._at is None else self._at.url,
                    "link": link,
                    "full": self._full,
                    "pages": self._pages,
                    "rows": self._work.done,
                    "recent": self._guards.recent,
                }
            )

    def _finish(self) -> None:
        log.info("%s: %d rows on %d pages", self._label, self._work.done, self._pages)
        if self._carryover is not None:
            self._carryover.set({"of": self._request.key, "link": self._link})

    # One page.

    async def _next_page(self) -> PageResponse:
        while True:
            assert self._at is not None  # noqa: S101 - otherwise there is no next page
            try:
                if self._ahead is None:
                    return await self._ask(self._at)
                try:
                    return await self._ahead
                finally:
                    self._ahead = None
            except asyncio.CancelledError:
                if self._closed:
                    raise IteratorClosed(f"{self._label} was closed while it was iterated over") from None
                raise
            except HTTPStatusError as error:
                if self._closed or self._at is self._request or not _is_expired(error):
                    raise
                self._resync(error)

    async def _ask(self, request: PageRequest) -> PageResponse:
        if self._closed:
            raise IteratorClosed(f"{self._label} was closed while it was iterated over")
        return await self._fetch(request)

    def _read(
        self, request: PageRequest, response: PageResponse
    ) -> tuple[list[dict[str, JSON]], PageRequest | None, str | None]:
        """Return a page's items, the request for the next one, and the link to go on by if this is the last."""
        body = response.body
        items = body.get("value") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
            raise InvalidBody(f"{self._label}: {request} was answered with no page of a delta")
        self._guards.check_page(request, response, items)
        self._work.done += len(items)
        next_link, link = body.get("@odata.nextLink"), body.get("@odata.deltaLink")
        if not isinstance(next_link, str):
            if not isinstance(link, str):
                raise PaginationError(f"{self._label}: {request} leads neither to a next page nor to a next delta")
            return items, None, follow(request, response, link).url  # type: ignore[return-value]
        following = follow(request, response, next_link)
        self._guards.check_following(following)
        return items, following, None  # type: ignore[return-value]

    def _resync(self, error: HTTPStatusError) -> None:
        """Begin anew where the server says, or where the first query of all began."""
        self._resyncs += 1
        if self._resyncs > _MOST_RESYNCS:
            raise PaginationError(f"{self._label}: the server begins anew again and again") from error
        reason = getattr(error, "code", "") or f"the link has expired ({error.status})"
        location = error.headers.get("Location")
        log.warning("%s is read anew, and everything comes again: %s", self._label, error)
        beginning = self._request if location is None else self._to(location)
        self._begin_anew(reason)
        self._at = beginning

    def _begin_anew(self, reason: str) -> None:
        self._full, self._reset = True, reason
        self._at = self._request
        self._pages = self._work.done = self._work.resumed = 0
        self._guards.begin_anew()

    def _to(self, link: str) -> PageRequest:
        at = self._at or self._request
        here = PageResponse(url=at.url, status=200, headers={}, body=None)
        return replace(follow(at, here, link), params=())


def _is_expired(error: HTTPStatusError) -> bool:
    if error.status == _GONE:
        return True
    code = str(getattr(error, "code", "")).lower()
    return error.status == _BAD_REQUEST and code in _EXPIRED_CODES
