# SPDX-License-Identifier: Apache-2.0
"""Pages that are asked for by a number, so that several can be fetched at once: by an offset or by a page number."""

from __future__ import annotations

import itertools
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_async.http.paginator import CountedPaginator
from airflow_provider_async.http.paths import MISSING, find, replaced
from airflow_provider_async.http.totals import AUTO, number_of, page_count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.paginator import Page
    from airflow_provider_async.http.paths import Missing
    from airflow_provider_async.http.requests import PageRequest

__all__ = ["Offset", "PageNumber"]

#: How servers answer when there is no page where one was asked for that nobody promised.
_REFUSED = frozenset({400, 404, 410, 416, 422})


@dataclass(frozen=True, kw_only=True)
class _Numbered(CountedPaginator):
    """
    One whose requests have a number.

    :param in_body: whether parameters are paths in the JSON body of the request, and not names in its query.
    """

    expires: ClassVar[bool] = False

    in_body: bool = False

    def _value(self, request: PageRequest, param: str) -> JSON | Missing:
        if self.in_body:
            return find(request.json, param)
        text = request.param(param)
        return MISSING if text is None else text

    def _number(self, request: PageRequest, param: str, default: int) -> int:
        value = self._value(request, param)
        number = default if value is MISSING else number_of(value)
        if number is None:
            raise ValueError(f"the parameter {param!r} must be a number, not {value!r}")
        return number

    def _with(self, request: PageRequest, numbers: Mapping[str, int]) -> PageRequest:
        if not self.in_body:
            return request.with_params(numbers)
        body = request.json
        for param, number in numbers.items():
            body = replaced(body, param, number)
        return replace(request, json=body)

    def _at(self, request: PageRequest, param: str, number: int, past_end: frozenset[int]) -> PageRequest:
        following = self._with(request, {param: number})
        return following if following.past_end == past_end else replace(following, past_end=past_end)


