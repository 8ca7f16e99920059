# SPDX-License-Identifier: Apache-2.0
"""
Headers of a message, folded and encoded so that a reader gets back what was put in, or refused.

The standard library folds headers too, but several of the versions in use lose the quotes around a name with a comma
when they encode it, so that one recipient becomes two. What is made here is short enough to be sure of.
"""

from __future__ import annotations

import re
from email.charset import QP, Charset
from email.header import Header
from typing import Final

from airflow_provider_async.errors import InvalidMessage

__all__ = ["CRLF", "Folded", "check_text", "encode_text", "encoded_words", "is_plain", "join_folded"]

CRLF: Final = "\r\n"

#: What a line should not exceed, and what it must not (RFC 5322, section 2.1.1), without CRLF.
LINE_LENGTH: Final = 78
_LONGEST_LINE: Final = 998

# C0 and C1 controls, and what Python takes for an end of line.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PRINTABLE = re.compile(r"[ -~]*")
# The first space of each run.
_SPACE = re.compile(r"(?<=[^ ]) ")

_UTF_8 = Charset("utf-8")
_UTF_8_READABLE = Charset("utf-8")
_UTF_8_READABLE.header_encoding = QP


class Folded(str):
    """The value of a header as it goes out: encoded, and with line ends where it is folded."""

    __slots__ = ()


def check_text(text: object, field: str) -> str:
    """
    Return a text that can be the value of a header.

    :param text: what should be one.
    :param field: what errors call it.
    :raises InvalidMessage: if it has a line end or another control character in it, which could begin another header.
    """
    if not isinstance(text, str):
        raise InvalidMessage(f"{field} must be a text, not of type {type(text).__name__}")
    if (found := _CONTROLS.search(text)) is not None:
        raise InvalidMessage(f"{field} has a control character in it (U+{ord(found[0]):04X}): {text[:80]!r}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidMessage(f"{field} has half a surrogate pair in it: {text[:80]!r}") from None
    return text


def is_plain(text: str) -> bool:
    """Tell whether a text can stand in a header as it is: ASCII, and nothing that a reader would decode."""
    return _PRINTABLE.fullmatch(text) is not None and "=?" not in text


def encode_text(name: str, text: str) -> Folded:
    """
    Encode the value of an unstructured header, such as Subject (RFC 5322, section 2.2.1, and RFC 2047).

    :param name: of the header.
    :param text: was checked; space at its ends is dropped.
    """
    text = text.strip()
    if not is_plain(text):
        return encoded_words(name, text)
    words = _SPACE.split(text)
    folded = join_folded(name, words, separator="")
    if max(map(len, folded.split(CRLF))) > _LONGEST_LINE - len(name) - 2:
        return encoded_words(name, text)
    return folded


def encoded_words(name: str, text: str) -> Folded:
    """
    Encode a text as encoded words in UTF-8, of at most 75 characters each (RFC 2047, section 2).

    :param name: of the header that it begins.
    :param text: was checked.
    """
    # ASCII stays readable; for everything else, the shorter of both encodings.
    charset = _UTF_8_READABLE if text.isascii() else _UTF_8
    return Folded(Header(text, charset, header_name=name).encode(linesep=CRLF))


def join_folded(name: str, parts: list[str], *, separator: str = ",") -> Folded:
    """
    Join parts by a separator and a space, with a line end before the space where a line would become too long.

    :param name: of the header.
    :param parts: of the value; none has a space at its end.
    :param separator: goes behind each but the last.
    """
    lines: list[str] = []
    line, room = "", LINE_LENGTH - len(name) - 2
    for index, part in enumerate(parts):
        # A part may itself be folded.
        first, *rest = (part if index == len(parts) - 1 else part + separator).split(f"{CRLF} ")
        if line and len(line) + 1 + len(first) > room:
            lines.append(line)
            line, room = first, LINE_LENGTH - 1
        else:
            line = f"{line} {first}" if line else first
        if rest:
            lines += [line, *rest[:-1]]
            line, room = rest[-1], LINE_LENGTH - 1
    return Folded(f"{CRLF} ".join([*lines, line]))
