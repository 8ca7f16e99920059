# SPDX-License-Identifier: Apache-2.0
"""What tells one item from another, in eight bytes, and sets of millions of such keys."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from hashlib import blake2b
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Key", "KeySet", "hash_key", "key_of", "plain_key"]

#: What is a key by itself.
Key: TypeAlias = "str | int | tuple[Key, ...]"

#: As many keys are kept in a set, which is fast; the rest in an array, which takes eight bytes a key.
_RECENT_KEYS = 1 << 16


def key_of(item: object) -> Key:
    """
    Return what tells an item from others.

    A string, an integer and a tuple of such are their own keys; an object may have one as its attribute
    ``resume_key``, such as a file in a listing, whose size and time belong to it.

    :param item: the item.
    :raises TypeError: if it is none of these.
    """
    if type(item) is str:
        return item
    key = plain_key(getattr(item, "resume_key", item))
    if key is None:
        raise TypeError(
            f"{item!r} of type {type(item).__name__} has no key to resume by: give key=..., a function that makes a "
            "string, an integer or a tuple of these of an item"
        )
    return key


def plain_key(key: object) -> Key | None:
    """
    Return a key in Python's own types instead of subclasses of them.

    :param key: what may be one.
    :return: None if it is none.
    """
    kind = type(key)
    if kind is str or kind is int:
        return key  # type: ignore[return-value]
    if isinstance(key, tuple):
        for part in key:
            if type(part) is not str and type(part) is not int:
                break
        else:
            return tuple(key)
        parts = [plain_key(part) for part in key]
        return None if None in parts else tuple(parts)  # type: ignore[arg-type]
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, int) and kind is not bool:
        return int.__int__(key)
    return None


def hash_key(key: Key) -> int:
    """
    Return 64 bits of a key, the same in every process; ``1`` and ``"1"`` differ.

    Two of a million keys share them with a probability of three in a hundred million.

    :param key: of any length, in Python's own types.
    """
    # Names of files may have bytes that are no UTF-8. What is no string is written as Python does, which tells all keys
    # apart, behind a byte that no string begins with.
    data = key.encode("utf-8", "surrogatepass") if type(key) is str else b"\xff" + ascii(key).encode("ascii")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")


class KeySet:
    """
    A set of hashed keys, of which many take little more than eight bytes each.

    :param hashes: of its first keys.
    """

    def __init__(self, hashes: Iterable[int] = ()) -> None:
        self._sorted = array("Q")
        self._recent = set(hashes)
        self._merge_if_many()

    def __contains__(self, hashed: int) -> bool:
        return hashed in self._recent or (bool(self._sorted) and self._is_sorted_in(hashed))

    def __len__(self) -> int:
        return len(self._sorted) + len(self._recent)

    def __iter__(self) -> Iterator[int]:
        yield from self._sorted
        yield from self._recent

    def add(self, hashed: int) -> bool:
        """Add a key, and tell whether it is new."""
        recent = self._recent
        if hashed in recent or (self._sorted and self._is_sorted_in(hashed)):
            return False
        recent.add(hashed)
        if len(recent) >= _RECENT_KEYS:
            self._merge_if_many()
        return True

    def _is_sorted_in(self, hashed: int) -> bool:
        found = bisect_left(self._sorted, hashed)
        return found < len(self._sorted) and self._sorted[found] == hashed

    def _merge_if_many(self) -> None:
        # More seldom as it grows, so that this costs little for each key.
        if len(self._recent) >= max(_RECENT_KEYS, len(self._sorted) // 16):
            self._sorted = array("Q", sorted([*self._sorted, *self._recent]))
            self._recent = set()
