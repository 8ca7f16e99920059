# SPDX-License-Identifier: Apache-2.0
"""A store for checkpoints that can be killed, or fail."""

from __future__ import annotations

import asyncio


class MemoryStore:
    """
    Keeps values, unless it is frozen: then the process that uses it has been killed.

    ``error`` is raised for keys that begin with ``failing``. A write takes some ``seconds``, sets ``arrived``, and
    waits for ``room``, if that is an event.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.is_frozen = False
        self.error: Exception | None = None
        self.failing = ""
        self.seconds = 0.0
        self.room: asyncio.Event | None = None
        self.arrived = asyncio.Event()
        self.reads = 0
        self.writes = 0

    async def get(self, key: str) -> str | None:
        self.reads += 1
        return self.values.get(key)

    async def set(self, key: str, value: str) -> None:
        await asyncio.sleep(self.seconds)
        self.arrived.set()
        if self.room is not None:
            await self.room.wait()
        if self.error is not None and key.startswith(self.failing):
            raise self.error
        if not self.is_frozen:
            self.values[key] = value
            self.writes += 1

    async def delete(self, key: str) -> None:
        if self.error is not None:
            raise self.error
        if not self.is_frozen:
            self.values.pop(key, None)
