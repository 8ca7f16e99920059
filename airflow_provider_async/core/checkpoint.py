# SPDX-License-Identifier: Apache-2.0
"""
Which items are done, kept so that the next try can go on.

The keys of done items are kept, as 64-bit hashes, in pages that each fit a store's limit for a value. A try writes
pages of its own and reads those of all tries, so that an old try which still runs beside a new one undoes nothing. A
head tells which pages belong together: without it, or with another one, they count for nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import logging
import secrets
import struct
from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from airflow_provider_async.core.envelope import Unusable, seal, unseal
from airflow_provider_async.core.keys import KeySet
from airflow_provider_async.errors import CheckpointError

__all__ = ["JSON", "Checkpoint", "CheckpointStore", "decode_keys", "encode_keys"]

log = logging.getLogger(__name__)

#: What JSON can say.
JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

#: The smallest of the stores' limits is 64 KB for a value (Airflow's task state store, as JSON).
_PAGE_BYTES = 60_000
_KEY_BYTES = 8

#: What base64 makes of a key, with some room for what stands around all of them.
_PAGE_KEYS = (_PAGE_BYTES - 1_000) * 3 // 4 // _KEY_BYTES


class CheckpointStore(Protocol):
    """Where checkpoints are kept: strings under keys, each replaced as a whole."""

    async def get(self, key: str) -> str | None:
        """Return what is kept under a key, if there is anything."""

    async def set(self, key: str, value: str) -> None:
        """Keep a value under a key, in place of any other."""

    async def delete(self, key: str) -> None:
        """Remove what is kept under a key, if there is anything."""


@dataclass(slots=True)
class _Page:
    """Done items that are kept under one key of the store, with their results if those are kept too."""

    number: int
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    results: list[str] = field(default_factory=list)
    size: int = 0


class Checkpoint:
    """
    The done items of one piece of work.

    :param store: where they are kept.
    :param name: what the work is called; part of the store's keys.
    :param identity: what the work belongs to, such as a task instance. A checkpoint of another identity is not used.
    :param attempt: the number of the try that is running, from 1.
    :param keeps_results: whether the results of done items are kept, too.
    """

    def __init__(
        self, store: CheckpointStore, name: str, *, identity: str, attempt: int, keeps_results: bool = False
    ) -> None:
        self.name = name
        self.done = KeySet()
        self._store = store
        self._identity = hashlib.blake2b(f"{identity}\0{name}".encode(), digest_size=8).hexdigest()
        self._attempt = attempt
        self._keeps_results = keeps_results
        self._results: dict[int, str] = {}
        self._generation = secrets.token_hex(4)
        self._has_head = False
        self._page = _Page(0)
        self._full: deque[_Page] = deque()
        self._is_dirty = False
        self._saving = asyncio.Lock()
        self._kept: set[str] = set()

    async def load(self, *, fresh: bool = False) -> None:
        """
        Read what earlier tries have done. What is torn or not ours is left alone, with a warning.

        :param fresh: do all of it again. It is removed with the rest.
        """
        try:
            await self._load()
        except Unusable as reason:
            log.warning("checkpoint %r is not used, and everything is done afresh: %s", self.name, reason)
            self._begin_anew()
        if fresh:
            log.info("checkpoint %r begins anew, as asked for: %d items are done again", self.name, len(self.done))
            self._begin_anew()

    def _begin_anew(self) -> None:
        self.done, self._results, self._page = KeySet(), {}, _Page(0)
        self._generation, self._has_head = secrets.token_hex(4), False

    async def _load(self) -> None:
        head = await self._store.get(self._head_key)
        if head is None:
            return
        self._kept.add(self._head_key)
        generation = unseal(head, self._identity).get("generation")
        if not isinstance(generation, str):
            raise Unusable("it is torn")
        self._generation, self._has_head = generation, True
        hashes: list[int] = []
        for attempt in range(self._attempt + 1):
            number = 0
            while (text := await self._store.get(key := self._page_key(attempt, number))) is not None:
                self._kept.add(key)
                page = unseal(text, self._identity)
                found = decode_keys(str(page.get("keys")))
                hashes.extend(found)
                if self._keeps_results:
                    results = page.get("results")
                    if not isinstance(results, list) or len(results) != len(found):
                        raise Unusable("it was written without results")
                    self._results.update(zip(found, map(json.dumps, results), strict=True))
                number += 1
            # A process that is started again under the same number goes on behind what it had written.
            if attempt == self._attempt:
                self._page = _Page(number)
        self.done = KeySet(hashes)

    def result(self, hashed: int) -> JSON:
        """Return the kept result of an item that an earlier try has done."""
        result: JSON = json.loads(self._results[hashed])
        return result

    def add(self, hashed: int, result: object = None) -> None:
        """
        Count an item as done; :meth:`save` keeps it.

        :param hashed: the item's key.
        :param result: what it gave, if results are kept.
        :raises CheckpointError: if the result is no JSON value, or too large to be kept.
        """
        size, text = 0, ""
        if self._keeps_results:
            text, size = self._encode_result(result)
        page = self._page
        if len(page.hashes) >= _PAGE_KEYS or page.size + size > _PAGE_BYTES - 1_000:
            self._full.append(page)
            page = self._page = _Page(page.number + 1)
        page.hashes.append(hashed)
        self._is_dirty = True
        if self._keeps_results:
            page.results.append(text)
            page.size += size + 2 * _KEY_BYTES

    def _encode_result(self, result: object) -> tuple[str, int]:
        """Return a result as JSON, and what that takes where the page that it is in is a string inside of JSON."""
        try:
            text = json.dumps(result, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"a result of {self.name!r} is no JSON value, to be kept: {error}") from error
        size = len(json.dumps(text))
        if size > _PAGE_BYTES // 2:
            raise CheckpointError(f"a result of {self.name!r} is too large to be kept: {len(text)} bytes as JSON")
        return text, size

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
                await self._store.set(self._head_key, seal({"generation": self._generation}, self._identity))
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
        content: dict[str, JSON] = {"keys": encode_keys(page.hashes)}
        if self._keeps_results:
            content["results"] = [json.loads(text) for text in page.results]
        self._kept.add(key)
        await self._store.set(key, seal(content, self._identity))

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
        return f"{self.name}.{self._generation}.{attempt}.{number}"


def encode_keys(hashes: array[int]) -> str:
    """Return hashed keys as a text of eleven letters each."""
    return base64.b64encode(struct.pack(f"<{len(hashes)}Q", *hashes)).decode("ascii")


def decode_keys(text: str) -> tuple[int, ...]:
    """
    Return the keys of a text that :func:`encode_keys` made.

    :raises Unusable: if it is another text.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Unusable("it is torn") from error
    if len(data) % _KEY_BYTES:
        raise Unusable("it is torn")
    return struct.unpack(f"<{len(data) // _KEY_BYTES}Q", data)
