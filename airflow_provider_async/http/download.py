# SPDX-License-Identifier: Apache-2.0
"""How what a URL gives becomes a file on this side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from airflow_provider_async.http.folder import Existing, TargetFolder
from airflow_provider_async.http.parts import open_part
from airflow_provider_async.http.receive import Receiver

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.http.caller import Caller

__all__ = ["Download", "DownloadedFile", "Existing"]


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
        self._sender = sender
        self._folder = TargetFolder(folder, existing)
        self._name = name or _name_of
        self._tally = tally
        self._receiver = Receiver(sender, retry=retry, tally=tally)

    async def __call__(self, url: str) -> DownloadedFile:
        """
        Download one file.

        :raises HTTPStatusError: if the status is 400 or above.
        :raises ConnectionFailed: if the body was cut short at each attempt.
        :raises OSError: if the file cannot be written, or exists and must not.
        :raises UnsafePath: if it would be outside of the folder, or replace the file of another URL.
        """
        folder = self._folder
        path = folder.path(url, self._name(url))
        if folder.is_to_be_skipped(path):
            self._tally.skipped += 1
            return DownloadedFile(url, path, path.stat().st_size, skipped=True)
        with open_part(path, url) as part:
            size = await self._receiver.receive(self._sender.call("GET", url), part)
            folder.check(path)
            part.finish(path)
        return DownloadedFile(url, path, size)


def _name_of(url: str) -> str:
    return unquote(urlsplit(url).path.rpartition("/")[2])
