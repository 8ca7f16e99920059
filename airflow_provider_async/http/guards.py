# SPDX-License-Identifier: Apache-2.0
"""What is remembered of a run of pages to notice that they do not add up."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from airflow_provider_async.core.keys import KeySet, hash_key
from airflow_provider_async.errors import PaginationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_async.http.requests import PageRequest, PageResponse

__all__ = ["Guards"]

log = logging.getLogger(__name__)

#: So many of the newest hashes are kept for the next try: servers that go round in circles go round in small ones.
_RECENT_HASHES = 300
_HASH_BYTES = 8


class Guards:
    """
    Remembers every cursor and every page, as hashes.

    :param label: what the run is called.
    :param max_empty_pages: so many pages in a row without rows are an error.
    :param equal_pages: whether two pages may have the same rows.
    :ivar total: how many rows there are, if the server said so.
    """

    def __init__(self, label: str, *, max_empty_pages: int, equal_pages: bool) -> None:
        import msgspec

        self._label = label
        self._encode = msgspec.json.Encoder(enc_hook=repr).encode
        self._max_empty_pages = max_empty_pages
        self._equal_pages = equal_pages
        self._warned: set[str] = set()
        self.begin_anew()

    def begin_anew(self, total: int | None = None, recent: str = "") -> None:
        """
        Forget everything.

        :param total: how many rows there are, if an earlier try was told.
        :param recent: what :attr:`recent` was at its end.
        :raises ValueError: if it was something else.
        """
        self.total: int | None = total
        data = bytes.fromhex(recent)
        hashes = [int.from_bytes(data[at : at + _HASH_BYTES], "little") for at in range(0, len(data), _HASH_BYTES)]
        self._recent: deque[int] = deque(hashes, maxlen=_RECENT_HASHES)
        self._cursors = KeySet(hashes)
        self._prints = KeySet(hashes)
        self._empty_pages = 0

    @property
    def recent(self) -> str:
        """The newest cursors and pages, for the next try."""
        return b"".join(hashed.to_bytes(_HASH_BYTES, "little") for hashed in self._recent).hex()

    def check_page(self, request: PageRequest, response: PageResponse, items: Sequence[object]) -> None:
        """
        Remember a page.

        :raises PaginationError: if its rows are those of an earlier one.
        """
        self._remember(self._cursors, request.key)
        if response.url != request.url:
            # The same page, under the name that links may have for it.
            self._remember(self._cursors, request.key_at(response.url))
        self._empty_pages = 0 if items else self._empty_pages + 1
        if items and not self._equal_pages and not self._remember(self._prints, hash_key(self._shown(items))):
            raise PaginationError(
                f"its {len(items)} rows are those of an earlier page, as if the server did not look at where it is "
                "asked to go on; if pages may have the same rows, give equal_pages=True"
            )

    def check_following(self, following: PageRequest) -> None:
        """
        Look at what a page leads to.

        :raises PaginationError: if that was asked for before, or nothing but empty pages have come for long.
        """
        if following.key in self._cursors:
            raise PaginationError(f"it leads to {following}, which was asked for before, so that there would be no end")
        if self._empty_pages >= self._max_empty_pages:
            raise PaginationError(
                f"{self._empty_pages} pages in a row have no rows, and the last one leads on to {following}; if there "
                "may be as many, give max_empty_pages"
            )

    def note_total(self, total: int | None, rows: int) -> None:
        """
        Note how many rows there are.

        :param total: as a page says, if it does.
        :param rows: how many have come until now.
        """
        if total is None:
            return
        if self.total is not None and self.total != total:
            self._warn_once(
                "changed", f"the server said {self.total} rows, then {total}: rows may be missing or come twice"
            )
        if rows > total:
            self._warn_once("too low", f"there are more rows than the {total} that the server said; reading goes on")
        self.total = total

    def check_total(self, rows: int) -> None:
        """
        Look at how many rows have come in all.

        :raises PaginationError: if they are fewer than there are.
        """
        if self.total is not None and rows < self.total:
            raise PaginationError(
                f"the pages end here, but the server said that there are {self.total} rows; if that number means "
                "something else, give the paginator total=None or the path to the right one"
            )

    def _shown(self, items: Sequence[object]) -> str:
        """Return what tells a page from others: three rows do as well as all of them, at a small part of the cost."""
        rows = (len(items), items[0], items[len(items) // 2], items[-1])
        try:
            # A third of the time that repr() takes, which is for what a caller's own function has made of rows.
            return self._encode(rows).decode()
        except (TypeError, ValueError):
            return repr(rows)

    def _remember(self, hashes: KeySet, hashed: int) -> bool:
        if not hashes.add(hashed):
            return False
        self._recent.append(hashed)
        return True

    def _warn_once(self, kind: str, message: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("%s: %s", self._label, message)
