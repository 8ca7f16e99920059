# SPDX-License-Identifier: Apache-2.0
"""Finds out from the first page how to get to the next."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.links import links, next_link
from airflow_provider_async.http.pages import Cursor, JSONLink, LinkHeader, Offset, PageNumber, SinglePage
from airflow_provider_async.http.paths import MISSING, find
from airflow_provider_async.http.totals import AUTO, CONTAINERS, number_of, page_count, row_total

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    from airflow_provider_async.http.pages import Page, Paginator

    #: A paginator, and what has told it.
    _Found: TypeAlias = tuple[Paginator, str]

__all__ = ["detect"]

#: Where links are, the surest first: what is only called "next" may be a cursor as well.
_LINKS = (
    "@odata.nextLink",
    "odata.nextLink",
    "next_url",
    "nextUrl",
    "next_page_url",
    "nextLink",
    "next_link",
    "_links.next.href",
    "_links.next",
    "links.next.href",
    "links.next",
    "paging.next.link",
    "paging.next",
    "pagination.next_url",
    "pagination.next_link",
    "pagination.next",
    "meta.next_url",
    "meta.next",
    "next.href",
    "next_page",
    "nextPage",
    "next",
)

#: Where cursors are, and the parameter in which servers want them back.
_CURSORS = (
    ("next_cursor", "cursor"),
    ("nextCursor", "cursor"),
    ("response_metadata.next_cursor", "cursor"),
    ("meta.next_cursor", "cursor"),
    ("meta.nextCursor", "cursor"),
    ("pagination.next_cursor", "cursor"),
    ("pagination.nextCursor", "cursor"),
    ("paging.next_cursor", "cursor"),
    ("paging.next.after", "after"),
    ("nextPageToken", "pageToken"),
    ("next_page_token", "page_token"),
    ("nextToken", "nextToken"),
    ("NextToken", "NextToken"),
    ("next_token", "next_token"),
    ("meta.next_token", "pagination_token"),
    ("continuationToken", "continuationToken"),
    ("continuation_token", "continuation_token"),
    ("pagination.next_page", "page"),
    ("meta.next_page", "page"),
    ("next_page", "page"),
    ("nextPage", "page"),
    ("next", "next"),
    ("cursor", "cursor"),
)

#: What says that there are more, and not where.
_MORE = ("has_more", "hasMore", "has_next", "hasNext", "hasNextPage", "has_next_page", "next_page_exists", "truncated")

#: Parameters of requests that are offsets, and those that are limits, with the offset that goes with each.
_OFFSETS = ("offset", "skip", "start", "startAt", "start_at", "startIndex", "$skip", "_start")
_LIMITS = {
    "limit": "offset",
    "max_results": "offset",
    "maxResults": "startAt",
    "itemsPerPage": "startIndex",
    "$top": "$skip",
    "_limit": "_start",
    "rows": "start",
}

#: Parameters of requests that are page numbers, and those that are sizes of pages.
_PAGES = ("page", "current_page", "currentPage", "page_number", "pageNumber", "number", "_page")
_SIZES = ("per_page", "page_size", "pageSize", "perPage", "size", "_per_page", "_limit", "limit")

#: Sizes of pages that are sent in JSON bodies alone.
_BODY_LIMITS = ("first", "last")

#: What the body calls the offset or the number of the page that it is; the parameter has the same name, or this one.
_SAID_OFFSETS = ("offset", "skip", "startAt", "start_at", "startIndex")
_SAID_PAGES = ("page", "current_page", "currentPage", "page_number", "pageNumber", "number")

_LINK = re.compile(r"https?://|\.{0,2}/|[^?\s]*\?[^=\s]+=", re.IGNORECASE)


def detect(page: Page[object]) -> tuple[Paginator, str]:
    """
    Return the paginator for the pages that follow the first one, and what has told it.

    :param page: the first one.
    :raises PaginationError: if there seems to be more, and it is not clear how to get there.
    """
    for look in (_link, _cursor, _more_by_number, _no_link, _by_request, _by_body):
        if (found := look(page)) is not None:
            return found
    if (flag := next((path for path in _paths(_MORE) if find(page.response.body, path) is True), None)) is not None:
        raise _undecided(f"{flag!r} is true")
    for name in (*_LIMITS, *_SIZES, *_BODY_LIMITS):
        asked = _asked_for(page, name)
        if _says_more(page) is None and asked and len(page.items) >= asked:
            raise _undecided(f"it has as many rows as were asked for with {name}={asked}")
    return SinglePage(), "nothing says that there are more pages"


def _asked_for(page: Page[object], name: str) -> int | None:
    """Return a number of the request's query, of its JSON body, or of the variables in that (GraphQL)."""
    if (asked := page.request.param(name)) is not None:
        return number_of(asked)
    for path in (name, f"variables.{name}"):
        if (number := number_of(find(page.request.json, path))) is not None:
            return number
    return None


