# SPDX-License-Identifier: Apache-2.0
"""How files of a drive become local files: https://learn.microsoft.com/graph/api/driveitem-get-content."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yarl import URL

from airflow_provider_async.errors import HTTPStatusError, VerificationFailed
from airflow_provider_async.http.origins import as_given
from airflow_provider_async.http.parts import open_part
from airflow_provider_async.http.receive import Receiver
from airflow_provider_async.http.transport import Call
from airflow_provider_async.msgraph.drive_item import content_url, file_hash, item_of, url_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.http.folder import TargetFolder
    from airflow_provider_async.http.parts import Part
    from airflow_provider_async.msgraph.drive_item import DriveItem, ItemSource
    from airflow_provider_async.msgraph.sender import GraphSender

__all__ = ["DownloadedItem", "DriveDownload", "preauthenticated"]

#: How Graph says that it does not know a pre-authenticated URL any more. Some are good for minutes only.
_EXPIRED = frozenset({401, 403, 404, 410})


@dataclass(frozen=True, slots=True)
class DownloadedItem:
    """
    A file of a drive that was downloaded.

    :param item: what it is there.
    :param path: where it is here.
    :param size: in bytes.
    :param verified: the hash by which both were found to be the same, such as ``quickXorHash``; ``None`` if Graph has
        none, or it was not asked for.
    :param skipped: whether it was there already.
    """

    item: DriveItem
    path: Path
    size: int
    verified: str | None = None
    skipped: bool = False


def preauthenticated(sender: GraphSender, method: str, url: str) -> Call:
    """
    Return a request to a URL that Graph has given, for which nobody must have a token.

    :param sender: sends it.
    :param method: of the request.
    :param url: of a download or an upload session.
    """
    return Call(
        method,
        as_given(url),
        None,
        None,
        idempotent=True,
        timeout=sender.unbounded,
        is_anonymous=True,
        linked_from=URL(sender.base_url),
    )


class DriveDownload:
    """
    The downloads of one call.

    :param sender: sends the requests.
    :param retry: another policy.
    :param verify: whether the content's hash is compared.
    :param tally: counts bytes, and files that were skipped.
    """

    def __init__(self, sender: GraphSender, *, retry: Retry | None, verify: bool, tally: Tally) -> None:
        self._sender = sender
        self._retry = retry
        self._verify = verify
        self._tally = tally
        self._receiver = Receiver(sender, retry=retry, tally=tally)

    async def into(
        self, folder: TargetFolder, source: ItemSource, name: Callable[[DriveItem], str] | None
    ) -> DownloadedItem:
        """
        Download one file into a folder.

        :param folder: the folder.
        :param source: the item.
        :param name: makes the file's name, relative to the folder; by default the item's own.
        :raises UnsafePath: if it would be outside of the folder, or replace the file of another item.
        :raises OSError: if the file cannot be written, or exists and must not.
        :raises VerificationFailed: if what came is not what Graph has.
        """
        item = await self._look_at(source)
        path = folder.path(item.url, item.name if name is None else name(item))
        if folder.is_to_be_skipped(path):
            self._tally.skipped += 1
            return DownloadedItem(item, path, path.stat().st_size, skipped=True)
        return await self._receive(item, path, folder)

    async def to(self, path: Path, source: ItemSource) -> DownloadedItem:
        """Download one file to a path; see :meth:`into`."""
        return await self._receive(await self._look_at(source), path, None)

    async def _look_at(self, source: ItemSource) -> DriveItem:
        url = url_of(source)
        if isinstance(source, Mapping):
            return item_of(source)
        response = await self._sender.send(self._sender.call("GET", url), retry=self._retry)
        return item_of(response.json(dict), url)

    async def _receive(self, item: DriveItem, path: Path, folder: TargetFolder | None) -> DownloadedItem:
        # What is left of another version is another part.
        with open_part(path, f"{item.url}#{item.tag}") as part:
            current, verified, problem = await self._receive_once(item, part)
            if problem is not None:
                # It may have been changed since it was listed, or while it came.
                part.restart(None)
                current, verified, problem = await self._receive_once(await self._look_at(item.url), part)
            if problem is not None:
                part.restart(None)
                raise VerificationFailed(f"{current.url} ({current.name!r}): {problem}")
            if folder is not None:
                folder.check(path)
            part.finish(path)
        return DownloadedItem(current, path, part.length, verified)

    async def _receive_once(self, item: DriveItem, part: Part) -> tuple[DriveItem, str | None, str | None]:
        """Receive the content; return the item, the hash that is right, and what is wrong."""
        try:
            await self._receiver.receive(self._call(item), part)
        except HTTPStatusError as error:
            if item.download_url is None or error.status not in _EXPIRED:
                raise
            item = await self._look_at(item.url)
            await self._receiver.receive(self._call(item), part)
        if not self._verify:
            return item, None, None
        if part.length != item.size:
            return item, None, f"{part.length} bytes came, and it has {item.size}"
        hashed = await asyncio.to_thread(file_hash, part.path, item.hashes)
        if hashed is None:
            return item, None, None
        name, expected, found = hashed
        if expected != found:
            return item, None, f"its {name} is {expected}, and what came has {found}"
        return item, name, None

    def _call(self, item: DriveItem) -> Call:
        if item.download_url is not None:
            return preauthenticated(self._sender, "GET", item.download_url)
        # Graph leads from here to such a URL.
        return self._sender.call("GET", content_url(item.url))
