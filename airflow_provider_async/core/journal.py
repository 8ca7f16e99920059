# SPDX-License-Identifier: Apache-2.0
"""
What was begun, and what came of it, kept so that the next try knows what may have happened.

For work that must not be done twice, such as sending a mail, it is not enough to keep what is done: what was begun is
written down before it begins. What has an outcome is settled; what was begun and has none, when the process ended
without warning, may have happened or not.

Each page has outcomes, in order, and what was begun without one when the page was written. Read one after the other,
those of all tries, they tell what is known of each item in the end.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_async.core.checkpoint import decode_keys, encode_keys
from airflow_provider_async.core.envelope import Unusable
from airflow_provider_async.core.kept import KeptPages
from airflow_provider_async.core.keys import KeySet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_async.core.values import JSON, CheckpointStore

__all__ = ["MOST_BEGUN", "Journal"]

#: The smallest of the stores' limits is 64 KB for a value; a key takes eleven bytes in it, and its outcome one.
_PAGE_KEYS = 3000
MOST_BEGUN = 2000

#: Of an outcome that leaves an item as if it had never begun.
_NOTHING = "-"


@dataclass(slots=True)
class _Page:
    """Outcomes that are kept under one key of the store, a letter for each."""

    number: int
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    outcomes: list[str] = field(default_factory=list)


class Journal(KeptPages[_Page]):
    """
    What was begun, and the outcomes; see :class:`~airflow_provider_async.core.kept.Kept` for the parameters.

    :ivar outcomes: the items of earlier tries that have an outcome, by its letter.
    :ivar open: the items of earlier tries that were begun and have none.
    """

    kind = "journal"

    def __init__(self, store: CheckpointStore, name: str, *, identity: str, attempt: int) -> None:
        super().__init__(store, name, identity=identity, attempt=attempt)
        self.outcomes: dict[str, KeySet] = {}
        self.open: set[int] = set()
        self._begun: set[int] = set()

    def _make_page(self, number: int) -> _Page:
        return _Page(number)

    def _forget(self) -> None:
        super()._forget()
        self.outcomes, self.open = {}, set()

    async def _read(self) -> None:
        last: dict[int, str | None] = {}
        async for page in self._pages():
            hashes, outcomes = decode_keys(str(page.get("keys"))), page.get("outcomes")
            if not isinstance(outcomes, str) or len(outcomes) != len(hashes):
                raise Unusable("it is torn")
            last.update(zip(hashes, outcomes, strict=True))
            last.update(dict.fromkeys(decode_keys(str(page.get("begun")))))
        by_outcome: dict[str, list[int]] = {}
        for hashed, outcome in last.items():
            if outcome is None:
                self.open.add(hashed)
            elif outcome != _NOTHING:
                by_outcome.setdefault(outcome, []).append(hashed)
        self.outcomes = {outcome: KeySet(hashes) for outcome, hashes in by_outcome.items()}

    @property
    def begun(self) -> int:
        """How many items are begun now and have no outcome."""
        return len(self._begun)

    def begin(self, hashes: Iterable[int]) -> None:
        """
        Count items as begun, which they may be only when :meth:`save` has kept that.

        :param hashes: their keys; no more than :data:`MOST_BEGUN` of them may be without an outcome at a time.
        """
        self._begun.update(hashes)
        self._is_dirty = True

    def settle(self, hashed: int, outcome: str) -> None:
        """
        Count an item as settled.

        :param hashed: its key.
        :param outcome: a letter; :meth:`withdraw` has one of its own.
        """
        self._begun.discard(hashed)
        page = self._page
        if len(page.hashes) >= _PAGE_KEYS:
            page = self._turn_page()
        page.hashes.append(hashed)
        page.outcomes.append(outcome)
        self._is_dirty = True

    def withdraw(self, hashed: int) -> None:
        """Count an item as not begun, because it is sure that nothing came of it."""
        self.settle(hashed, _NOTHING)

    def _content(self, page: _Page) -> dict[str, JSON]:
        begun = self._begun
        if page is not self._page:
            # What has its outcome on a later page counts as begun until that is written too.
            begun = begun.union(*(later.hashes for later in (*self._full, self._page) if later is not page))
        return {
            "keys": encode_keys(page.hashes),
            "outcomes": "".join(page.outcomes),
            "begun": encode_keys(array("Q", begun)),
        }
