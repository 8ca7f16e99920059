# SPDX-License-Identifier: Apache-2.0
"""What a server answers (RFC 5321, section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ProtocolError", "Reply", "ReplyReader"]

#: RFC 5321, section 4.5.3.1.5 allows 512 octets for a line; servers take liberties, but not without end.
_MOST_BYTES = 64 * 1024

_TEXT_CHARACTERS = 1000

#: RFC 5321, section 4.2: the first digit of a reply is 2 to 5. A lookup is cheaper than a conversion.
_CODES = {b"%d" % code: code for code in range(200, 600)}


class ProtocolError(Exception):
    """What the server sent is no answer, or none to what was asked: nothing can be told about what follows."""


class Reply(NamedTuple):
    """
    One answer.

    :param code: of three digits.
    :param text: what stands behind it, on one line.
    """

    code: int
    text: str

    @property
    def is_positive(self) -> bool:
        """Whether it says yes."""
        return self.code < 300  # noqa: PLR2004 - 2xx

    @property
    def is_intermediate(self) -> bool:
        """Whether it asks for more (3xx)."""
        return 300 <= self.code < 400  # noqa: PLR2004 - 3xx

    @property
    def is_final(self) -> bool:
        """Whether it is a no that will be one the next time too (5xx)."""
        return self.code >= 500  # noqa: PLR2004 - 5xx


class ReplyReader:
    """Cuts what arrives, in pieces of any size, into replies."""

    def __init__(self) -> None:
        self._rest = b""
        self._lines: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Iterator[Reply]:
        """
        Yield the replies that are complete.

        :param data: what arrived.
        :raises ProtocolError: if it is no reply.
        """
        if self._rest:
            data = self._rest + data
        *lines, rest = data.split(b"\n")
        self._rest = rest
        if len(rest) > _MOST_BYTES:
            raise ProtocolError("an answer has no end")
        for line in lines:
            code = _CODES.get(line[:3])
            separator = line[3:4]
            if code is None or separator not in b" -\r":
                raise ProtocolError(f"this is no answer of SMTP: {_text([line])!r}")
            self._lines.append(line[4:])
            if separator == b"-":
                self._size += len(line)
                if self._size > _MOST_BYTES:
                    raise ProtocolError("an answer has no end")
                continue
            said, self._lines, self._size = self._lines, [], 0
            yield Reply(code, _text(said))


def _text(lines: list[bytes]) -> str:
    line = lines[0] if len(lines) == 1 else b" ".join(line.strip() for line in lines)
    text = line.strip()[:_TEXT_CHARACTERS].decode("utf-8", "replace")
    # It goes into logs and terminals.
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
