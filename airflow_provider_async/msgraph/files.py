# SPDX-License-Identifier: Apache-2.0
"""Files of OneDrive and SharePoint, one by one and by the thousand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_async.core.pooled import amap_over
from airflow_provider_async.core.progress import Tally
from airflow_provider_async.http.folder import TargetFolder
from airflow_provider_async.msgraph.calls import GraphCalls
from airflow_provider_async.msgraph.drive_item import item_key

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, Callable, Iterable

    from airflow_provider_async.core.amap import AsyncMap
    from airflow_provider_async.core.pooled import Ack
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.http.folder import Existing
    from airflow_provider_async.msgraph.drive_download import DownloadedItem
    from airflow_provider_async.msgraph.drive_item import DriveItem, ItemSource
    from airflow_provider_async.msgraph.drive_upload import Conflict, UploadedItem

__all__ = ["GraphFiles"]

Source = TypeVar("Source", bound="ItemSource")
LocalPath = TypeVar("LocalPath", bound="str | os.PathLike[str]")


class GraphFiles(GraphCalls):
    """What is done with files of drives."""

    async def download(
        self,
        source: ItemSource,
        path: str | os.PathLike[str],
        *,
        verify: bool = True,
        retry: Retry | None = None,
    ) -> DownloadedItem:
        """
        Download a file of a drive.

        It appears when it is complete, and is what Graph has: its size and its hash are compared. What came of a
        download that fails is kept beside it, and another one goes on from there, be it in another process.

        :param source: the item's URL, such as ``me/drive/root:/reports/may.csv`` or ``drives/{id}/items/{id}``; or a
            row of a listing of items.
        :param path: of the local file, whose folder must exist.
        :param verify: whether size and hash are compared. SharePoint changes some Office files when it gives them, so
            that they do not fit.
        :param retry: another policy.
        :raises GraphError: if Graph refuses.
        :raises IsADirectoryError: if the item is a folder.
        :raises VerificationFailed: if what came is, a second time, not what Graph has.
        :return: with ``item``, ``path``, ``size`` and ``verified``.
        """
        from airflow_provider_async.msgraph.drive_download import DriveDownload

        work = DriveDownload(self.sender, retry=retry, verify=verify, tally=Tally())
        return await work.to(Path(path), source)

    def download_many(
        self,
        sources: Iterable[Source] | AsyncIterable[Source],
        folder: str | os.PathLike[str],
        *,
        name: Callable[[DriveItem], str] | None = None,
        existing: Existing = "overwrite",
        verify: bool = True,
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[Source, DownloadedItem]:
        """
        Download many files of drives into a local folder.

        Rows of a listing, such as ``pool.paginate("me/drive/root/children")``, need no further request for each: Graph
        says in them where the content is, for about an hour.

        :param sources: as for :meth:`download`; an iterable or an async iterable, of any length.
        :param folder: made if it is missing.
        :param name: makes of an item the file's name, relative to the folder; by default its own. Two items that give
            one name are refused.
        :param existing: what becomes of a file that is there: ``overwrite`` it, ``skip`` its item, or ``error``.
        :param verify: as for :meth:`download`.
        :param limit: how many at once; ``max_concurrency`` by default and at most.
        :param ordered: yield in the order of the sources.
        :param retry: another policy.
        :param resume: a name under which is kept which items are done: the next try leaves them out. A row whose
            content has changed since is done again.
        :param ack: when an item is acknowledged: when the consumer comes back for the ``next`` file or batch, or by a
            call of ``outcome.ack()`` (``manual``).
        :param label: what the work is called in errors and logs.
        :return: files with ``item``, ``path``, ``size``, ``verified`` and ``skipped``.
        """
        from airflow_provider_async.msgraph.drive_download import DriveDownload

        tally = Tally()
        work = DriveDownload(self.sender, retry=retry, verify=verify, tally=tally)
        target = TargetFolder(folder, existing)

        async def download(source: Source) -> DownloadedItem:
            return await work.into(target, source, name)

        return amap_over(
            self._opened,
            download,
            sources,
            limit=limit,
            ordered=ordered,
            resume=resume,
            key=item_key,
            ack=ack,
            label=label or "download_many",
            tally=tally,
        )

    async def upload(
        self,
        path: str | os.PathLike[str],
        url: str,
        *,
        conflict: Conflict = "replace",
        chunk_bytes: int | None = None,
        verify: bool = True,
        retry: Retry | None = None,
    ) -> UploadedItem:
        """
        Upload a local file into a drive.

        One of more than 4 MiB goes in pieces: after a failure it goes on with the first piece that Graph has not got.
        Size and hash are compared at the end.

        :param path: of the local file.
        :param url: of the file in the drive, such as ``me/drive/root:/reports/may.csv``, or of an item to be replaced.
        :param conflict: what is done if there is a file of that name: ``replace`` it, ``fail``, or ``rename`` the new
            one.
        :param chunk_bytes: how much is sent at once: a multiple of 327,680 below 60 MiB; 10 MiB by default.
        :param verify: as for :meth:`download`. SharePoint changes some Office files when it receives them.
        :param retry: another policy.
        :raises GraphError: if Graph refuses; 409 if there is a file of that name and that is to ``fail``.
        :raises FileChanged: if the local file was changed meanwhile.
        :raises VerificationFailed: if what Graph has is something else.
        :return: with ``path``, ``item``, ``size`` and ``verified``.
        """
        from airflow_provider_async.msgraph.drive_upload import CHUNK_BYTES, DriveUpload

        work = DriveUpload(
            self.sender,
            conflict=conflict,
            chunk_bytes=chunk_bytes or CHUNK_BYTES,
            verify=verify,
            retry=retry,
            tally=Tally(),
        )
        return await work(path, url)

    def upload_many(
        self,
        paths: Iterable[LocalPath] | AsyncIterable[LocalPath],
        folder: str,
        *,
        name: Callable[[LocalPath], str] | None = None,
        conflict: Conflict = "replace",
        chunk_bytes: int | None = None,
        verify: bool = True,
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[LocalPath, UploadedItem]:
        """
        Upload many local files into a folder of a drive.

        :param paths: of the files; an iterable or an async iterable, of any length.
        :param folder: the URL of the folder, such as ``me/drive/root:/reports`` or ``drives/{id}/items/{id}``. Folders
            below it that names lead through are made by Graph.
        :param name: makes of a path the file's name, relative to the folder; by default the last part of the path.
        :param conflict: as for :meth:`upload`, like ``chunk_bytes`` and ``verify``.
        :param limit: as for :meth:`download_many`, like all that follow. A piece of each file is in memory.
        :param resume: a name under which is kept which files are done: the next try leaves them out, unless their size
            or time has changed.
        :return: files with ``path``, ``item``, ``size`` and ``verified``.
        """
        from airflow_provider_async.msgraph.drive_upload import (
            CHUNK_BYTES,
            DriveUpload,
            local_key,
            target_url,
        )

        tally = Tally()
        work = DriveUpload(
            self.sender,
            conflict=conflict,
            chunk_bytes=chunk_bytes or CHUNK_BYTES,
            verify=verify,
            retry=retry,
            tally=tally,
        )

        async def upload(path: LocalPath) -> UploadedItem:
            return await work(path, target_url(folder, Path(path).name if name is None else name(path)))

        return amap_over(
            self._opened,
            upload,
            paths,
            limit=limit,
            ordered=ordered,
            resume=resume,
            key=local_key,
            ack=ack,
            label=label or "upload_many",
            tally=tally,
        )