@dataclass(frozen=True)
class Offset(_Numbered):
    """
    Asks for the rows from an offset on, which steps by the rows received: a server may give fewer than are asked for.

    It ends with an empty page, or where a total is met. A total that a full page meets is not taken on trust: one more
    request is made, which the server may refuse. It begins at the offset that the request has, or at 0.

    :param limit: how many rows are asked for; by default what the request has, or else what the server likes.
    :param param: the parameter that the offset is sent in.
    :param limit_param: the parameter that the limit is sent in.
    :param total: the path to how many rows there are; ``"auto"`` for well-known names, ``None`` not to look.
    :param in_body: whether ``param`` and ``limit_param`` are paths in the JSON body, such as ``variables.offset``.
    :param past_end: the statuses by which the server says that an offset lies past the end; most give an empty page.
    """

    limit: int | None = None
    _: KW_ONLY
    param: str = "offset"
    limit_param: str = "limit"
    past_end: Collection[int] = ()

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request with an offset and the limit."""
        offset = self._number(request, self.param, 0)
        limit = {} if self.limit is None else {self.limit_param: self.limit}
        return self._with(request, {self.param: offset, **limit})

    def next(self, page: Page[object]) -> PageRequest | None:
        """Return the request for the rows after those of this page."""
        rows = len(page.items)
        total = self.promised(page)
        is_met = total is not None and page.rows == total
        if rows == 0 or (is_met and _is_short(page, self._limit(page))):
            return None
        return self._at_offset(page.request, self._number(page.request, self.param, 0) + rows, is_met=is_met)

    def promised(self, page: Page[object]) -> int | None:
        """Return how many rows there are from the first offset on."""
        total = super().promised(page)
        begin = self._number(page.request, self.param, 0) - page.rows_before
        return None if total is None else max(0, total - begin)

    def ahead(self, following: PageRequest, page: Page[object]) -> Iterator[PageRequest] | None:
        """Return the requests for steps of as many rows as this page had, up to the total if it is known."""
        step = len(page.items)
        total = self.promised(page)
        offset = self._number(following, self.param, 0)
        if step == 0 or (total is None and _is_short(page, self._limit(page))):
            return iter(())
        offsets = itertools.count(offset + step, step)
        if total is not None:
            end = offset + total - page.rows
            offsets = itertools.takewhile(lambda at: at < end, offsets)  # type: ignore[assignment]
        return (self._at_offset(following, at, is_met=False) for at in offsets)

    def _at_offset(self, request: PageRequest, offset: int, *, is_met: bool) -> PageRequest:
        return self._at(request, self.param, offset, _past_end(self.past_end, is_met=is_met))

    def _limit(self, page: Page[object]) -> int | None:
        return number_of(self._value(page.request, self.limit_param))


@dataclass(frozen=True)
class PageNumber(_Numbered):
    """
    Asks for pages by their number.

    It ends with the last page if the server says how many there are, or where a total is met, or else with an empty
    page. An end that comes with a full page is not taken on trust: one more request is made, which the server may
    refuse. It begins with the number that the request has, or with the base.

    :param size: how many rows are asked for; by default what the request has, or else what the server likes.
    :param param: the parameter that the number is sent in.
    :param size_param: the parameter that the size is sent in.
    :param base: the number of the first page: 1, or 0.
    :param pages: the path to how many pages there are; ``"auto"`` for well-known names, ``None`` not to look.
    :param total: the path to how many rows there are; likewise.
    :param in_body: whether ``param`` and ``size_param`` are paths in the JSON body, such as ``paging.page``.
    :param past_end: the statuses by which the server says that a page lies past the end; most give an empty page.
    """

    size: int | None = None
    _: KW_ONLY
    param: str = "page"
    size_param: str = "per_page"
    base: int = 1
    pages: str | None = AUTO
    past_end: Collection[int] = ()

    def first(self, request: PageRequest) -> PageRequest:
        """Return the request with a number and the size."""
        number = self._number(request, self.param, self.base)
        size = {} if self.size is None else {self.size_param: self.size}
        return self._with(request, {self.param: number, **size})

    def next(self, page: Page[object]) -> PageRequest | None:
        """Return the request for the page with the next number."""
        number = self._number(page.request, self.param, self.base)
        last = self._last(page)
        total = self.promised(page)
        if last is not None:
            goes_on, is_met = number < last, number == last
        else:
            goes_on, is_met = total is not None and page.rows < total, total is not None and page.rows == total
            # Pages of the size seen would have had all rows by now.
            if goes_on and not page.items:
                goes_on = page.number * page.largest < (total or 0)
        if not goes_on and (not page.items or (is_met and _is_short(page, self._size(page)))):
            return None
        return self._at_page(page.request, number + 1, is_met=is_met)

    def promised(self, page: Page[object]) -> int | None:
        """Return how many rows there are, unless this began in the middle, where nobody knows how many came before."""
        begin = self._number(page.request, self.param, self.base) - page.number + 1
        return super().promised(page) if begin == self.base else None

    def ahead(self, following: PageRequest, page: Page[object]) -> Iterator[PageRequest] | None:
        """Return the requests for the numbers after the next one, up to the last if it is known."""
        number = self._number(following, self.param, self.base)
        last = self._last(page)
        total = self.promised(page)
        if last is None and total is not None and page.items:
            last = number - 1 + -(-(total - page.rows) // len(page.items))
        if last is None and _is_short(page, self._size(page)):
            return iter(())
        numbers = itertools.count(number + 1) if last is None else range(number + 1, last + 1)
        return (self._at_page(following, at, is_met=False) for at in numbers)

    def _last(self, page: Page[object]) -> int | None:
        count = page_count(page.response, self.pages)
        return None if count is None else self.base + count - 1

    def _at_page(self, request: PageRequest, number: int, *, is_met: bool) -> PageRequest:
        return self._at(request, self.param, number, _past_end(self.past_end, is_met=is_met))

    def _size(self, page: Page[object]) -> int | None:
        return number_of(self._value(page.request, self.size_param))


def _is_short(page: Page[object], asked: int | None) -> bool:
    """Tell whether a page looks like the last one, having fewer rows than were asked for and than others had."""
    if page.number == 1:
        return asked is None or len(page.items) < asked
    return len(page.items) < page.largest


def _past_end(given: Collection[int], *, is_met: bool) -> frozenset[int]:
    return frozenset(given) | _REFUSED if is_met else frozenset(given)
