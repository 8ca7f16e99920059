# SPDX-License-Identifier: Apache-2.0
"""
Bodies of answers: read within bounds, and decoded here instead of in aiohttp.

A few kilobytes can become gigabytes when they are decoded. Here each step gives no more than a portion, so that the
bound holds whatever the body, on every version of aiohttp.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from airflow_provider_async.errors import BodyTooLarge, ConnectionFailed, InvalidBody

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from aiohttp import ClientResponse

__all__ = ["ACCEPTED_ENCODINGS", "Decoder", "coding_of", "decoded", "read_body"]

#: What requests ask for, as the standard library can decode it.
ACCEPTED_ENCODINGS = "gzip, deflate"

_PORTION_BYTES = 256 * 1024

#: Deflate makes 1,032 bytes of one at most. Real data seldom become more than 50 times as large.
_MAX_RATIO = 200

#: Below this nobody minds the ratio.
_HARMLESS_BYTES = 16 * 1024 * 1024

_GZIP = 16 + zlib.MAX_WBITS
_RAW_DEFLATE = -zlib.MAX_WBITS


def coding_of(response: ClientResponse) -> str | None:
    """
    Return how a body is encoded: ``gzip``, ``deflate`` or ``None``.

    :raises InvalidBody: if it is something else, which no request here asks for.
    """
    value = response.headers.get("Content-Encoding")
    if value is None:
        return None
    coding = value.strip().lower().removeprefix("x-")
    if coding in ("", "identity"):
        return None
    if coding not in ("gzip", "deflate"):
        raise InvalidBody(f"the body is encoded as {value!r}, which was not asked for")
    return coding


class Decoder:
    """
    Decodes gzip (several members too) or deflate, a portion at a time.

    :param coding: ``gzip`` or ``deflate``, which is zlib's format or, at some servers, the bare one.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._inner: zlib._Decompress | None = None
        self._taken = 0
        self._given = 0

    def decode(self, data: bytes) -> Iterator[bytes]:
        """
        Yield what a piece of the body stands for, in portions of 256 KiB at most.

        :raises InvalidBody: if it cannot be decoded.
        :raises BodyTooLarge: if it becomes too large for what it is.
        """
        self._taken += len(data)
        while data:
            if self._inner is None:
                self._inner = self._begin(data)
            try:
                portion = self._inner.decompress(data, _PORTION_BYTES)
            except zlib.error as error:
                raise InvalidBody(f"the body is no valid {self._coding}: {error}") from None
            self._given += len(portion)
            if self._given > _HARMLESS_BYTES and self._given > self._taken * _MAX_RATIO:
                raise BodyTooLarge(
                    f"{self._taken} bytes of {self._coding} have become {self._given}, more than {_MAX_RATIO} "
                    "times as many, and there is more"
                )
            if portion:
                yield portion
            data = self._inner.unconsumed_tail
            if self._inner.eof:
                # Another member may follow; zeros are padding (RFC 1952 allows neither in a body, but servers do it).
                data = self._inner.unused_data.lstrip(b"\0") if self._coding == "gzip" else b""
                self._inner = None if data or self._coding == "gzip" else self._inner

    def end(self) -> None:
        """
        Note the end of the body.

        :raises ConnectionFailed: if something is missing.
        """
        if self._inner is not None and not self._inner.eof:
            raise ConnectionFailed(f"the body was cut short: the {self._coding} has no end")

    def _begin(self, data: bytes) -> zlib._Decompress:
        if self._coding == "gzip":
            return zlib.decompressobj(_GZIP)
        # RFC 1950: the first byte of zlib's format.
        has_header = data[0] & 0x0F == zlib.DEFLATED
        return zlib.decompressobj(zlib.MAX_WBITS if has_header else _RAW_DEFLATE)


async def decoded(response: ClientResponse) -> AsyncGenerator[bytes, None]:
    """
    Iterate over the bytes of a body as they arrive, decoded.

    :raises InvalidBody: if they cannot be decoded.
    :raises BodyTooLarge: if they become too many for what they are.
    :raises ConnectionFailed: if the code has no end.
    """
    coding = coding_of(response)
    decoder = None if coding is None else Decoder(coding)
    while data := await response.content.readany():
        if decoder is None:
            yield data
        else:
            for portion in decoder.decode(data):
                yield portion
    if decoder is not None:
        decoder.end()


async def read_body(response: ClientResponse, max_bytes: int) -> bytes:
    """
    Read a whole body, decoded.

    :param response: the answer.
    :param max_bytes: how long it may be.
    :raises BodyTooLarge: if it is longer.
    :raises InvalidBody: if it cannot be decoded.
    :raises ConnectionFailed: if the code has no end.
    """
    length = response.content_length
    if "Content-Encoding" not in response.headers and length is not None:
        if length > max_bytes:
            raise _too_large(max_bytes)
        return await response.read()
    portions = []
    size = 0
    async for portion in decoded(response):
        size += len(portion)
        if size > max_bytes:
            raise _too_large(max_bytes)
        portions.append(portion)
    return portions[0] if len(portions) == 1 else b"".join(portions)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is longer than {max_bytes} bytes; read it with stream(), or raise max_body_bytes")
