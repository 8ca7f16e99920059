# SPDX-License-Identifier: Apache-2.0
"""
Files in object storage, as Airflow's ``ObjectStoragePath`` reaches it.

Everything here waits in threads. One that is cancelled goes on; it does a whole step, so that no half of a file is
left under a final name.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Protocol, TypeGuard, cast

from airflow_provider_async.sftp.local import (
    LocalFile,
    LocalFolder,
    State,
    already_exists,
    has_changed,
    walk_local,
)
from airflow_provider_async.sftp.parts import temporary_name

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Mapping

    from airflow.sdk import ObjectStoragePath

    from airflow_provider_async.sftp.local import LocalPath, Source, Target


class FileSystem(Protocol):
    """The part of fsspec's file systems that is used here."""

    def info(self, path: str) -> Mapping[str, object]:
        """Return what is known about a file."""

    def invalidate_cache(self, path: str) -> object:
        """Forget what is known about a file."""

    def pipe_file(self, path: str, value: bytes) -> object:
        """Write a whole file."""

    def put_file(self, lpath: str, rpath: str) -> object:
        """Write a whole file from a local one."""


__all__ = [
    "StorageFile",
    "StorageFolder",
    "is_one_path",
    "is_storage",
    "local_or_storage",
    "open_source",
    "open_target",
    "pure_path",
    "walk_tree",
]

#: Where an object appears when it is complete. Of other file systems, what is being written has a temporary name.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "adl", "az", "oci", "oss"})

_LOCAL = frozenset({"", "file", "local"})

#: A large object is read in such portions.
_PORTION_BYTES = 2 * 1024 * 1024


def local_or_storage(path: LocalPath) -> Path | ObjectStoragePath:
    """
    Return a path on this side as what it is.

    :param path: a local path, or an ``ObjectStoragePath``, that of a local file included.
    :raises ValueError: if it is a string that was meant to be an ``ObjectStoragePath``.
    """
    if is_storage(path):
        return Path(path.path) if path.protocol in _LOCAL else path
    local = os.fspath(cast("str | os.PathLike[str]", path))
    if "://" in local:
        raise ValueError(f"{local!r} is no local path; give an airflow.sdk.ObjectStoragePath")
    return Path(local)


def is_one_path(source: object) -> TypeGuard[LocalPath]:
    """Tell whether something is one path on this side, and not many; an ``ObjectStoragePath`` is no ``os.PathLike``."""
    return isinstance(source, (str, os.PathLike)) or is_storage(source)


def open_target(folder: LocalPath) -> Target:
    """Return the folder that files are downloaded into."""
    found = local_or_storage(folder)
    return StorageFolder(found) if is_storage(found) else LocalFolder(cast("Path", found))


def open_source(path: LocalPath) -> Source:
    """Return a file that is uploaded."""
    found = local_or_storage(path)
    return StorageFile(found) if is_storage(found) else LocalFile(cast("Path", found))


def pure_path(path: LocalPath) -> PurePath:
    """Return a path that others can be compared with: within its file system, if that is not the local one."""
    found = local_or_storage(path)
    return PurePosixPath(found.path) if is_storage(found) else cast("Path", found)


def walk_tree(folder: LocalPath) -> Iterable[LocalPath] | AsyncIterable[LocalPath]:
    """
    Iterate over the files of a tree on this side; links are neither followed nor found.

    :param folder: the root of the tree.
    :return: the files of one folder, sorted, then those of the folders in it; no more than two folders' names are
        held at a time.
    """
    found = local_or_storage(folder)
    return _walk_storage(found) if is_storage(found) else walk_local(cast("Path", found))


class StorageFolder:
    """
    A folder in object storage that files are downloaded into.

    Objects keep no time of modification but their own: a file is there already if its size is the same.

    :param folder: its path.
    """

    def __init__(self, folder: ObjectStoragePath) -> None:
        self._folder = folder
        self._made: set[str] = set()
        self._is_object_store = folder.protocol in _OBJECT_STORES

    async def prepare(self, inside: str) -> str:
        """Return the path of a file within its file system; folders are made where there are such things."""
        path = f"{self._folder.path.rstrip('/')}/{inside}"
        parent = path.rpartition("/")[0]
        if not self._is_object_store and parent not in self._made:
            await asyncio.to_thread(lambda: self._folder.fs.makedirs(parent, exist_ok=True))
            self._made.add(parent)
        return path

    async def find(self, path: str) -> State | None:
        """Return what is there at a path."""

        def find() -> State | None:
            try:
                found = _info(self._folder.fs, path, is_fresh=True)
            except FileNotFoundError:
                return None
            return State(int(cast("int", found["size"])) if found["type"] == "file" else -1)

        return await asyncio.to_thread(find)

    async def store(self, path: str, data: bytes, modified: float | None, *, replace: bool) -> None:  # noqa: ARG002
        """Write a whole object."""
        await asyncio.to_thread(self._write, lambda fs, to: fs.pipe_file(to, data), path, replace=replace)

    def staging(self, path: str) -> tuple[str, str]:
        """Return a folder for temporary files, which is this user's alone, and the name to call a part after."""
        folder = Path(tempfile.gettempdir()) / f"airflow-provider-async-{os.geteuid()}"
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise PermissionError(f"{str(folder)!r} must be a folder that nobody else may use")
        return str(folder), path.rpartition("/")[2]

    async def store_part(self, part: str, path: str, modified: float | None, *, replace: bool) -> None:  # noqa: ARG002
        """Write a whole object from a local file, which is then removed."""

        def put() -> None:
            self._write(lambda fs, to: fs.put_file(part, to), path, replace=replace)
            Path(part).unlink(missing_ok=True)

        await asyncio.to_thread(put)

    def local_path(self, path: str) -> ObjectStoragePath:
        """Return a path as the user gets it."""
        inside = path.removeprefix(f"{self._folder.path.rstrip('/')}/")
        return self._folder / inside

    def _write(self, write: Callable[[FileSystem, str], object], path: str, *, replace: bool) -> None:
        fs = self._folder.fs
        if not replace and fs.exists(path):
            raise already_exists(path)
        if self._is_object_store:
            write(fs, path)
            return
        temporary = f"{path.rpartition('/')[0]}/{temporary_name()}"
        try:
            write(fs, temporary)
            fs.mv(temporary, path)
        except BaseException:
            with suppress(Exception):
                fs.rm_file(temporary)
            raise


