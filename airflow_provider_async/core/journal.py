# SPDX-License-Identifier: Apache-2.0
"""
What was begun, and what came of it, kept so that the next try knows what may have happened.

For work that must not be done twice, such as sending a mail, it is not enough to keep what is done: what was begun is
written down before it begins. What has an outcome is settled; what was begun and has none, when the process ended
without warning, may have happened or not.

A try writes pages of its own. Each has outcomes, in order, and what was begun without one when the page was written.
Read one after the other, those of all tries, they tell what is known of each item in the end. A head tells which pages
belong together: without it, or with another one, they count for nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_async.core.checkpoint import decode_keys, encode_keys
from airflow_provider_async.core.envelope import Unusable, seal, unseal
from airflow_provider_async.core.keys import KeySet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_async.core.checkpoint import JSON, CheckpointStore

__all__ = ["MOST_BEGUN", "Journal"]

log = logging.getLogger(__name__)

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


class Journal:
    """
    What was begun, and the outcomes.

    :param store: where they are kept.
    :param name: what the work is called; part of the store's keys.
    :param identity: what the work belongs to, such as a task instance. A journal of another identity is not used.
    :param attempt: the number of the try that is running, from 1.
    :ivar outcomes: the items of earlier tries that have an outcome, by its letter.
    :ivar open: the items of earlier tries that were begun and have none.
    :ivar generation: stands for all tries that go on with one another; another one where work begins anew.
    """

    def __init__(self, store: CheckpointStore, name: str, *, identity: str, attempt: int) -> None:
        self.name = name
        self.outcomes: dict[str, KeySet] = {}
        self.open: set[int] = set()
        self.generation = secrets.token_hex(8)
        self._store = store
        self._owner = hashlib.blake2b(f"{identity}\0{name}\0journal".encode(), digest_size=8).hexdigest()
        self._attempt = attempt
        self._has_head = False
        self._page = _Page(0)
        self._full: deque[_Page] = deque()
        self._begun: set[int] = set()
        self._is_dirty = False
        self._saving = asyncio.Lock()
        self._kept: set[str] = set()

    async def load(self, *, fresh: bool = False) -> None:
        """
        Read what earlier tries have begun and done. What is torn or not ours is left alone, with a warning.

        :param fresh: begin anew all the same.
        """
        try:
            await self._load()
        except Unusable as reason:
            log.warning("journal %r is not used, and everything is done afresh: %s", self.name, reason)
            self._begin_anew()
        if fresh:
            log.info("journal %r begins anew, as asked for", self.name)
            self._begin_anew()

    def _begin_anew(self) -> None:
        self.outcomes, self.open, self._page = {}, set(), _Page(0)
        self.generation, self._has_head = secrets.token_hex(8), False

    async def _load(self) -> None:
        head = await self._store.get(self._head_key)
        if head is None:
            return
        self._kept.add(self._head_key)
        generation = unseal(head, self._owner).get("generation")
        if not isinstance(generation, str):
            raise Unusable("it is torn")
        self.generation, self._has_head = generation, True
        last: dict[int, str | None] = {}
        for attempt in range(self._attempt + 1):
            number = 0
            while (text := await self._store.get(key := self._page_key(attempt, number))) is not None:
                self._kept.add(key)
                page = unseal(text, self._owner)
                hashes, outcomes = decode_keys(str(page.get("keys"))), page.get("outcomes")
                if not isinstance(outcomes, str) or len(outcomes) != len(hashes):
                    raise Unusable("it is torn")
                last.update(zip(hashes, outcomes, strict=True))
                last.update(dict.fromkeys(decode_keys(str(page.get("begun")))))
                number += 1
            # A process that is started again under the same number goes on behind what it had written.
            if attempt == self._attempt:
                self._page = _Page(number)
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
            self._full.append(page)
            page = self._page = _Page(page.number + 1)
        page.hashes.append(hashed)
        page.outcomes.append(outcome)
        self._is_dirty = True

    def withdraw(self, hashed: int) -> None:
        """Count an item as not begun, because it is sure that nothing came of it."""
        self.settle(hashed, _NOTHING)

    async def save(self) -> None:
        """
        Write what is not written yet.

        :raises Exception: what the store raises; nothing is lost, and the next call tries again.
        """
        async with self._saving:
            if not self._is_dirty:
                return
            if not self._has_head:
                self._kept.add(self._head_key)
                await self._store.set(self._head_key, seal({"generation": self.generation}, self._owner))
                self._has_head = True
            while self._full:
                await self._save_page(self._full[0])
                self._full.popleft()
            self._is_dirty = False
            try:
                await self._save_page(self._page)
            except BaseException:
                self._is_dirty = True
                raise

    async def _save_page(self, page: _Page) -> None:
        key = self._page_key(self._attempt, page.number)
        self._kept.add(key)
        begun = self._begun
        if page is not self._page:
            # What has its outcome on a later page counts as begun until that is written too.
            begun = begun.union(*(later.hashes for later in (*self._full, self._page) if later is not page))
        content: dict[str, JSON] = {
            "keys": encode_keys(page.hashes),
            "outcomes": "".join(page.outcomes),
            "begun": encode_keys(array("Q", begun)),
        }
        await self._store.set(key, seal(content, self._owner))

    async def remove(self) -> None:
        """Remove everything: the head first, without which the rest counts for nothing. Nothing is saved any more."""
        # Not under the lock, which belongs to an event loop that may be closed.
        self._full.clear()
        self._is_dirty = self._has_head = False
        for key in sorted(self._kept, key=lambda key: key != self._head_key):
            await self._store.delete(key)
            self._kept.discard(key)

    @property
    def _head_key(self) -> str:
        return f"{self.name}.head"

    def _page_key(self, attempt: int, number: int) -> str:
        return f"{self.name}.{self.generation}.{attempt}.{number}"
