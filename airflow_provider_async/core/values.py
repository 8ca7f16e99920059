# SPDX-License-Identifier: Apache-2.0
"""Types of values: what can be kept of a piece of work, what keeps it, and what bounds it."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

__all__ = ["JSON", "CheckpointStore", "Concurrency", "Rate"]

#: What JSON can say.
JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

#: So many at once, or as many as are found out to be best.
Concurrency: TypeAlias = 'int | Literal["auto"]'

#: So many a second, or a number of them and the seconds in which they may be.
Rate: TypeAlias = "float | tuple[float, float]"


class CheckpointStore(Protocol):
    """Where checkpoints are kept: strings under keys, each replaced as a whole."""

    async def get(self, key: str) -> str | None:
        """Return what is kept under a key, if there is anything."""

    async def set(self, key: str, value: str) -> None:
        """Keep a value under a key, in place of any other."""

    async def delete(self, key: str) -> None:
        """Remove what is kept under a key, if there is anything."""