class StorageFile:
    """
    An object that is uploaded.

    :param path: its path.
    """

    def __init__(self, path: ObjectStoragePath) -> None:
        self.path: PurePath = PurePosixPath(path.path)
        self.local_path = path
        self._object = path

    async def state(self) -> State:
        """
        Return the size, the time and the tag of the object.

        :raises OSError: if it is missing, or a folder.
        """
        return await asyncio.to_thread(self.look)

    def look(self, *, is_fresh: bool = False) -> State:
        """As :meth:`state`, for a thread."""
        fs, path = self._object.fs, self._object.path
        found = _info(fs, path, is_fresh=is_fresh)
        if found["type"] != "file":
            raise IsADirectoryError(f"'{self._object}' is no file")
        modified: float | None = None
        with suppress(NotImplementedError, KeyError, AttributeError):
            modified = fs.modified(path).timestamp()
        return State(int(cast("int", found["size"])), modified, str(found.get("ETag") or found.get("etag") or ""))

    async def read(self, state: State) -> bytes:
        """
        Read the object.

        :raises FileChanged: if it is not as it was any more.
        """
        data: bytes = await asyncio.to_thread(lambda: self._object.fs.cat_file(self._object.path))
        if len(data) != state.size:
            raise has_changed(self._object)
        return data

    async def blocks(self, start: int, state: State, block_bytes: int) -> AsyncGenerator[bytes, None]:
        """
        Iterate over the bytes from an offset on.

        :raises FileChanged: at the end or before, if the object is not as it was any more.
        """
        portion_bytes = max(_PORTION_BYTES // block_bytes, 1) * block_bytes
        while start < state.size:
            end = min(start + portion_bytes, state.size)
            portion = await asyncio.to_thread(self._read, start, end)
            if len(portion) != end - start:
                raise has_changed(self._object)
            for offset in range(0, len(portion), block_bytes):
                yield portion[offset : offset + block_bytes]
            start = end
        if await asyncio.to_thread(self.look, is_fresh=True) != state:
            raise has_changed(self._object)

    def _read(self, start: int, end: int) -> bytes:
        data: bytes = self._object.fs.cat_file(self._object.path, start=start, end=end)
        return data

    async def sha256(self) -> str:
        """Return the checksum of the object, in hexadecimal."""

        def compute() -> str:
            with self._object.fs.open(self._object.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

        return await asyncio.to_thread(compute)


async def _walk_storage(folder: ObjectStoragePath) -> AsyncIterator[ObjectStoragePath]:
    folders = [""]
    while folders:
        here = folders.pop()
        entries = await asyncio.to_thread(_list, folder, here)
        for inside, kind in entries:
            if kind == "file":
                yield folder / inside
        folders += [inside for inside, kind in reversed(entries) if kind == "directory"]


def _list(folder: ObjectStoragePath, inside: str) -> list[tuple[str, str]]:
    """Return what is in a folder below another, sorted: its path relative to the upper one, and what it is."""
    # File systems do not agree on slashes at the beginning and the end.
    root = folder.path.strip("/")
    found = folder.fs.ls(f"{folder.path.rstrip('/')}/{inside}".rstrip("/"), detail=True)
    entries = sorted((entry["name"].strip("/")[len(root) :].lstrip("/"), entry["type"]) for entry in found)
    # Some list a folder as an object of its own, in itself.
    return [entry for entry in entries if entry[0] != inside]


def _info(fs: FileSystem, path: str, *, is_fresh: bool) -> Mapping[str, object]:
    if is_fresh:
        # What a listing has told is kept for as long as the process lives.
        fs.invalidate_cache(path)
    return fs.info(path)


def is_storage(path: object) -> TypeGuard[ObjectStoragePath]:
    """Tell whether a path is an ``ObjectStoragePath``, be it that of a local file."""
    # What would tell exactly has to be imported, which takes Airflow a second.
    return hasattr(path, "fs") and hasattr(path, "protocol")
