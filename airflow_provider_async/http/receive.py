# SPDX-License-Identifier: Apache-2.0
"""How the body of an answer is received into the part of a file, from where an earlier attempt has stopped."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from typing import TYPE_CHECKING

from airflow_provider_async.errors import ConnectionFailed, HTTPStatusError
from airflow_provider_async.http.bodies import decoded
from airflow_provider_async.http.policy import http_date

if TYPE_CHECKING:
    from aiohttp import ClientResponse

    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.http.caller import Caller
    from airflow_provider_async.http.parts import Part
    from airflow_provider_async.http.transport import Call

__all__ = ["Receiver"]

_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416

#: RFC 9110, section 14.4: `bytes 100-199/200`, or `bytes */200`.
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")

#: Written at once, in another thread.
_PORTION_BYTES = 1024 * 1024


class Receiver:
    """
    Receives bodies, each of which goes on where it was cut off if the server says that it still is the same.

    :param sender: sends the requests.
    :param retry: another policy.
    :param tally: counts bytes.
    """

    def __init__(self, sender: Caller, *, retry: Retry | None, tally: Tally) -> None:
        self._sender = sender
        self._retry = retry
        self._tally = tally

    async def receive(self, call: Call, part: Part) -> int:
        """
        Receive what is not there yet.

        :param call: asks for all of it; which range of it is asked for is said here.
        :param part: where it goes.
        :raises HTTPStatusError: if the status is 400 or above.
        :raises ConnectionFailed: if the body was cut short at each attempt.
        :return: how long the whole is, in bytes.
        """
        sender = self._sender
        call.timeout = sender.unbounded

        async def consume(response: ClientResponse) -> None:
            try:
                await self._write(response, part)
            finally:
                call.headers = part.range_headers()

        call.headers = part.range_headers()
        try:
            await sender.run(call, consume, retry=self._retry)
        except HTTPStatusError as error:
            # What is here is all there is; or it has become shorter, and is something else.
            if error.status != _RANGE_NOT_SATISFIABLE or not part.length:
                raise
            if _total(error.headers.get("Content-Range")) != part.length:
                part.restart(None)
                call.headers = part.range_headers()
                await sender.run(call, consume, retry=self._retry)
        return part.length

    async def _write(self, response: ClientResponse, part: Part) -> None:
        total = None
        if response.status == _PARTIAL_CONTENT:
            total = _total_from(response.headers.get("Content-Range"), part.length)
            if total is None:
                part.restart(None)
                raise ConnectionFailed("the answer begins elsewhere than it was asked to")
        else:
            # Of what the server encodes although it was asked not to, no range can be asked for.
            is_encoded = "Content-Encoding" in response.headers
            part.restart(None if is_encoded else _validator(response))
        part.modified = http_date(response.headers.get("Last-Modified", ""))
        waiting: list[bytes] = []
        size = 0
        try:
            async with aclosing(decoded(response)) as portions:
                async for portion in portions:
                    waiting.append(portion)
                    size += len(portion)
                    if size >= _PORTION_BYTES:
                        await self._store(part, waiting, size)
                        waiting, size = [], 0
        finally:
            if waiting:
                part.write(waiting)
                self._tally.bytes += size
        if total is not None and part.length != total:
            raise ConnectionFailed(f"the body was cut short: {part.length} of {total} bytes are there")

    async def _store(self, part: Part, waiting: list[bytes], size: int) -> None:
        await asyncio.to_thread(part.write, waiting)
        self._tally.bytes += size


def _validator(response: ClientResponse) -> str | None:
    """Return what tells this version from others byte by byte (RFC 9110, section 13.1.5): a weak tag does not."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else None


def _total_from(content_range: str | None, start: int) -> int | None:
    found = _CONTENT_RANGE.fullmatch((content_range or "").strip())
    return int(found[3]) if found is not None and found[1] is not None and int(found[1]) == start else None


def _total(content_range: str | None) -> int | None:
    found = _CONTENT_RANGE.fullmatch((content_range or "").strip())
    return None if found is None else int(found[3])