def _link(page: Page[object]) -> _Found | None:
    if next_link(page.response.headers) is not None:
        return LinkHeader(), "there is a Link header with rel=next"
    for path in _LINKS:
        link = find(page.response.body, path)
        if isinstance(link, str) and _LINK.match(link):
            return JSONLink(path), f"there is a link at {path!r}"
    return None


def _cursor(page: Page[object]) -> _Found | None:
    for path, param in _CURSORS:
        cursor = find(page.response.body, path)
        if isinstance(cursor, (str, int)) and not isinstance(cursor, bool) and cursor != "":
            return Cursor(path, param), f"there is a cursor at {path!r}"
    return None


def _no_link(page: Page[object]) -> _Found | None:
    """Find the places of links and cursors, where there is none any more."""
    if any(link.is_related(one) for link in links(page.response.headers) for one in ("first", "prev", "last")):
        return LinkHeader(), "there is a Link header, without rel=next"
    for path in (*_LINKS, *(path for path, _ in _CURSORS)):
        if find(page.response.body, path) in (None, ""):
            return JSONLink(path), f"there is nothing at {path!r}"
    return None


def _more_by_number(page: Page[object]) -> _Found | None:
    if not _says_more(page):
        return None
    if (found := _by_request(page) or _by_body(page)) is None:
        raise _undecided(f"there are more than its {len(page.items)} rows")
    return found


def _by_request(page: Page[object]) -> _Found | None:
    """Find a number among the parameters of the request."""
    given = dict(page.request.query)
    limit = next((name for name in _LIMITS if name in given), None)
    if (param := next((name for name in _OFFSETS if name in given), None)) is not None:
        return Offset(param=param, limit_param=limit or "limit"), f"{param!r} is a parameter"
    if (param := next((name for name in _PAGES if name in given), None)) is not None:
        base = 0 if given[param] == "0" else 1
        return PageNumber(param=param, size_param=_size_param(page), base=base), f"{param!r} is a parameter"
    if limit is not None and _says_more(page):
        return Offset(param=_LIMITS[limit], limit_param=limit), f"{limit!r} is a parameter, and there are more rows"
    return None


def _by_body(page: Page[object]) -> _Found | None:
    """Find a number in what the body says of its page."""
    body = page.response.body
    for path in _paths(_SAID_OFFSETS):
        if number_of(find(body, path)) == 0:
            return Offset(param=path.rpartition(".")[2]), f"there is an offset at {path!r}"
    size_param = _size_param(page)
    for path in _paths(_SAID_PAGES):
        if (number := number_of(find(body, path))) in (0, 1):
            name = path.rpartition(".")[2]
            param = "page" if name == "number" or name.startswith("current") else name
            return PageNumber(
                param=param, size_param=size_param, base=number or 0
            ), f"there is a page number at {path!r}"
    if (pages := page_count(page.response, AUTO)) is not None:
        return PageNumber(size_param=size_param), f"there are {pages} pages"
    if find(body, "total_entries") is not MISSING:
        return Offset(), "there is 'total_entries', as in Airflow"
    return None


def _size_param(page: Page[object]) -> str:
    return next((name for name in _SIZES if page.request.param(name) is not None), "per_page")


def _says_more(page: Page[object]) -> bool | None:
    """Tell whether there are more rows than those of the first page, if the server says how many there are."""
    pages = page_count(page.response, AUTO)
    if pages is not None and pages > 1:
        return True
    total = row_total(page.response, AUTO, len(page.items))
    begin = next((number_of(value) or 0 for name, value in page.request.query if name in _OFFSETS), 0)
    if total is not None:
        return begin + len(page.items) < total
    return None if pages is None else False


def _paths(names: Iterable[str]) -> list[str]:
    return [f"{container}.{name}".lstrip(".") for container in CONTAINERS for name in names]


def _undecided(reason: str) -> PaginationError:
    return PaginationError(
        f"{reason}, and it is not clear how to get the rest: give paginator=..., such as Offset(), PageNumber(), "
        "Cursor() or BodyCursor(), or SinglePage(total=None) if this is all"
    )
