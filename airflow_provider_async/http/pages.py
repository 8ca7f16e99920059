# SPDX-License-Identifier: Apache-2.0
"""
How to get from one page to the next: a class for each way that servers have.

A paginator is a description that never changes. What a run has come to is said by the page at hand and by the request
that it was asked for with.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, cast

from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.links import follow, next_link
from airflow_provider_async.http.numbered import Offset, PageNumber
from airflow_provider_async.http.paginator import CountedPaginator, Page, Paginator, SinglePage
from airflow_provider_async.http.paths import MISSING, find, replaced

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.paths import Missing
    from airflow_provider_async.http.requests import PageRequest

__all__ = [
    "BodyCursor",
    "Cursor",
    "JSONLink",
    "LinkHeader",
    "Offset",
    "Page",
    "PageNumber",
    "Paginator",
    "SinglePage",
]


@dataclass(frozen=True)
class LinkHeader(CountedPaginator):
    """
    Follows ``Link: <...>; rel="next"`` (RFC 8288), as GitHub has it.

    :param total: the path to how many rows there are; ``"auto"`` for well-known names, ``None`` not to look.
    :param keep_params: names of parameters that are sent with each request, though the link may not have them.
    """

    _: KW_ONLY
    keep_params: Collection[str] = ()

    def next(self, page: Page[object]) -> PageRequest | None:
        """Return the request for what the header leads to."""
        link = next_link(page.response.headers)
        return follow(page.request, page.response, link, keep_params=self.keep_params) if link is not None else None


@dataclass(frozen=True)
class JSONLink(CountedPaginator):
    """
    Follows a link that is in the body. None, ``null`` or an empty one ends it.

    :param path: where it is, such as ``next``, ``links.next`` or ``@odata.nextLink``.
    :param total: the path to how many rows there are; ``"auto"`` for well-known names, ``None`` not to look.
    :param keep_params: names of parameters that are sent with each request, though the link may not have them.
    """

    path: str = "next"
    _: KW_ONLY
    keep_params: Collection[str] = ()

    def next(self, page: Page[object]) -> PageRequest | None:
        """Return the request for what the link leads to."""
        link = find(page.response.body, self.path)
        if _is_nothing(link):
            return None
        if not isinstance(link, str):
            raise PaginationError(f"at {self.path!r} is no link, but a value of type {type(link).__name__}")
        return follow(page.request, page.response, link, keep_params=self.keep_params)


@dataclass(frozen=True)
class Cursor(CountedPaginator):
    """
    Sends what the body has for the next page as a parameter. None, ``null`` or an empty one ends it.

    :param path: where it is, such as ``next_cursor``; with ``data.-1.id`` it is the last row's id.
    :param param: the parameter that it is sent in.
    :param more: the path to what says whether there are more; by default only the cursor does.
    :param total: the path to how many rows there are; ``"auto"`` for well-known names, ``None`` not to look.
    """

    path: str = "next_cursor"
    param: str = "cursor"
    _: KW_ONLY
    more: str | None = None

    def next(self, page: Page[object]) -> PageRequest | None:
        """Return the same request with the new cursor."""
        cursor = _cursor(page, self.path, self.more)
        return None if cursor is None else page.request.with_params({self.param: cast("str | int", cursor)})


@dataclass(frozen=True)
class BodyCursor(CountedPaginator):
    """
    Sends what the body has for the next page in the JSON body of the next request, as GraphQL has it.

    :param path: where it is, such as ``data.items.pageInfo.endCursor``. It may be a list, as Elasticsearch has it at
        ``hits.hits.-1.sort``.
    :param into: the path in the request's body, such as ``variables.after`` or ``search_after``.
    :param more: the path to what says whether there are more; by default only the cursor does.
    :param total: the path to how many rows there are; ``"auto"`` for well-known names, ``None`` not to look.
    """

    path: str = "next_cursor"
    into: str = "cursor"
    _: KW_ONLY
    more: str | None = None

    def next(self, page: Page[object]) -> PageRequest | None:
        """Return the same request with the new cursor."""
        cursor = _cursor(page, self.path, self.more, of_lists=True)
        return None if cursor is None else replace(page.request, json=replaced(page.request.json, self.into, cursor))


def _cursor(page: Page[object], path: str, more: str | None, *, of_lists: bool = False) -> JSON:
    cursor = find(page.response.body, path)
    if more is not None:
        says = find(page.response.body, more)
        if says is MISSING or not isinstance(says, bool):
            raise PaginationError(f"at {more!r} is neither true nor false, to say whether there are more")
        if not says:
            return None
        if _is_nothing(cursor):
            raise PaginationError(f"{more!r} says that there are more pages, but there is no cursor at {path!r}")
    elif _is_nothing(cursor):
        return None
    if not _is_cursor(cursor, of_lists=of_lists):
        raise PaginationError(f"at {path!r} is no cursor, but a value of type {type(cursor).__name__}")
    return cast("JSON", cursor)


def _is_cursor(value: JSON | Missing, *, of_lists: bool) -> bool:
    if isinstance(value, list):
        # The values that the last row is sorted by.
        return of_lists and not any(isinstance(part, (dict, list)) for part in value)
    return isinstance(value, (str, int)) and not isinstance(value, bool)


def _is_nothing(value: JSON | Missing) -> bool:
    return value is MISSING or value is None or value is False or value in ("", [])
