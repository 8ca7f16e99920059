# SPDX-License-Identifier: Apache-2.0
"""What a page is, and what every way to get from one page to the next has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from airflow_provider_async.http.totals import AUTO, row_total

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_async.http.requests import PageRequest, PageResponse

__all__ = ["CountedPaginator", "Page", "Paginator", "SinglePage"]

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Page(Generic[T_co]):
    """
    One page.

    :param number: counted from 1, those included that earlier tries have read.
    :param request: what was asked for.
    :param response: what came back.
    :param items: its rows.
    :param rows_before: how many rows the pages before it had.
    :param largest: how many rows the largest page until now had, this one included.
    """

    number: int
    request: PageRequest
    response: PageResponse = field(repr=False)
    items: Sequence[T_co] = field(repr=False)
    rows_before: int
    largest: int

    @property
    def rows(self) -> int:
        """How many rows there were until now, those of this page included."""
        return self.rows_before + len(self.items)


class Paginator(ABC):
    """
    A way to get from one page to the next. Subclasses keep nothing of a run: many runs share one object.

    :meth:`next` has to be written, and :meth:`first` if the first request is not sent as it is given.

    :cvar expires: whether the server may forget the place of a page, so that a later try has to begin anew.
    """

    expires: ClassVar[bool] = True

    def first(self, request: PageRequest) -> PageRequest:
        """
        Return the request for the first page.

        :param request: as the caller has given it.
        """
        return request

    @abstractmethod
    def next(self, page: Page[object]) -> PageRequest | None:
        """
        Return the request for the page after this one; ``None`` if this one is the last.

        :param page: of any number of rows, none included.
        :raises PaginationError: if the page says that there are more, and not where.
        """

    def promised(self, page: Page[object]) -> int | None:
        """
        Return how many rows all pages have together, from the first of this run to the last, if the server says so.

        :param page: the newest one.
        """
        del page
        return None

    def ahead(self, following: PageRequest, page: Page[object]) -> Iterator[PageRequest] | None:
        """
        Return the requests that come after the next one, if all pages are like this one; ``None`` if nobody can know.

        They are guesses: what is fetched by them is used only where it is what :meth:`next` comes to ask for.

        :param following: the next request.
        :param page: the one before it.
        """
        del following, page
        return None


@dataclass(frozen=True, kw_only=True)
class CountedPaginator(Paginator):
    """
    One whose server may say how many rows there are.

    :param total: the path to that number; ``"auto"`` for well-known names, ``None`` not to look.
    """

    total: str | None = AUTO

    def promised(self, page: Page[object]) -> int | None:
        """Return how many rows the server says that there are."""
        return row_total(page.response, self.total, len(page.items))


@dataclass(frozen=True, kw_only=True)
class SinglePage(CountedPaginator):
    """
    Nothing comes after the first page; it is an error if the server says that there are more rows.

    :param total: the path to how many rows there are; ``"auto"`` for well-known names, ``None`` not to look.
    """

    def next(self, page: Page[object]) -> PageRequest | None:
        """Return nothing."""
        del page
        return None
