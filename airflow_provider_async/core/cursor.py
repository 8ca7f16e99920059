# SPDX-License-Identifier: Apache-2.0
"""
How far something has come that is done in order, kept so that the next try can go on: one small value.

A try writes a value of its own, and that of the newest try counts, so that an old try which still runs beside a new one
undoes nothing. A head tells which values belong together: without it, or with another one, they count for nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from typing import TYPE_CHECKING

from airflow_provider_async.core.envelope import Unusable, seal, unseal
from airflow_provider_async.errors import CheckpointError

if TYPE_CHECKING:
    from airflow_provider_async.core.checkpoint import JSON, CheckpointStore

__all__ = ["CursorCheckpoint"]

log = logging.getLogger(__name__)

#: The smallest of the stores' limits is 64 KB for a value, as a JSON string.
_MOST_BYTES = 30_000


class CursorCheckpoint:
    """
    The cursor of one piece of work.

    :param store: where it is kept.
    :param name: what the work is called; part of the store's keys.
    :param identity: what the work belongs to, such as a task instance. A cursor of another identity is not used.
    :param attempt: the number of the try that is running, from 1.
    :ivar value: the newest cursor, ``None`` if there is none.
    """

    def __init__(self, store: CheckpointStore, name: str, *, identity: str, attempt: int) -> None:
        self.name = name
        self.value: dict[str, JSON] | None = None
        self._store = store
        self._owner = hashlib.blake2b(f"{identity}\0{name}\0cursor".encode(), digest_size=8).hexdigest()
        self._attempt = attempt
        self._generation = secrets.token_hex(4)
        self._has_head = False
        self._unsaved: str | None = None
        self._saving = asyncio.Lock()
        self._kept: set[str] = set()

    async def load(self, *, fresh: bool = False) -> None:
        """
        Read how far earlier tries have come. What is torn or not ours is left alone, with a warning.

        :param fresh: begin anew all the same.
        """
        try:
            await self._load()
        except Unusable as reason:
            log.warning("cursor %r is not used, and everything is done afresh: %s", self.name, reason)
            self._begin_anew()
        if fresh:
            log.info("cursor %r begins anew, as asked for", self.name)
            self._begin_anew()

    def _begin_anew(self) -> None:
        self.value = None
        self._generation, self._has_head = secrets.token_hex(4), False

    async def _load(self) -> None:
        head = await self._store.get(self._head_key)
        if head is None:
            return
        self._kept.add(self._head_key)
        generation = unseal(head, self._owner).get("generation")
        if not isinstance(generation, str):
            raise Unusable("it is torn")
        self._generation, self._has_head = generation, True
        for attempt in range(self._attempt + 1):
            key = self._value_key(attempt)
            if (text := await self._store.get(key)) is not None:
                self._kept.add(key)
                self.value = unseal(text, self._owner)

    def set(self, value: dict[str, JSON]) -> None:
        """
        Note how far it has come; :meth:`save` keeps it.

        :param value: small.
        :raises CheckpointError: if it is too large to be kept.
        """
        text = seal(value, self._owner)
        if len(text) > _MOST_BYTES:
            raise CheckpointError(f"the cursor of {self.name!r} is too large to be kept: {len(text)} bytes as JSON")
        self.value, self._unsaved = value, text

    async def save(self) -> None:
        """
        Write what is not written yet.

        :raises Exception: what the store raises; nothing is lost, and the next call tries again.
        """
        async with self._saving:
            if self._unsaved is None:
                return
            if not self._has_head:
                self._kept.add(self._head_key)
                await self._store.set(self._head_key, seal({"generation": self._generation}, self._owner))
                self._has_head = True
            # A newer one that comes meanwhile is not taken for saved.
            text, self._unsaved = self._unsaved, None
            key = self._value_key(self._attempt)
            self._kept.add(key)
            try:
                await self._store.set(key, text)
            except BaseException:
                self._put_back(text)
                raise

    def _put_back(self, text: str) -> None:
        if self._unsaved is None:
            self._unsaved = text

    async def remove(self) -> None:
        """Remove everything: the head first, without which the rest counts for nothing. Nothing is saved any more."""
        # Not under the lock, which belongs to an event loop that may be closed.
        self._unsaved, self._has_head = None, False
        for key in sorted(self._kept, key=lambda key: key != self._head_key):
            await self._store.delete(key)
            self._kept.discard(key)

    @property
    def _head_key(self) -> str:
        return f"{self.name}.head"

    def _value_key(self, attempt: int) -> str:
        return f"{self.name}.{self._generation}.{attempt}"
