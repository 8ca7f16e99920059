# SPDX-License-Identifier: Apache-2.0
"""
QuickXorHash, by which OneDrive and SharePoint tell what is in a file.

https://learn.microsoft.com/onedrive/developer/code-snippets/quickxorhash: each byte is combined by exclusive or into a
circle of 160 bits, 11 bits further on than the byte before it; at the end the length is combined into the last 64 bits.
It finds errors of transfer. It is no protection against anyone who makes a file to fit.
"""

from __future__ import annotations

import base64
from typing import Final, TypeAlias

__all__ = ["QuickXorHash"]

Data: TypeAlias = "bytes | bytearray | memoryview"

_BITS: Final = 160
_SHIFT: Final = 11
_DIGEST_BYTES: Final = _BITS // 8

#: 11 and 160 have no divisor in common: after 160 bytes the circle is where it began.
_PERIOD: Final = 160

#: Combined at once, as one large number: bytes that are a multiple of the period apart fall on the same bits.
_PORTION_BYTES: Final = _PERIOD * 1024


class QuickXorHash:
    """
    A hash as those of ``hashlib`` are.

    :param data: its first bytes.
    """

    name = "quickXorHash"
    digest_size = _DIGEST_BYTES

    def __init__(self, data: Data = b"") -> None:
        self._columns = 0
        self._length = 0
        self.update(data)

    def update(self, data: Data) -> None:
        """Add bytes."""
        view = memoryview(data).cast("B")
        for at in range(0, len(view), _PORTION_BYTES):
            portion = view[at : at + _PORTION_BYTES]
            self._columns ^= int.from_bytes(portion, "little") << (self._length % _PERIOD * 8)
            self._length += len(portion)

    def digest(self) -> bytes:
        """Return the hash of what was added so far."""
        # As many periods as there are bytes.
        periods = -(-self._columns.bit_length() // (_PERIOD * 8))
        columns = self._columns.to_bytes(periods * _PERIOD, "little")
        column = 0
        for at in range(0, len(columns), _PERIOD):
            column ^= int.from_bytes(columns[at : at + _PERIOD], "little")
        circle = 0
        for number, byte in enumerate(column.to_bytes(_PERIOD, "little")):
            circle ^= byte << (number * _SHIFT % _BITS)
        # What a byte has beyond the end of the circle is at its beginning.
        circle = (circle ^ circle >> _BITS) & ((1 << _BITS) - 1)
        return (circle ^ (self._length << (_BITS - 64))).to_bytes(_DIGEST_BYTES, "little")

    def base64(self) -> str:
        """Return the hash as Microsoft Graph writes it."""
        return base64.b64encode(self.digest()).decode("ascii")
