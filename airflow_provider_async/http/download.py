# SPDX-License-Identifier: Apache-2.0
"""How what a URL gives becomes a file on this side."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args
from urllib.parse import unquote, urlsplit

from airflow_provider_async.errors import ConnectionFailed, HTTPStatusError, UnsafePath
from airflow_provider_async.http.bodies import decoded
from airflow_provider_async.http.parts import Part, open_part
from airflow_provider_async.http.policy import http_date

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import ClientResponse

    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.http.caller import Caller

__all__ = ["Download", "DownloadedFile", "Existing"]

#: What is done with a file that is there already.
Existing: TypeAlias = Literal["overwrite", "skip", "error"]

_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416

#: RFC 9110, section 14.4: `bytes 100-199/200`, or `bytes */200`.
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+)")

#: Written at once, in another thread.
_PORTION_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class DownloadedFile:
    """
    A file that was downloaded.

    :param url: where it came from, as it was given.
    :param path: where it is.
    :param size: in bytes.
    :param skipped: whether it was there already.
    """

    url: str
    path: Path
    size: int
    skipped: bool = False


class Download:
    """
    The downloads of one call into one folder.

    A file appears there when it is complete. What came of one that fails is kept beside its final name, and the next
    attempt, be it in another process, goes on from there if the server says that it still is the same.

    :param sender: sends the requests.
    :param folder: made if it is missing.
    :param name: makes of a URL the file's name, relative to the folder; by default the last part of the URL's path.
    :param existing: what happens to a file that is there.
    :param retry: another policy.
    :param tally: counts bytes, and files that were skipped.
    """

    def __init__(
        self,
        sender: Caller,
        folder: str | os.PathLike[str],
        *,
        name: Callable[[str], str] | None,
        existing: Existing,
        retry: Retry | None,
        tally: Tally,
    ) -> None:
        if existing not in get_args(Existing):
            raise ValueError(f"existing must be one of {', '.join(get_args(Existing))}, not {existing!r}")
        self._sender = sender
        self._folder = Path(folder)
        self._name = name or _name_of
        self._existing = existing
        self._retry = retry
        self._tally = tally
        self._taken: dict[Path, str] = {}

    async def __call__(self, url: str) -> DownloadedFile:
        """
        Download one file.

        :raises HTTPStatusError: if the status is 400 or above.
        :raises ConnectionFailed: if the body was cut short at each attempt.
        :raises OSError: if the file cannot be written, or exists and must not.
        :raises UnsafePath: if it would be outside of the folder, or replace the file of another URL.
        """
        path = self._path(url)
        if self._existing != "overwrite" and self._is_there(path):
            self._tally.skipped += 1
            return DownloadedFile(url, path, path.stat().st_size, skipped=True)
        with open_part(path, url) as part:
            size = await self._receive(url, part)
            if self._existing == "error":
                self._is_there(path)
            part.finish(path)
        return DownloadedFile(url, path, size)

    def _is_there(self, path: Path) -> bool:
        is_there = os.path.lexists(path)
        if is_there and self._existing == "error":
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        return is_there

    def _path(self, url: str) -> Path:
        name = self._name(url)
        parts = name.split("/")
        if not name or "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise UnsafePath(f"{urlsplit(url).path!r} gives no name of a file: {name!r}; give name=..., a function")
        path = self._folder.joinpath(*parts)
        other = self._taken.setdefault(path, url)
        if other != url:
            raise UnsafePath(f"two URLs give a file of the name {name!r}; give name=..., a function")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Before anything is written: a link that lies in the folder could lead anywhere.
        if not path.parent.resolve().is_relative_to(self._folder.resolve()):
            raise UnsafePath(f"'{path}' leads out of '{self._folder}' through a link")
        return path

    async def _receive(self, url: str, part: Part) -> int:
        sender = self._sender
        call = sender.call("GET", url)
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


def _name_of(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])


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
