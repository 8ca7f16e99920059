# SPDX-License-Identifier: Apache-2.0
"""SFTPClientPool: many files over few connections."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar, cast

from airflow_provider_async.core.pooled import amap_over
from airflow_provider_async.core.progress import Tally
from airflow_provider_async.sftp.files import MovedFile, RemoteFile, RemotePath, TransferredFile, remote_key
from airflow_provider_async.sftp.lookups import SFTPLookups

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable

    from airflow_provider_async.core.amap import AsyncMap
    from airflow_provider_async.core.pooled import Ack
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.sftp.files import Missing
    from airflow_provider_async.sftp.local import Existing, LocalPath, Verify

__all__ = ["SFTPClientPool"]

Remote = TypeVar("Remote", bound=RemotePath)


class SFTPClientPool(SFTPLookups):
    """
    A few SSH connections that many operations share.

    ``async with SFTPClientPool("sftp_default") as pool:`` reads the Connection; connections are opened when they are
    needed, and all are closed at the end. On each, many operations run at once. A pool belongs to one event loop and is
    entered once.

    ``pool_size``, ``max_concurrency`` and ``operation_timeout`` may also stand in the Connection's extras; what is
    given here wins. Its extras ``max_connections`` and ``max_requests`` (operations at once) say what the server takes
    from all tasks together, and hold whatever is given here.

    What the ``*_many`` methods return is iterated over once: with ``async for``, by ``.batches(n)``, or by
    ``.outcomes()``, which goes on after errors. All of them take

    * ``limit``: how many files are worked on at once; ``max_concurrency`` by default and at most.
    * ``ordered``: yield in the order of the paths instead of as files are done.
    * ``retry``: which errors are tried again; by default a lost connection, five attempts. A status of the server's,
      such as a missing file, is not, unless the policy says so.
    * ``resume``: a name under which is kept which files are done, in a task or a block of
      :func:`~airflow_provider_async.resumable`: the next try leaves them out. What is not acknowledged is done again. A
      file counts as another one when its size or its time has changed, as far as they are known: those of files here
      are looked up, a remote path tells them if it is from :meth:`glob`, :meth:`walk` or :meth:`stat_many`.
    * ``ack``: when a file is acknowledged: when the consumer comes back for the ``next`` one or the next batch, or by a
      call of ``outcome.ack()`` (``manual``).
    * ``label``: what the work is called in errors and where its progress is shown.

    :param sftp_conn_id: the id of an ``sftp`` or ``ssh`` Connection.
    :param pool_size: connections, 2 by default.
    :param max_concurrency: operations in flight over all connections, leases included; by default 32 for each
        connection, which is 64. ``auto`` finds out how many are best for this server, up to 64 for each connection:
        it begins with 4, goes on as long as throughput grows, and falls back when connections are lost.
    :param acquire_timeout: seconds that an operation waits for its turn, and for a connection.
    :param close_timeout: seconds that operations have to end when the pool closes, and a connection has to close.
    :param max_idle: seconds after which an unused connection is closed.
    :param max_lifetime: seconds after which a connection is replaced.
    :param operation_timeout: seconds that the server has to answer one request, 60 by default; after that, its
        connection is given up.
    :param retry: how connecting is retried; by default with back-off for as long as an operation waits. A refused
        login or host key never is.
    :param shard: this task's part of the work, if several share it; the pool then has its share of ``max_connections``
        and of ``max_requests``.
    :param connection: the Connection itself, for scripts and tests without Airflow's database.
    """

    def read_many(
        self,
        paths: Iterable[Remote] | AsyncIterable[Remote],
        *,
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[Remote, RemoteFile]:
        """
        Read many files into memory.

        A file that is changed while it is read is a :class:`~airflow_provider_async.errors.FileChanged`, as far as its
        size and time tell.

        :param paths: of the files; :meth:`glob` and :meth:`walk` give some.
        :return: files with ``path`` and ``data``.
        """
        from airflow_provider_async.sftp.reading import read

        tally = Tally()
        work = partial(read, self._operations.with_retry(retry), tally)
        return amap_over(
            self._pool,
            work,
            paths,
            key=remote_key,
            limit=limit,
            ordered=ordered,
            resume=resume,
            ack=ack,
            label=label or "read_many",
            tally=tally,
        )

    def download_many(
        self,
        source: RemotePath | Iterable[RemotePath] | AsyncIterable[RemotePath],
        local_dir: LocalPath,
        *,
        base: str | PurePosixPath | None = None,
        existing: Existing = "overwrite",
        verify: Verify = "size",
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[RemotePath, TransferredFile]:
        """
        Download many files, or a whole tree, into a local folder or into object storage.

        Each appears there when it is complete, with its time of modification. A large one that was interrupted goes on
        where it stopped, in a later try too. Nothing is written outside of the folder, whatever the remote names are.

        :param source: paths, or one path: that of a folder whose whole tree is downloaded.
        :param local_dir: the local folder, or an ``airflow.sdk.ObjectStoragePath``; made if it is missing.
        :param base: the remote folder whose structure is kept, the tree's root by default; without it, all files are
            put side by side, and two of the same name are refused.
        :param existing: what becomes of a file that is there: ``overwrite`` it; ``skip`` it if size and time (in object
            storage the size) are the same; or ``error``.
        :param verify: ``size``, or ``checksum``: SHA-256, computed by the server too, if it runs commands.
        :return: files with ``path``, ``local_path``, ``size`` and ``skipped``.
        """
        from airflow_provider_async.sftp.download import Download

        paths: Iterable[RemotePath] | AsyncIterable[RemotePath]
        if isinstance(source, (str, PurePosixPath)):
            paths, base = self.walk(source), source if base is None else base
        else:
            paths = source
        tally = Tally()
        work = Download(
            self._operations.with_retry(retry),
            local_dir,
            base=None if base is None else PurePosixPath(base),
            existing=existing,
            verify=verify,
            tally=tally,
        )
        return amap_over(
            self._pool,
            work,
            paths,
            key=work.key,
            limit=limit,
            ordered=ordered,
            resume=resume,
            ack=ack,
            label=label or "download_many",
            tally=tally,
        )

    def upload_many(
        self,
        source: LocalPath | Iterable[LocalPath] | AsyncIterable[LocalPath],
        remote_dir: str | PurePosixPath,
        *,
        base: LocalPath | None = None,
        existing: Existing = "overwrite",
        verify: Verify = "size",
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[LocalPath, TransferredFile]:
        """
        Upload many files, or a whole tree, from local folders or from object storage.

        Each appears in the remote folder when it is complete, with its time of modification, and replaces a file of the
        same name: at once where the server can do that (OpenSSH's can), else with a moment in between. A large one that
        was interrupted goes on where it stopped, in a later try too.

        :param source: paths, ``airflow.sdk.ObjectStoragePath`` among them, or one path: that of a folder whose whole
            tree is uploaded.
        :param remote_dir: the remote folder; made if it is missing.
        :param base: the folder whose structure is kept, the tree's root by default; without it, all files are put side
            by side, and two of the same name are refused.
        :param existing: as for :meth:`download_many`.
        :param verify: as for :meth:`download_many`.
        :return: files with ``path``, ``local_path``, ``size`` and ``skipped``.
        """
        from airflow_provider_async.sftp.object_storage import is_one_path, pure_path, walk_tree
        from airflow_provider_async.sftp.upload import Upload

        paths: Iterable[LocalPath] | AsyncIterable[LocalPath]
        if is_one_path(source):
            paths, base = walk_tree(source), source if base is None else base
        else:
            paths = cast("Iterable[LocalPath] | AsyncIterable[LocalPath]", source)
        tally = Tally()
        work = Upload(
            self._operations.with_retry(retry),
            str(remote_dir),
            base=None if base is None else pure_path(base),
            existing=existing,
            verify=verify,
            tally=tally,
        )
        if resume is not None:
            paths = work.look_ahead(paths)
        return amap_over(
            self._pool,
            work,
            paths,
            key=work.key,
            limit=limit,
            ordered=ordered,
            resume=resume,
            ack=ack,
            label=label or "upload_many",
            tally=tally,
        )

    def move_many(
        self,
        paths: Iterable[Remote] | AsyncIterable[Remote],
        remote_dir: str | PurePosixPath,
        *,
        base: str | PurePosixPath | None = None,
        existing: Existing = "overwrite",
        missing: Missing = "error",
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[Remote, MovedFile]:
        """
        Move many remote files into another remote folder, such as an archive.

        :param paths: of the files.
        :param remote_dir: the folder; made if it is missing.
        :param base: the folder whose structure is kept; without it, all files are put side by side, and two of the same
            name are refused.
        :param existing: as for :meth:`download_many`.
        :param missing: whether a file that is not there is an ``error``, or is counted as skipped (``ignore``), such as
            one that an earlier try has moved and not acknowledged.
        :return: files with ``path``, ``new_path`` and ``skipped``.
        """
        from airflow_provider_async.sftp.changes import Move

        tally = Tally()
        folder = None if base is None else PurePosixPath(base)
        work = Move(self._operations.with_retry(retry), tally, str(remote_dir), folder, existing, missing)
        return amap_over(
            self._pool,
            work,
            paths,
            key=work.key,
            limit=limit,
            ordered=ordered,
            resume=resume,
            ack=ack,
            label=label or "move_many",
            tally=tally,
        )

    def remove_many(
        self,
        paths: Iterable[Remote] | AsyncIterable[Remote],
        *,
        missing: Missing = "error",
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[Remote, str]:
        """
        Remove many remote files.

        :param paths: of the files; a folder is an error.
        :param missing: whether a file that is not there is an ``error``, or is counted as skipped (``ignore``).
        :return: the paths.
        """
        from airflow_provider_async.sftp.changes import Remove

        tally = Tally()
        work = Remove(self._operations.with_retry(retry), tally, missing)
        return amap_over(
            self._pool,
            work,
            paths,
            key=remote_key,
            limit=limit,
            ordered=ordered,
            resume=resume,
            ack=ack,
            label=label or "remove_many",
            tally=tally,
        )
