# SPDX-License-Identifier: Apache-2.0
"""Bodies of any length, as bytes, lines, JSON or rows of CSV."""

from __future__ import annotations

import codecs
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, AnyStr, TypeAlias, TypeVar, overload

import msgspec

from airflow_provider_async.errors import BodyTooLarge, InvalidBody
from airflow_provider_async.http.bodies import decoded
from airflow_provider_async.http.failures import FAILURES
from airflow_provider_async.http.lines import BadRowError, Rows, unpacked, whole_lines
from airflow_provider_async.http.response import NOT_JSON

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.http.sender import Sender
    from airflow_provider_async.http.transport import Call

__all__ = ["Stream"]

T = TypeVar("T")

#: A method has the name of the type.
Data: TypeAlias = bytes

#: How much of a line stands in an error.
_EXCERPT = 200


class Stream:
    """
    The body of an answer, which arrives while one of the methods is iterated over; each of these sends the request.

    A file that is compressed itself, as ``export.jsonl.gz`` is, is decompressed by all but :meth:`bytes`.

    :param sender: sends the request.
    :param call: the request.
    :param retry: another policy.
    :param attach: told of each iterator, which has to end before the connections are closed.
    """

    def __init__(
        self,
        sender: Sender,
        call: Call,
        *,
        retry: Retry | None,
        attach: Callable[[AsyncGenerator[object, None]], object],
    ) -> None:
        self._sender = sender
        self._call = call
        self._retry = retry
        self._attach = attach

    def bytes(self) -> AsyncGenerator[Data, None]:
        """
        Iterate over the bytes as they arrive, in pieces of any size.

        :raises HTTPStatusError: if the status is 400 or above.
        :raises ConnectionFailed: if the body is cut short.
        :raises OperationTimeout: if nothing comes for too long.
        :raises BodyTooLarge: if it becomes more than 200 times as large when it is decoded.
        """
        return self._attached(self._bytes())

    def lines(self, encoding: str = "utf-8-sig") -> AsyncGenerator[str, None]:
        """
        Iterate over lines, without their ends. Raises what :meth:`bytes` does.

        :param encoding: of the text.
        :raises InvalidBody: if the text is not of that encoding.
        """
        return self._attached(self._lines(encoding))

    @overload
    def json_lines(self) -> AsyncGenerator[Any, None]: ...

    @overload
    def json_lines(self, type: type[T]) -> AsyncGenerator[T, None]: ...

    def json_lines(self, type: Any = Any) -> AsyncGenerator[Any, None]:  # noqa: A002 - msgspec's name for it
        """
        Iterate over values of JSON, one on each line; empty lines are left out. Raises what :meth:`bytes` does.

        :param type: what each has to be, as for ``get_json``.
        :raises InvalidBody: with the number of the line that is not such a value, and its beginning.
        """
        return self._attached(self._json_lines(msgspec.json.Decoder(type)))

    def csv(
        self,
        *,
        delimiter: str = ",",
        quotechar: str = '"',
        fieldnames: Sequence[str] | None = None,
        encoding: str = "utf-8-sig",
    ) -> AsyncGenerator[dict[str, str], None]:
        """
        Iterate over rows of CSV, as texts by the names of their columns. Raises what :meth:`bytes` does.

        :param delimiter: what stands between two fields.
        :param quotechar: what stands around a field that has a delimiter or a line's end in it; doubled for itself.
        :param fieldnames: the names of the columns; by default in the first row.
        :param encoding: of the text.
        :raises InvalidBody: if a row has fewer or more fields than there are names, with its number.
        """
        return self._attached(self._rows(Rows(delimiter, quotechar, fieldnames), encoding))

    def _attached(self, iterator: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        self._attach(iterator)
        return iterator

    async def _bytes(self) -> AsyncGenerator[Data, None]:
        turn, response = await self._sender.open(self._call, retry=self._retry)
        try:
            async with aclosing(decoded(response)) as portions:
                async for portion in portions:
                    yield portion
        except FAILURES as error:
            raise self._sender.failure(self._call, error) from None
        finally:
            self._sender.close(turn)

    async def _unpacked(self) -> AsyncGenerator[Data, None]:
        try:
            async with aclosing(unpacked(self._bytes())) as portions:
                async for portion in portions:
                    yield portion
        except FAILURES as error:
            raise self._sender.failure(self._call, error) from None

    async def _text(self, encoding: str) -> AsyncGenerator[str, None]:
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            async with aclosing(self._unpacked()) as portions:
                async for portion in portions:
                    yield decoder.decode(portion)
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise InvalidBody(
                f"{self._sender.describe(self._call)}: the body is not in {encoding}: {error.reason}"
            ) from None

    async def _lines(self, encoding: str) -> AsyncGenerator[str, None]:
        async with aclosing(self._batches(self._text(encoding), "\n")) as batches:
            async for batch in batches:
                for line in batch:
                    yield line.removesuffix("\r")

    async def _json_lines(self, decoder: msgspec.json.Decoder[Any]) -> AsyncGenerator[Any, None]:
        number = 0
        async with aclosing(self._batches(self._unpacked(), b"\n")) as batches:
            async for batch in batches:
                for line in batch:
                    number += 1
                    text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                    if not text.strip():
                        continue
                    try:
                        value = decoder.decode(text)
                    except NOT_JSON as error:
                        raise self._bad_line(number, text, error) from None
                    yield value

    async def _rows(self, rows: Rows, encoding: str) -> AsyncGenerator[dict[str, str], None]:
        try:
            async with aclosing(self._batches(self._text(encoding), "\n")) as batches:
                async for batch in batches:
                    for row in rows.read(batch):
                        yield row
            rows.end()
        except BadRowError as error:
            raise InvalidBody(f"{self._sender.describe(self._call)}: row {rows.number}: {error}") from None

    async def _batches(self, pieces: AsyncGenerator[AnyStr, None], end: AnyStr) -> AsyncGenerator[list[AnyStr], None]:
        try:
            async with aclosing(whole_lines(pieces, end, self._sender.options.max_body_bytes)) as batches:
                async for batch in batches:
                    yield batch
        except BodyTooLarge as error:
            raise self._sender.failure(self._call, error) from None

    def _bad_line(self, number: int, line: Data, error: Exception) -> InvalidBody:
        redactor = self._sender.redactor
        what = f"{self._sender.describe(self._call)}: line {number}"
        if isinstance(error, msgspec.ValidationError):
            return InvalidBody(redactor.text(f"{what} has another shape: {error}"))
        return InvalidBody(f"{what} is no valid JSON: {error}; it begins with {redactor.excerpt(line, _EXCERPT)!r}")
