# SPDX-License-Identifier: Apache-2.0
"""
How local files become files of a drive.

Small ones go in one request; others in an upload session, piece by piece, which goes on where Graph says that it is:
https://learn.microsoft.com/graph/api/driveitem-createuploadsession.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from urllib.parse import quote

from airflow_provider_async.errors import FileChanged, HTTPStatusError, InvalidBody, VerificationFailed
from airflow_provider_async.http.piece import Piece
from airflow_provider_async.msgraph.drive_download import preauthenticated
from airflow_provider_async.msgraph.drive_item import content_url, file_hash, item_of, session_url, url_of

if TYPE_CHECKING:
    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.http.response import Response
    from airflow_provider_async.msgraph.drive_item import DriveItem
    from airflow_provider_async.msgraph.sender import GraphSender

__all__ = ["CHUNK_BYTES", "Conflict", "DriveUpload", "UploadedItem", "local_key", "target_url"]

#: What is done if there is a file of that name.
Conflict: TypeAlias = Literal["replace", "fail", "rename"]

#: Pieces are multiples of 320 KiB, and less than 60 MiB.
_UNIT_BYTES = 320 * 1024
_MOST_CHUNK_BYTES = 60 * 1024 * 1024
CHUNK_BYTES = 32 * _UNIT_BYTES

#: Up to this size a file goes in one request.
_SMALL_BYTES = 4 * 1024 * 1024

_ACCEPTED = 202
_GONE = frozenset({404, 410})
_RANGE_NOT_SATISFIABLE = 416

#: So many sessions are made for a file, if Graph forgets them; and so often one may stand still.
_MOST_SESSIONS = 3
_MOST_STANDSTILLS = 5

_RANGE = re.compile(r"(\d+)-(\d*)")


@dataclass(frozen=True, slots=True)
class UploadedItem:
    """
    A local file that was uploaded.

    :param path: where it is here.
    :param item: what it is there.
    :param size: in bytes.
    :param verified: the hash by which both were found to be the same, such as ``quickXorHash``; ``None`` if Graph has
        none, or it was not asked for.
    """

    path: Path
    item: DriveItem
    size: int
    verified: str | None = None


class _Forgotten(Exception):
    """Graph does not know the session any more."""


def target_url(folder: str, name: str) -> str:
    """
    Return the URL of a file in a folder of a drive.

    :param folder: such as ``me/drive/root``, ``me/drive/root:/reports`` or ``drives/{id}/items/{id}``.
    :param name: of the file, relative to the folder.
    """
    where = url_of(folder).rstrip("/")
    is_path = ":/" in where.removeprefix("https://").removeprefix("http://")
    return f"{where}{'' if is_path else ':'}/{quote(name)}"


def local_key(path: str | os.PathLike[str]) -> Key:
    """Return what tells one local file from another, and one that was changed from what it was."""
    status = os.stat(path)  # noqa: PTH116
    return os.fspath(path), status.st_size, status.st_mtime_ns


class DriveUpload:
    """
    The uploads of one call.

    :param sender: sends the requests.
    :param conflict: what is done if there is a file of that name.
    :param chunk_bytes: how much is sent at once.
    :param verify: whether the content's hash is compared.
    :param retry: another policy.
    :param tally: counts bytes.
    """

    def __init__(
        self,
        sender: GraphSender,
        *,
        conflict: Conflict,
        chunk_bytes: int,
        verify: bool,
        retry: Retry | None,
        tally: Tally,
    ) -> None:
        if conflict not in get_args(Conflict):
            raise ValueError(f"conflict must be one of {', '.join(get_args(Conflict))}, not {conflict!r}")
        if not 0 < chunk_bytes < _MOST_CHUNK_BYTES or chunk_bytes % _UNIT_BYTES:
            raise ValueError(f"chunk_bytes must be a multiple of 327680 below 60 MiB, not {chunk_bytes}")
        self._sender = sender
        self._conflict = conflict
        self._chunk_bytes = chunk_bytes
        self._verify = verify
        self._retry = retry
        self._tally = tally

    async def __call__(self, path: str | os.PathLike[str], url: str) -> UploadedItem:
        """
        Upload one file.

        :param path: of the local file.
        :param url: of the file in the drive, whether there is one or not.
        :raises GraphError: if Graph refuses; 409 if there is a file of that name and that is a conflict.
        :raises OSError: if the file cannot be read.
        :raises FileChanged: if it was changed meanwhile.
        :raises VerificationFailed: if what Graph has is something else.
        """
        before = os.stat(path)  # noqa: PTH116
        if before.st_size <= _SMALL_BYTES:
            item = await self._send_at_once(path, url)
        else:
            item = await self._send_in_pieces(path, url, before.st_size)
        after = os.stat(path)  # noqa: PTH116
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise FileChanged(f"'{os.fspath(path)}' was changed while it was sent")
        verified = await self._check(path, item, before.st_size) if self._verify else None
        return UploadedItem(Path(path), item, before.st_size, verified)

    async def _check(self, path: str | os.PathLike[str], item: DriveItem, size: int) -> str | None:
        if item.size != size:
            raise VerificationFailed(f"'{os.fspath(path)}' has {size} bytes, and {item.url} has {item.size}")
        hashed = await asyncio.to_thread(file_hash, path, item.hashes)
        if hashed is None:
            return None
        name, there, here = hashed
        if there != here:
            raise VerificationFailed(f"'{os.fspath(path)}' has the {name} {here}, and {item.url} has {there}")
        return name

    async def _send_at_once(self, path: str | os.PathLike[str], url: str) -> DriveItem:
        data = await asyncio.to_thread(Path(path).read_bytes)
        call = self._sender.call(
            "PUT",
            content_url(url),
            params={"@microsoft.graph.conflictBehavior": self._conflict},
            headers={"Content-Type": "application/octet-stream"},
            # A second one would be the conflict of the first.
            idempotent=self._conflict == "replace",
        )
        call.body = partial(Piece, data)
        response = await self._sender.send(call, retry=self._retry)
        self._tally.bytes += len(data)
        return _item(response, url)

    # Upload sessions.

    async def _send_in_pieces(self, path: str | os.PathLike[str], url: str, size: int) -> DriveItem:
        for _ in range(_MOST_SESSIONS):
            session = await self._begin(url)
            try:
                return await self._send_pieces(session, path, url, size)
            except _Forgotten:
                # The last piece may have arrived, and its answer not.
                if (item := await self._find(path, url, size)) is not None:
                    return item
            except Exception:
                await self._give_up(session)
                raise
        raise InvalidBody(f"{url}: Graph has forgotten {_MOST_SESSIONS} upload sessions, one after the other")

    async def _begin(self, url: str) -> str:
        wish = {"item": {"@microsoft.graph.conflictBehavior": self._conflict}}
        call = self._sender.call("POST", session_url(url), json=wish, idempotent=True)
        response = await self._sender.send(call, retry=self._retry)
        session = response.json(dict).get("uploadUrl")
        if not isinstance(session, str):
            raise InvalidBody(f"{url}: Graph has made an upload session without an uploadUrl")
        return session

    async def _send_pieces(self, session: str, path: str | os.PathLike[str], url: str, size: int) -> DriveItem:
        at, standstills = 0, 0
        while True:
            data = await asyncio.to_thread(_read, path, at, min(self._chunk_bytes, size - at))
            if not data:
                raise FileChanged(f"'{os.fspath(path)}' has become shorter while it was sent")
            try:
                response = await self._send_piece(session, data, at, size)
            except HTTPStatusError as error:
                if error.status in _GONE:
                    raise _Forgotten from error
                if error.status != _RANGE_NOT_SATISFIABLE:
                    raise
                # It has arrived already, or something before it has not.
                response = await self._ask(session)
            else:
                if response.status != _ACCEPTED:
                    self._tally.bytes += len(data)
                    return _item(response, url)
            following = _next_expected(response, url, size)
            if following > at:
                self._tally.bytes += following - at
            else:
                standstills += 1
                if standstills > _MOST_STANDSTILLS:
                    raise InvalidBody(f"{url}: Graph asks for the bytes from {following} on again and again")
            at = following

    async def _send_piece(self, session: str, data: bytes, at: int, size: int) -> Response:
        call = preauthenticated(self._sender, "PUT", session)
        call.headers = {"Content-Range": f"bytes {at}-{at + len(data) - 1}/{size}"}
        call.body = partial(Piece, data)
        return await self._sender.send(call, retry=self._retry)

    async def _ask(self, session: str) -> Response:
        try:
            return await self._sender.send(preauthenticated(self._sender, "GET", session), retry=self._retry)
        except HTTPStatusError as error:
            if error.status in _GONE:
                raise _Forgotten from error
            raise

    async def _find(self, path: str | os.PathLike[str], url: str, size: int) -> DriveItem | None:
        """Return the item if it is what was to be sent."""
        if self._conflict == "rename":
            return None  # it may have any name
        try:
            response = await self._sender.send(self._sender.call("GET", url_of(url)), retry=self._retry)
        except HTTPStatusError as error:
            if error.status in _GONE:
                return None
            raise
        item = _item(response, url)
        if item.size != size:
            return None
        hashed = await asyncio.to_thread(file_hash, path, item.hashes)
        return item if hashed is not None and hashed[1] == hashed[2] else None

    async def _give_up(self, session: str) -> None:
        """Let Graph forget what was sent, which counts for the drive's quota."""
        with suppress(Exception):
            await self._sender.send(preauthenticated(self._sender, "DELETE", session))


def _read(path: str | os.PathLike[str], at: int, length: int) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        file.seek(at)
        return file.read(length)


def _item(response: Response, url: str) -> DriveItem:
    row: dict[str, Any] = response.json(dict)
    return item_of(row, None if isinstance(row.get("parentReference"), dict) and _has_drive(row) else url)


def _has_drive(row: dict[str, Any]) -> bool:
    return isinstance(row["parentReference"].get("driveId"), str)


def _next_expected(response: Response, url: str, size: int) -> int:
    """Return the first byte that Graph has not got."""
    ranges = response.json(dict).get("nextExpectedRanges")
    found = _RANGE.match(str(ranges[0])) if isinstance(ranges, list) and ranges else None
    if found is None or int(found[1]) >= size:
        raise InvalidBody(f"{url}: Graph does not say how the upload goes on")
    return int(found[1])
