# SPDX-License-Identifier: Apache-2.0
"""Rows of pages in lists of one size, and what of the pages has been consumed with them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_async.core.values import JSON

__all__ = ["Batches"]

T = TypeVar("T")


class Batches(Generic[T]):
    """
    Rows on their way from pages to lists.

    :param size: how many rows a list has.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: deque[T] = deque()
        self._added = 0
        # Where the next try goes on once so many rows are consumed, page by page.
        self._places: deque[tuple[int, dict[str, JSON]]] = deque()

    def add(self, rows: Sequence[T], place: dict[str, JSON] | None) -> None:
        """
        Add the rows of a page.

        :param rows: of any number.
        :param place: where the next try goes on once all of them are consumed, if that is kept.
        """
        self._rows.extend(rows)
        self._added += len(rows)
        if place is not None:
            self._places.append((self._added, place))

    def take(self) -> list[T] | None:
        """Return the next full list; ``None`` if there are not enough rows."""
        return [self._rows.popleft() for _ in range(self._size)] if len(self._rows) >= self._size else None

    def rest(self) -> list[T]:
        """Return what is left."""
        rows = [*self._rows]
        self._rows.clear()
        return rows

    def reached(self) -> dict[str, JSON] | None:
        """Return where the next try goes on once all taken rows are consumed; ``None`` if that is as before."""
        place = None
        while self._places and self._places[0][0] <= self._added - len(self._rows):
            place = self._places.popleft()[1]
        return place
