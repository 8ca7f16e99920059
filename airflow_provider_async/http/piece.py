# SPDX-License-Identifier: Apache-2.0
"""
Many bytes as the body of a request.

aiohttp sends a request by itself again that a kept connection has lost. Older versions then go on with a file, or with
``io.BytesIO``, where that was; what is here is sent from its beginning each time.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp.payload import Payload

if TYPE_CHECKING:
    import os

    from aiohttp.abc import AbstractStreamWriter

__all__ = ["Piece", "WholeFile"]

_PORTION_BYTES = 256 * 1024


class Piece(Payload):
    """
    Bytes that are sent portion by portion; of bytes as such aiohttp warns that they take long.

    :param data: the bytes.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data, content_type="application/octet-stream")
        self._data = data
        self._size = len(data)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the bytes as a text, which aiohttp wants of each body."""
        return self._data.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all of them."""
        view = memoryview(self._data)
        for at in range(0, len(view), _PORTION_BYTES):
            await writer.write(view[at : at + _PORTION_BYTES])


class WholeFile(Payload):
    """
    A local file, read as it is sent.

    :param path: of the file.
    :param size: in bytes; no more is sent if the file grows meanwhile.
    """

    def __init__(self, path: str | os.PathLike[str], size: int) -> None:
        super().__init__(path, content_type="application/octet-stream")
        self._path = Path(path)
        self._size = size

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the file as a text, which aiohttp wants of each body."""
        return self._path.read_bytes().decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send all of it."""
        left = self._size
        with await asyncio.to_thread(self._path.open, "rb") as file:
            while left and (portion := await asyncio.to_thread(file.read, min(left, _PORTION_BYTES))):
                left -= len(portion)
                await writer.write(portion)
