# SPDX-License-Identifier: Apache-2.0
"""What can be kept of a piece of work, and what keeps it."""

from __future__ import annotations

from typing import Protocol, TypeAlias

__all__ = ["JSON", "CheckpointStore"]

#: What JSON can say.
JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


class CheckpointStore(Protocol):
    """Where checkpoints are kept: strings under keys, each replaced as a whole."""

    async def get(self, key: str) -> str | None:
        """Return what is kept under a key, if there is anything."""

    async def set(self, key: str, value: str) -> None:
        """Keep a value under a key, in place of any other."""

    async def delete(self, key: str) -> None:
        """Remove what is kept under a key, if there is anything."""
