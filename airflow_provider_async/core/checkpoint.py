# SPDX-License-Identifier: Apache-2.0
"""
Which items are done, kept so that the next try can go on.

The keys of done items are kept, as 64-bit hashes, in pages that each fit a store's limit for a value.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_async.core.envelope import Unusable
from airflow_provider_async.core.kept import KeptPages
from airflow_provider_async.core.keys import KeySet
from airflow_provider_async.errors import CheckpointError

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON, CheckpointStore

__all__ = ["Checkpoint", "decode_keys", "encode_keys"]

#: The smallest of the stores' limits is 64 KB for a value (Airflow's task state store, as JSON).
_PAGE_BYTES = 60_000
_KEY_BYTES = 8

#: What base64 makes of a key, with some room for what stands around all of them.
_PAGE_KEYS = (_PAGE_BYTES - 1_000) * 3 // 4 // _KEY_BYTES


@dataclass(slots=True)
class _Page:
    """Done items that are kept under one key of the store, with their results if those are kept too."""

    number: int
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    results: list[str] = field(default_factory=list)
    size: int = 0


class Checkpoint(KeptPages[_Page]):
    """
    The done items of one piece of work; see :class:`~airflow_provider_async.core.kept.Kept` for the other parameters.

    :param keeps_results: whether the results of done items are kept, too.
    :ivar done: the items that earlier tries have done.
    """

    kind = "checkpoint"

    def __init__(
        self, store: CheckpointStore, name: str, *, identity: str, attempt: int, keeps_results: bool = False
    ) -> None:
        super().__init__(store, name, identity=identity, attempt=attempt)
        self.done = KeySet()
        self._keeps_results = keeps_results
        self._results: dict[int, str] = {}

    def _make_page(self, number: int) -> _Page:
        return _Page(number)

    def _forget(self) -> None:
        super()._forget()
        self.done, self._results = KeySet(), {}

    async def _read(self) -> None:
        hashes: list[int] = []
        async for page in self._pages():
            found = decode_keys(str(page.get("keys")))
            hashes.extend(found)
            if self._keeps_results:
                results = page.get("results")
                if not isinstance(results, list) or len(results) != len(found):
                    raise Unusable("it was written without results")
                self._results.update(zip(found, map(json.dumps, results), strict=True))
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
            page = self._turn_page()
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

    def _content(self, page: _Page) -> dict[str, JSON]:
        content: dict[str, JSON] = {"keys": encode_keys(page.hashes)}
        if self._keeps_results:
            content["results"] = [json.loads(text) for text in page.results]
        return content


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
