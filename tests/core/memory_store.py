# SPDX-License-Identifier: Apache-2.0
"""A store for checkpoints that can be killed, or fail."""

from __future__ import annotations

import asyncio


class MemoryStore:
    """Keeps values, unless it is frozen: then the process that uses it has been killed."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.is_frozen = False
        self.error: Exception | None = None
        self.writes = 0

    async def get(self, key: str) -> str | None:
        return self.values.get(key)

    async def set(self, key: str, value: str) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if not self.is_frozen:
            self.values[key] = value
            self.writes += 1

    async def delete(self, key: str) -> None:
        if self.error is not None:
            raise self.error
        if not self.is_frozen:
            self.values.pop(key, None)
