# SPDX-License-Identifier: Apache-2.0
"""Many bytes as the body of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp.payload import Payload

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

__all__ = ["Piece"]

_PORTION_BYTES = 256 * 1024


class Piece(Payload):
    """
    Bytes that are sent portion by portion, and from their beginning each time.

    aiohttp sends a request by itself again that a kept connection has lost, and older ones then go on with a file, or
    with ``io.BytesIO``, where that was; of bytes as such it warns that they take long.

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
