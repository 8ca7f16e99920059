# SPDX-License-Identifier: Apache-2.0
"""What uses a pool: it ends before the pool closes, and may follow the pool's limit."""

from __future__ import annotations

import asyncio
import weakref
from typing import Protocol

__all__ = ["Attached", "Closeable", "Limited"]


class Closeable(Protocol):
    """An iterator, or whatever else is ended."""

    async def aclose(self) -> None:
        """End, and return when that is done."""


class Limited(Protocol):
    """What does so many things at once."""

    limit: int


class Attached:
    """What is attached to one pool, for as long as somebody else refers to it."""

    def __init__(self) -> None:
        self._iterators: weakref.WeakSet[Closeable] = weakref.WeakSet()
        self._followers: weakref.WeakKeyDictionary[Limited, int] = weakref.WeakKeyDictionary()

    def add(self, iterator: Closeable) -> None:
        """Have it ended with the pool."""
        self._iterators.add(iterator)

    def follow(self, follower: Limited, most: int) -> None:
        """Have its limit changed with the pool's, up to ``most``."""
        self._followers[follower] = most

    def set_limit(self, limit: int) -> None:
        """Change the limit of those who follow it."""
        for follower, most in self._followers.items():
            follower.limit = min(limit, most)

    async def aclose(self) -> None:
        """End everything, whatever comes of it."""
        await asyncio.gather(*(iterator.aclose() for iterator in self._iterators), return_exceptions=True)
