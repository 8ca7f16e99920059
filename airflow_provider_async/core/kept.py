# SPDX-License-Identifier: Apache-2.0
"""
What is kept of one piece of work in a store, so that the next try knows of it.

A try writes values of its own and reads those of all tries, so that an old try which still runs beside a new one undoes
nothing. A head tells which values belong together: without it, or with another one, they count for nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, ClassVar, Generic, Protocol, TypeVar

from airflow_provider_async.core.envelope import Unusable, seal, unseal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_async.core.values import JSON, CheckpointStore

__all__ = ["Kept", "KeptPages"]

log = logging.getLogger(__name__)


class Kept(ABC):
    """
    Values under several keys of a store, which a head holds together.

    :param store: where they are kept.
    :param name: what the work is called; part of the store's keys.
    :param identity: what the work belongs to, such as a task instance. What is of another identity is not used.
    :param attempt: the number of the try that is running, from 1.
    :cvar kind: what it is called in logs.
    :ivar generation: stands for all tries that go on with one another; another one where work begins anew.
    """

    kind: ClassVar[str]

    def __init__(self, store: CheckpointStore, name: str, *, identity: str, attempt: int) -> None:
        self.name = name
        self.generation = secrets.token_hex(8)
        self._store = store
        self._owner = hashlib.blake2b(f"{identity}\0{name}\0{self.kind}".encode(), digest_size=8).hexdigest()
        self._attempt = attempt
        self._has_head = False
        self._saving = asyncio.Lock()
        self._keys: set[str] = set()

    async def load(self, *, fresh: bool = False) -> None:
        """
        Read what earlier tries have kept. What is torn or not ours is left alone, with a warning.

        :param fresh: begin anew all the same. What is there is removed with the rest.
        """
        try:
            if (head := await self._get(self._head_key)) is not None:
                if not isinstance(generation := head.get("generation"), str):
                    raise Unusable("it is torn")  # noqa: TRY301 - like what is torn elsewhere
                self.generation, self._has_head = generation, True
                await self._read()
        except Unusable as reason:
            log.warning("%s %r is not used, and everything is done afresh: %s", self.kind, self.name, reason)
            self._begin_anew()
        if fresh:
            log.info("%s %r begins anew, as asked for", self.kind, self.name)
            self._begin_anew()

    @abstractmethod
    async def _read(self) -> None:
        """Read the values of all tries."""

    @abstractmethod
    def _forget(self) -> None:
        """Forget what was read."""

    @abstractmethod
    def _stop(self) -> None:
        """Have nothing more to be saved."""

    @abstractmethod
    async def save(self) -> None:
        """
        Write what is not written yet.

        :raises Exception: what the store raises; nothing is lost, and the next call tries again.
        """

    async def remove(self) -> None:
        """Remove everything: the head first, without which the rest counts for nothing. Nothing is saved any more."""
        # Not under the lock, which belongs to an event loop that may be closed.
        self._stop()
        self._has_head = False
        for key in sorted(self._keys, key=lambda key: key != self._head_key):
            await self._store.delete(key)
            self._keys.discard(key)

    def _begin_anew(self) -> None:
        self._forget()
        self.generation, self._has_head = secrets.token_hex(8), False

    async def _get(self, key: str) -> dict[str, JSON] | None:
        if (text := await self._store.get(key)) is None:
            return None
        self._keys.add(key)
        return unseal(text, self._owner)

    async def _set(self, key: str, text: str) -> None:
        self._keys.add(key)
        await self._store.set(key, text)

    async def _set_head(self) -> None:
        if not self._has_head:
            await self._set(self._head_key, seal({"generation": self.generation}, self._owner))
            self._has_head = True

    @property
    def _head_key(self) -> str:
        return f"{self.name}.head"

    def _key(self, attempt: int) -> str:
        return f"{self.name}.{self.generation}.{attempt}"


class _Numbered(Protocol):
    @property
    def number(self) -> int: ...


Page = TypeVar("Page", bound=_Numbered)


class KeptPages(Kept, Generic[Page]):
    """Values that grow, kept in pages that each fit the store's limit for a value; see :class:`Kept`."""

    def __init__(self, store: CheckpointStore, name: str, *, identity: str, attempt: int) -> None:
        super().__init__(store, name, identity=identity, attempt=attempt)
        self._page = self._make_page(0)
        self._full: deque[Page] = deque()
        self._is_dirty = False

    @abstractmethod
    def _make_page(self, number: int) -> Page:
        """Make an empty page."""

    @abstractmethod
    def _content(self, page: Page) -> dict[str, JSON]:
        """Return what is kept of a page."""

    def _turn_page(self) -> Page:
        """Begin a new page, and return it."""
        self._full.append(self._page)
        self._page = self._make_page(self._page.number + 1)
        return self._page

    async def _pages(self) -> AsyncIterator[dict[str, JSON]]:
        """Read the pages of all tries, in the order in which they were written."""
        for attempt in range(self._attempt + 1):
            number = 0
            while (page := await self._get(f"{self._key(attempt)}.{number}")) is not None:
                yield page
                number += 1
            # A process that is started again under the same number goes on behind what it had written.
            if attempt == self._attempt:
                self._page = self._make_page(number)

    async def save(self) -> None:
        """
        Write what is not written yet.

        :raises Exception: what the store raises; nothing is lost, and the next call tries again.
        """
        async with self._saving:
            if not self._is_dirty:
                return
            await self._set_head()
            while self._full:
                await self._save_page(self._full[0])
                self._full.popleft()
            self._is_dirty = False
            try:
                await self._save_page(self._page)
            except BaseException:
                self._is_dirty = True
                raise

    async def _save_page(self, page: Page) -> None:
        await self._set(f"{self._key(self._attempt)}.{page.number}", seal(self._content(page), self._owner))

    def _forget(self) -> None:
        self._page = self._make_page(0)

    def _stop(self) -> None:
        self._full.clear()
        self._is_dirty = False
