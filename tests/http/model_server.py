# SPDX-License-Identifier: Apache-2.0
"""A server of pages, in this process, that can be as wrong as servers are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_provider_async.http.pages import (
    BodyCursor,
    Cursor,
    JSONLink,
    LinkHeader,
    Offset,
    PageNumber,
    Paginator,
)
from airflow_provider_async.http.requests import PageRequest, PageResponse

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON

Family = Literal["link header", "link", "cursor", "body cursor", "offset", "page"]

FAMILIES: tuple[Family, ...] = ("link header", "link", "cursor", "body cursor", "offset", "page")

URL = "https://example.com/api/items"

REQUEST = PageRequest(url=URL)

PAGINATORS: dict[Family, Paginator] = {
    "link header": LinkHeader(),
    "link": JSONLink(),
    "cursor": Cursor(),
    "body cursor": BodyCursor(into="variables.after"),
    "offset": Offset(),
    "page": PageNumber(),
}


class StatusError(Exception):
    """The server refuses a request."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


@dataclass
class ModelServer:
    """
    Serves numbered rows.

    :param family: how its pages lead to each other.
    :param rows: how many rows there are.
    :param sizes: how many rows a page has, one page after the other, again and again; 0 is a page without rows. Page
        numbers go by the first of them alone, and offsets leave out the zeros.
    :param total: how many rows it says that there are.
    :param page_count: how many pages it says that there are.
    :param gaps: page numbers whose rows come one page later.
    :param refuses_past_end: whether it answers 404 beyond the last page, and not with an empty page.
    :param loop: from which page it leads back to which.
    :param renames: whether it gives a new name to a cursor each time.
    :param ignores: whether it does not look at what it is asked.
    :param is_relative: whether links are relative.
    :param faults: how often each of the first requests for a page fails.
    :param turns: for how many turns of the loop it thinks about the first requests.
    """

    family: Family
    rows: int
    sizes: tuple[int, ...] = (3,)
    total: int | None = None
    page_count: int | None = None
    gaps: frozenset[int] = frozenset()
    refuses_past_end: bool = False
    loop: tuple[int, int] | None = None
    renames: bool = False
    ignores: bool = False
    is_relative: bool = False
    faults: dict[int, int] = field(default_factory=dict)
    turns: tuple[int, ...] = (0,)
    forgets: bool = False
    requests: list[PageRequest] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    _names: int = 0

    @property
    def truth(self) -> list[JSON]:
        return [{"id": number} for number in range(self.rows)]

    @property
    def is_honest(self) -> bool:
        honest_count = self.page_count is None or self.page_count == len(self.numbered_pages)
        return (
            self.loop is None
            and not self.ignores
            and self.total in (None, self.rows)
            and (self.family != "page" or (honest_count and (not self.gaps or self.page_count is not None)))
            and not any(self.faults.values())
            and (not self.refuses_past_end or self.family not in ("offset", "page"))
        )

    @property
    def cursor_pages(self) -> list[list[JSON]]:
        pages: list[list[JSON]] = []
        truth = self.truth
        at = 0
        while at < self.rows or not pages:
            size = self.sizes[len(pages) % len(self.sizes)]
            pages.append(truth[at : at + size])
            at += size
        return pages

    @property
    def numbered_pages(self) -> list[list[JSON]]:
        size = max(1, self.sizes[0])
        truth = self.truth
        pages = [truth[at : at + size] for at in range(0, self.rows, size)] or [[]]
        for gap in sorted(self.gaps):
            if gap < len(pages):
                pages.insert(gap, [])
        return pages

    async def fetch(self, request: PageRequest) -> PageResponse:
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            for _ in range(self.turns[len(self.requests) % len(self.turns)]):
                await asyncio.sleep(0)
            return self.answer(request)
        finally:
            self.in_flight -= 1

    def answer(self, request: PageRequest) -> PageResponse:
        headers: dict[str, str] = {}
        body: dict[str, JSON] = {}
        if self.family == "offset":
            place = 0 if self.ignores else int(request.param("offset") or 0)
            sizes = [size for size in self.sizes if size] or [1]
            limit = int(request.param("limit") or 1_000)
            body["items"] = self.truth[place : place + min(limit, sizes[place % len(sizes)])]
            body["offset"] = place
            is_past_end = place >= self.rows > 0
        elif self.family == "page":
            number = 1 if self.ignores else int(request.param("page") or 1)
            place, pages = number - 1, self.numbered_pages
            body["items"] = pages[place] if place < len(pages) else []
            body["page"] = number
            is_past_end = place >= len(pages)
            if self.page_count is not None:
                body["total_pages"] = self.page_count
        else:
            place = self.place_of(request)
            pages = self.cursor_pages
            body["items"] = pages[place]
            self.say_next(place, len(pages), headers, body)
            is_past_end = self.forgets and place > 0
        if self.total is not None:
            body["total"] = self.total
        if self.faults.get(place, 0) > 0:
            self.faults[place] -= 1
            raise StatusError(503)
        if is_past_end and (self.refuses_past_end or self.forgets):
            raise StatusError(404)
        query = "&".join(f"{name}={value}" for name, value in request.query)
        url = f"{URL}?{query}" if query else URL
        return PageResponse(url=url, status=200, headers=headers, body=body)

    def place_of(self, request: PageRequest) -> int:
        if self.ignores:
            return 0
        if self.family == "body cursor":
            variables = request.json.get("variables") if isinstance(request.json, dict) else None
            cursor = variables.get("after") if isinstance(variables, dict) else None
        else:
            cursor = request.param("cursor")
        return int(str(cursor).partition("-")[0]) if cursor is not None else 0

    def say_next(self, place: int, count: int, headers: dict[str, str], body: dict[str, JSON]) -> None:
        following: int | None = place + 1 if place + 1 < count else None
        if self.loop is not None and place == self.loop[0]:
            following = min(self.loop[1], place)
        cursor = None
        if following is not None:
            self._names += 1
            cursor = f"{following}-{self._names}" if self.renames else str(following)
        link = None
        if cursor is not None:
            link = f"{'?' if self.is_relative else URL + '?'}cursor={cursor}"
        if self.family == "link header":
            headers["Link"] = f'<{link}>; rel="next"' if link is not None else '<?cursor=0>; rel="first"'
        elif self.family == "link":
            body["next"] = link
        else:
            body["next_cursor"] = cursor
