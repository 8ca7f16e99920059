# SPDX-License-Identifier: Apache-2.0
"""Lines and rows of what arrives in pieces of any size."""

from __future__ import annotations

import csv
from contextlib import aclosing
from typing import TYPE_CHECKING, AnyStr

from airflow_provider_async.errors import BodyTooLarge
from airflow_provider_async.http.bodies import Decoder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

__all__ = ["BadRowError", "Rows", "unpacked", "whole_lines"]

#: RFC 1952. No text in UTF-8 begins so.
_GZIP_MAGIC = b"\x1f\x8b"


async def unpacked(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """
    Iterate over the bytes of what may be a gzip file.

    :raises InvalidBody: if it begins as one and is none.
    :raises BodyTooLarge: if it becomes too large for what it is.
    :raises ConnectionFailed: if it has no end.
    """
    unpack: Decoder | None = None
    beginning: bytes | None = b""
    async with aclosing(pieces) as source:
        async for piece in source:
            portion = piece
            if beginning is not None:
                portion = beginning = beginning + piece
                if len(beginning) < len(_GZIP_MAGIC) and _GZIP_MAGIC.startswith(beginning):
                    continue
                unpack = Decoder("gzip") if beginning.startswith(_GZIP_MAGIC) else None
                beginning = None
            if unpack is None:
                yield portion
            else:
                for inner in unpack.decode(portion):
                    yield inner
    if beginning:
        yield beginning
    if unpack is not None:
        unpack.end()


async def whole_lines(
    pieces: AsyncGenerator[AnyStr, None], end: AnyStr, max_length: int
) -> AsyncGenerator[list[AnyStr], None]:
    """
    Iterate over lists of lines, without their ends.

    :param pieces: of bytes or text.
    :param end: of a line. ``splitlines`` would also split where no file of lines does, such as at U+2028.
    :param max_length: of a line that does not come at once.
    :raises BodyTooLarge: if a line is longer.
    """
    rest: list[AnyStr] = []
    nothing, length = end[:0], 0
    async with aclosing(pieces) as source:
        async for piece in source:
            lines: list[AnyStr] = piece.split(end)
            last = lines.pop()
            if lines:
                rest.append(lines[0])
                lines[0] = nothing.join(rest)
                rest, length = [], 0
                yield lines
            if last:
                rest.append(last)
                length += len(last)
                if length > max_length:
                    raise BodyTooLarge(f"a line is longer than {max_length}")
    if rest:
        yield [nothing.join(rest)]


class BadRowError(Exception):
    """A row that does not fit."""


class Rows:
    """
    Makes rows of lines, some of which may end in the middle of a quoted field.

    :param delimiter: what stands between two fields.
    :param quotechar: what stands around a field.
    :param fieldnames: the names of the columns; ``None`` if they are in the first row.
    :ivar number: of the row that was read last, the one with the names included.
    """

    def __init__(self, delimiter: str, quotechar: str, fieldnames: Sequence[str] | None) -> None:
        self._delimiter = delimiter
        self._quotechar = quotechar
        self._names = None if fieldnames is None else list(fieldnames)
        self._open: list[str] = []
        self.number = 0

    def read(self, lines: list[str]) -> list[dict[str, str]]:
        """
        Return the rows that are complete.

        :param lines: the next ones, without their ends.
        :raises BadRowError: if one does not fit.
        """
        whole: list[str] = []
        pending = self._open
        for line in lines:
            pending.append(f"{line}\n")
            # A quote within a field is doubled, so that the number of quotes is even wherever a row ends.
            if (line.count(self._quotechar) % 2 == 0) == (len(pending) == 1):
                whole += pending
                pending = []
        self._open = pending
        rows: list[dict[str, str]] = []
        reader = csv.reader(whole, delimiter=self._delimiter, quotechar=self._quotechar, strict=True)
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return rows
            except csv.Error as error:
                self.number += 1
                raise BadRowError(str(error)) from None
            if not fields:
                continue
            self.number += 1
            if self._names is None:
                self._names = fields
                continue
            if len(fields) != len(self._names):
                raise BadRowError(f"it has {len(fields)} fields, and there are {len(self._names)} columns")
            rows.append(dict(zip(self._names, fields, strict=True)))

    def end(self) -> None:
        """
        Note that there are no more lines.

        :raises BadRowError: if the last row has no end.
        """
        if self._open:
            self.number += 1
            raise BadRowError("a quoted field has no end")
