# SPDX-License-Identifier: Apache-2.0
"""paginate: the rows of a listing, whatever fetches its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar, overload
from urllib.parse import urlsplit

from airflow_provider_async.core.checks import check_at_least
from airflow_provider_async.core.position import Position
from airflow_provider_async.core.work import working_on
from airflow_provider_async.http.pagination import Pagination
from airflow_provider_async.http.paginator import Paginator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.requests import PageRequest, PageResponse

__all__ = ["MOST_EMPTY_PAGES", "paginate"]

T = TypeVar("T")

#: An empty page does not end a run that goes on elsewhere; so many in a row do, with an error.
MOST_EMPTY_PAGES = 100


@overload
def paginate(
    fetch: Callable[[PageRequest], Awaitable[PageResponse]],
    request: PageRequest,
    *,
    paginator: Paginator | Literal["auto"] = "auto",
    items: str | None = None,
    prefetch: int = 1,
    max_pages: int | None = None,
    max_empty_pages: int = MOST_EMPTY_PAGES,
    equal_pages: bool = False,
    resume: str | None = None,
    label: str | None = None,
) -> Pagination[JSON]: ...


@overload
def paginate(
    fetch: Callable[[PageRequest], Awaitable[PageResponse]],
    request: PageRequest,
    *,
    paginator: Paginator | Literal["auto"] = "auto",
    items: Callable[[JSON], Sequence[T]],
    prefetch: int = 1,
    max_pages: int | None = None,
    max_empty_pages: int = MOST_EMPTY_PAGES,
    equal_pages: bool = False,
    resume: str | None = None,
    label: str | None = None,
) -> Pagination[T]: ...


def paginate(
    fetch: Callable[[PageRequest], Awaitable[PageResponse]],
    request: PageRequest,
    *,
    paginator: Paginator | Literal["auto"] = "auto",
    items: str | Callable[[JSON], Sequence[T]] | None = None,
    prefetch: int = 1,
    max_pages: int | None = None,
    max_empty_pages: int = MOST_EMPTY_PAGES,
    equal_pages: bool = False,
    resume: str | None = None,
    label: str | None = None,
) -> Pagination[JSON] | Pagination[T]:
    """
    Read the pages of a listing, and iterate over its rows.

    Each row comes once, and in order. Where that cannot be, because the server repeats a cursor or a page, has fewer
    rows than it said or does not say how to go on, there is an error, after the rows until there.

    :param fetch: sends one request and returns the decoded answer; its retries and limits are its own.
    :param request: the first one.
    :param paginator: how to get from one page to the next; ``"auto"`` finds that out, and logs it.
    :param items: the path to the rows, such as ``data.results`` or ``data.0.rows``; or a function that makes the rows
        of a page's body; by default they are looked for, and it is logged where they are.
    :param prefetch: how many pages are fetched ahead of the one that is consumed: 0 for none before it is asked for.
        More than one where pages can be known ahead, which is so for :class:`Offset` and :class:`PageNumber`; so many
        requests are then made at once, and so many pages are in memory.
    :param max_pages: the run ends after so many pages, whether or not there are more.
    :param max_empty_pages: it is an error if so many pages in a row have no rows and say that there are more.
    :param equal_pages: whether two pages may have the same rows; otherwise that is an error, for then the server most
        likely gives the same page again and again.
    :param resume: a name under which it is kept how far the run has come: the next try goes on after the last page that
        was consumed, which is when the next page is asked for. If the server does not know that place any more, the run
        begins anew, with a warning.
    :param label: what the run is called in logs; by default the path of the URL, or that of the work that it is a part
        of: the pages of many parents are shown as one.
    """
    if paginator != "auto" and not isinstance(paginator, Paginator):
        raise ValueError(f"paginator must be 'auto' or a Paginator, not {paginator!r}")
    check_at_least(0, prefetch=prefetch)
    check_at_least(1, max_pages=max_pages, max_empty_pages=max_empty_pages)
    return Pagination(
        fetch,
        request,
        paginator=None if paginator == "auto" else paginator,
        items=items,
        prefetch=prefetch,
        max_pages=max_pages,
        max_empty_pages=max_empty_pages,
        equal_pages=equal_pages,
        position=None if resume is None else Position(resume),
        label=label or _label(request),
    )


def _label(request: PageRequest) -> str:
    if (whole := working_on.get()) is not None:
        return f"{whole.label}: pages"
    return urlsplit(request.url).path or request.url
