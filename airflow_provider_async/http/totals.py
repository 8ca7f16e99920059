# SPDX-License-Identifier: Apache-2.0
"""How many rows or pages a server says that there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_async.http.paths import find

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflow_provider_async.http.requests import PageResponse

__all__ = [
    "AUTO",
    "CONTAINERS",
    "PAGE_COUNT_NAMES",
    "TOTAL_NAMES",
    "number_of",
    "page_count",
    "row_total",
    "well_known",
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
    if (found := well_known(response, TOTAL_NAMES, _TOTAL_HEADERS)) is not None:
        return found[1]
    count = well_known(response, ("count",), ())
    return None if count is None or count[1] == rows else count[1]


def page_count(response: PageResponse, path: str | None) -> int | None:
    """
    Return how many pages there are, if that is said.

    :param response: the page.
    :param path: where it is said; ``"auto"`` for well-known names, ``None`` not to look.
    """
    if path is None or path != AUTO:
        return None if path is None else number_of(find(response.body, path))
    found = well_known(response, PAGE_COUNT_NAMES, _PAGE_COUNT_HEADERS)
    return None if found is None else found[1]


def well_known(response: PageResponse, names: Collection[str], headers: Iterable[str]) -> tuple[str, int] | None:
    """
    Return the first number under one of some names, with where it is.

    :param response: the page.
    :param names: in the body, or in what it has about its pages.
    :param headers: looked at if the body says nothing.
    """
    body = response.body
    if isinstance(body, dict):
        for container in CONTAINERS:
            inside = body.get(container) if container else body
            if isinstance(inside, dict) and not inside.keys().isdisjoint(names):
                for name in names:
                    value = inside.get(name)
                    # Elasticsearch writes {"value": 25, "relation": "eq"}.
                    if (number := number_of(value.get("value") if isinstance(value, dict) else value)) is not None:
                        return f"{container}.{name}".lstrip("."), number
    for name in headers:
        if (number := number_of(_header(response.headers, name))) is not None:
            return name, number
    return None


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return headers.get(name, headers.get(name.lower()))
