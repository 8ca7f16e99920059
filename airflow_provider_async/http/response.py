# SPDX-License-Identifier: Apache-2.0
"""An answer that was read as a whole, and what its JSON is decoded to."""

from __future__ import annotations

import codecs
import contextlib
import functools
import re
from typing import TYPE_CHECKING, Any, TypeVar, overload

import msgspec

from airflow_provider_async.errors import InvalidBody

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yarl import URL

    from airflow_provider_async.http.redaction import Redactor

__all__ = ["NOT_JSON", "Response"]

#: What msgspec raises for what is no JSON, or not of the type.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError)

T = TypeVar("T")

#: What msgspec says at the end of the sentence.
_PLACE = re.compile(r" \(byte (\d+)\)$")

_CHARSET = re.compile(r"charset=[\"']?([\w.:-]+)", re.IGNORECASE)

#: How much of the body stands in the error, in characters.
_EXCERPT = 200


class Response:
    """
    An answer that was read as a whole.

    :ivar status: such as 200.
    :ivar headers: found in any case.
    :ivar body: the bytes, decoded.
    """

    __slots__ = ("_redactor", "_url", "body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], url: URL, body: bytes, redactor: Redactor) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self._url = url
        self._redactor = redactor

    @property
    def url(self) -> str:
        """Where the answer came from, after redirects."""
        return str(self._url)

    @overload
    def json(self) -> Any: ...  # noqa: ANN401 - JSON

    @overload
    def json(self, type: type[T]) -> T: ...

    def json(self, type: Any = Any) -> Any:  # noqa: A002
        """
        Decode the body.

        :param type: what it has to be: a ``msgspec.Struct``, a dataclass, a ``TypedDict``, or a collection of such.
        :raises InvalidBody: if it is no JSON, or not of that shape; with the place and the body's beginning.
        """
        try:
            return _decoder(type).decode(self.body)
        except NOT_JSON as error:
            return self._decode_otherwise(type, error)

    def text(self, encoding: str | None = None) -> str:
        """
        Decode the body as a text.

        :param encoding: by default what the answer says, or UTF-8; what cannot be decoded is replaced.
        """
        return self.body.decode(encoding or self._charset or "utf-8-sig", "replace")

    @property
    def _charset(self) -> str | None:
        found = _CHARSET.search(self.headers.get("Content-Type", ""))
        try:
            return codecs.lookup(found[1]).name if found else None
        except LookupError:
            return None

    def _decode_otherwise(self, kind: Any, error: Exception) -> Any:  # noqa: ANN401 - JSON
        """Decode JSON that is not UTF-8, against the standard (RFC 8259, section 8.1), or say what is wrong with it."""
        body = self.body
        if not isinstance(error, msgspec.ValidationError):
            with contextlib.suppress(UnicodeError):
                body = body.decode(self._charset or "utf-8-sig").removeprefix("\ufeff").encode()
            try:
                return _decoder(kind).decode(body)
            except NOT_JSON as second:
                error = second
        where = self._redactor.url(self._url)
        if isinstance(error, msgspec.ValidationError):
            raise InvalidBody(self._redactor.text(f"{where} answered with JSON of another shape: {error}")) from None
        problem = f"{_problem(error, body)}; the body begins with {self._redactor.excerpt(body, _EXCERPT)!r}"
        raise InvalidBody(f"{where} answered with no valid JSON: {problem}") from None

    def __repr__(self) -> str:
        return f"<Response {self.status}: {len(self.body)} bytes>"


@functools.lru_cache(maxsize=128)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:  # noqa: ANN401 - any type
    return msgspec.json.Decoder(kind)


def _problem(error: Exception, body: bytes) -> str:
    sentence = f"{error.reason} (byte {error.start})" if isinstance(error, UnicodeDecodeError) else str(error)
    place = _PLACE.search(sentence)
    offset = int(place[1]) if place is not None else len(body)
    before = body[:offset]
    line, column = before.count(b"\n") + 1, offset - (before.rfind(b"\n") + 1) + 1
    return f"{sentence if place is None else sentence[: place.start()]} at byte {offset} (line {line}, column {column})"
