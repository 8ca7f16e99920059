# SPDX-License-Identifier: Apache-2.0
"""What tells one item from another, in eight bytes, and sets of millions of such keys."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Key", "KeySet", "hash_key", "key_of"]

#: What is a key by itself.
Key: TypeAlias = "str | int | tuple[Key, ...]"

#: As many keys are kept in a set, which is fast to add to; the rest in an array, which takes eight bytes a key.
_RECENT_KEYS = 4096


def key_of(item: object) -> Key:
    """
    Return what tells an item from others.

    A string, an integer and a tuple of such are their own keys; an object may have one as its attribute
    ``resume_key``, such as a file in a listing, whose size and time belong to it.

    :param item: the item.
    :raises TypeError: if it is none of these.
    """
    key = getattr(item, "resume_key", item)
    if not _is_key(key):
        raise TypeError(
            f"{item!r} of type {type(item).__name__} has no key to resume by: give key=..., a function that makes a "
            "string, an integer or a tuple of these of an item"
        )
    return key  # type: ignore[return-value]


def _is_key(key: object) -> bool:
    if isinstance(key, tuple):
        return all(map(_is_key, key))
    return isinstance(key, (str, int)) and not isinstance(key, bool)


def hash_key(key: Key) -> int:
    """
    Return 64 bits of a key, the same in every process; ``1`` and ``"1"`` differ.

    Two of a million keys share them with a probability of three in a hundred million.

    :param key: of any length.
    """
    return int.from_bytes(hashlib.blake2b(_encode(key), digest_size=8).digest(), "little")


def _encode(key: Key) -> bytes:
    if isinstance(key, str):
        # Names of files may have bytes that are no UTF-8.
        return b"s" + key.encode("utf-8", "surrogateescape")
    if isinstance(key, int):
        return b"i%d" % key
    parts = [_encode(part) for part in key]
    return b"t" + b"".join(b"%d:%b" % (len(part), part) for part in parts)


class KeySet:
    """
    A set of hashed keys that takes little more than eight bytes for each.

    :param hashes: of its first keys.
    """

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._sorted = array("Q", sorted(set(hashes)))
        self._recent: set[int] = set()

    def __contains__(self, hashed: int) -> bool:
        if hashed in self._recent:
            return True
        found = bisect_left(self._sorted, hashed)
        return found < len(self._sorted) and self._sorted[found] == hashed

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __iter__(self) -> Iterator[int]:
        yield from self._sorted
        yield from self._recent

    def add(self, hashed: int) -> bool:
        """Add a key, and tell whether it is new."""
        if hashed in self:
            return False
        self._recent.add(hashed)
        # Merged more seldom as it grows, so that this costs little for each key.
        if len(self._recent) >= max(_RECENT_KEYS, len(self._sorted) // 16):
            self._sorted = array("Q", sorted([*self._sorted, *self._recent]))
            self._recent.clear()
        return True
