# SPDX-License-Identifier: Apache-2.0
"""How many rows or pages a server says that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_async.http.paths import find

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.requests import PageResponse

__all__ = [
    "AUTO",
    "CONTAINERS",
    "PAGE_COUNT_NAMES",
    "TOTAL_NAMES",
    "number_of",
    "page_count",
    "row_total",
]

#: Instead of a path: under any of the names that servers have for it.
AUTO = "auto"

#: What pagination is told in, beside the rows or in an object of its own.
CONTAINERS = ("", "meta", "metadata", "_meta", "pagination", "paging", "page", "page_info", "pageInfo", "data", "hits")

TOTAL_NAMES = (
    "total",
    "total_count",
    "totalCount",
    "total_entries",
    "total_results",
    "totalResults",
    "total_items",
    "totalItems",
    "total_records",
    "totalRecords",
    "total_elements",
    "totalElements",
    "@odata.count",
)
PAGE_COUNT_NAMES = (
    "total_pages",
    "totalPages",
    "page_count",
    "pageCount",
    "num_pages",
    "pages",
    "last_page",
    "lastPage",
)

#: What some call the rows of all pages, and others those of one.
_COUNT_NAMES = ("count",)

_TOTAL_HEADERS = ("X-Total-Count", "X-Total", "X-WP-Total")
_PAGE_COUNT_HEADERS = ("X-Total-Pages", "X-WP-TotalPages")


def number_of(value: object) -> int | None:
    """Return a count that may be written as a text; ``None`` if it is none."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def row_total(response: PageResponse, path: str | None, rows: int) -> int | None:
    """
    Return how many rows there are in all, if that is said.

    :param response: the page.
    :param path: where it is said; ``"auto"`` for well-known names, ``None`` not to look.
    :param rows: of this page. What is called ``count`` and is just this many says nothing of all pages.
    """
    if path is None or path != AUTO:
        return None if path is None else number_of(find(response.body, path))
    places = _places(response.body)
    if (found := _well_known(places, TOTAL_NAMES, response.headers, _TOTAL_HEADERS)) is not None:
        return found
    count = _well_known(places, _COUNT_NAMES, response.headers, ())
    return None if count == rows else count


def page_count(response: PageResponse, path: str | None) -> int | None:
    """
    Return how many pages there are, if that is said.

    :param response: the page.
    :param path: where it is said; ``"auto"`` for well-known names, ``None`` not to look.
    """
    if path is None or path != AUTO:
        return None if path is None else number_of(find(response.body, path))
    return _well_known(_places(response.body), PAGE_COUNT_NAMES, response.headers, _PAGE_COUNT_HEADERS)


def _places(body: JSON) -> list[dict[str, JSON]]:
    """Return the objects that numbers of all pages may stand in."""
    if not isinstance(body, dict):
        return []
    return [body, *[inside for name in CONTAINERS[1:] if isinstance(inside := body.get(name), dict)]]


def _well_known(
    places: Iterable[dict[str, JSON]], names: Collection[str], headers: Mapping[str, str], header_names: Iterable[str]
) -> int | None:
    """Return the first number under one of some names; headers are looked at if the body says nothing."""
    for place in places:
        if not place.keys().isdisjoint(names):
            for name in names:
                value = place.get(name)
                # Elasticsearch writes {"value": 25, "relation": "eq"}.
                if (number := number_of(value.get("value") if isinstance(value, dict) else value)) is not None:
                    return number
    for name in header_names:
        if (number := number_of(headers.get(name))) is not None:
            return number
    return None
