# SPDX-License-Identifier: Apache-2.0
"""What the tests of downloads and uploads have in common."""

from __future__ import annotations

import os
import random
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypedDict, Unpack

from airflow_provider_async.core.amap import amap
from airflow_provider_async.core.progress import Tally
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.sftp.download import Download
from airflow_provider_async.sftp.parts import LARGE_BYTES
from airflow_provider_async.sftp.upload import Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable
    from pathlib import PurePath

    from airflow_provider_async.core.amap import AsyncMap, Outcome
    from airflow_provider_async.sftp import SFTPClientPool
    from airflow_provider_async.sftp.files import RemotePath, TransferredFile
    from airflow_provider_async.sftp.local import Existing, LocalPath, Verify

SOON = Retry(initial_seconds=0.01, max_seconds=0.05)
ONCE = Retry(attempts=1)

#: What OpenSSH's server sends and takes with one message.
BLOCK = 255 * 1024

LARGE = LARGE_BYTES + 3 * BLOCK + 1

SIZES = [0, 1, 3500, BLOCK - 1, BLOCK, BLOCK + 1, 256 * 1024, 256 * 1024 + 1, 3_000_000, LARGE]

#: The time of files that :func:`write_large` writes.
TIME = 1_600_000_000


class Options(TypedDict, total=False):
    base: PurePath | None
    existing: Existing
    verify: Verify
    retry: Retry
    tally: Tally


def downloads(
    pool: SFTPClientPool, paths: Iterable[RemotePath], folder: LocalPath, **options: Unpack[Options]
) -> AsyncMap[RemotePath, TransferredFile]:
    base = options.get("base")
    call = Download(
        pool._operations.with_retry(options.get("retry", ONCE)),
        folder,
        base=None if base is None else PurePosixPath(base),
        existing=options.get("existing", "overwrite"),
        verify=options.get("verify", "size"),
        tally=options.get("tally", Tally()),
    )
    return amap(call, paths, limit=64, ordered=True)


def uploads(
    pool: SFTPClientPool,
    paths: Iterable[LocalPath] | AsyncIterable[LocalPath],
    folder: object,
    **options: Unpack[Options],
) -> AsyncMap[LocalPath, TransferredFile]:
    call = Upload(
        pool._operations.with_retry(options.get("retry", ONCE)),
        str(folder),
        base=options.get("base"),
        existing=options.get("existing", "overwrite"),
        verify=options.get("verify", "size"),
        tally=options.get("tally", Tally()),
    )
    return amap(call, paths, limit=64, ordered=True)


async def download(
    pool: SFTPClientPool, paths: Iterable[RemotePath], folder: LocalPath, **options: Unpack[Options]
) -> list[TransferredFile]:
    return [file async for file in downloads(pool, paths, folder, **options)]


async def download_outcomes(
    pool: SFTPClientPool, paths: Iterable[RemotePath], folder: LocalPath, **options: Unpack[Options]
) -> list[Outcome[RemotePath, TransferredFile]]:
    return [outcome async for outcome in downloads(pool, paths, folder, **options).outcomes()]


async def upload(
    pool: SFTPClientPool,
    paths: Iterable[LocalPath] | AsyncIterable[LocalPath],
    folder: object,
    **options: Unpack[Options],
) -> list[TransferredFile]:
    return [file async for file in uploads(pool, paths, folder, **options)]


async def upload_outcomes(
    pool: SFTPClientPool,
    paths: Iterable[LocalPath] | AsyncIterable[LocalPath],
    folder: object,
    **options: Unpack[Options],
) -> list[Outcome[LocalPath, TransferredFile]]:
    return [outcome async for outcome in uploads(pool, paths, folder, **options).outcomes()]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def times(folder: Path) -> set[float]:
    """The times of modification of all files below a folder."""
    return {path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}


def data_of(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def time_of(path: str | Path) -> int:
    return int(Path(path).stat().st_mtime)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def write_large(path: Path, size: int = LARGE) -> bytes:
    """Write bytes that are others for each size, and set the time."""
    data = random.Random(size).randbytes(size)
    path.write_bytes(data)
    os.utime(path, (TIME, TIME))
    return data
