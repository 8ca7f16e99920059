# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PTH105, PTH108, PTH116, PTH123
"""
Where files are on this side: local folders, and what object storage has in common with them.

Paths are strings where there may be thousands of small files: pathlib costs as much as the system calls.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import itertools
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, get_args

from airflow_provider_async.errors import FileChanged, UnsafePath
from airflow_provider_async.sftp.parts import write_all

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from airflow.sdk import ObjectStoragePath

__all__ = [
    "Existing",
    "LocalFile",
    "LocalFolder",
    "LocalPath",
    "Source",
    "State",
    "Target",
    "Verify",
    "already_exists",
    "check_options",
    "has_changed",
    "is_same",
    "walk_local",
]

#: What names a file or a folder on this side.
LocalPath: TypeAlias = "str | os.PathLike[str] | ObjectStoragePath"

#: What is done with a target that is there already.
Existing: TypeAlias = Literal["overwrite", "skip", "error"]

#: How what was transferred is compared with its source.
Verify: TypeAlias = Literal["size", "checksum"]

#: A local file is read in such portions, in another thread.
_PORTION_BYTES = 1024 * 1024

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class State:
    """
    What tells one version of a file from another.

    :param size: in bytes.
    :param modified: seconds since 1970, if that is known.
    :param version: anything more, such as an object's tag.
    """

    size: int
    modified: float | None = None
    version: str = ""


class Target(Protocol):
    """A folder on this side that files are downloaded into. Paths are strings, as its methods give them."""

    async def prepare(self, inside: str) -> str:
        """Return the path of a file, given relative to the folder, whose own folder is made if it is missing."""

    async def find(self, path: str) -> State | None:
        """Return what is there at a path; of what is no regular file, the size is -1."""

    async def store(self, path: str, data: bytes, modified: float | None, *, replace: bool) -> None:
        """Make a file of bytes, which appears when it is complete."""

    def staging(self, path: str) -> tuple[str, str]:
        """Return the local folder for the part of a file, and the name that the part is called after."""

    async def store_part(self, part: str, path: str, modified: float | None, *, replace: bool) -> None:
        """Make a file of a part that is complete, which is a local file."""

    def local_path(self, path: str) -> Path | ObjectStoragePath:
        """Return a path as the user gets it."""


class Source(Protocol):
    """A file on this side that is uploaded."""

    @property
    def path(self) -> PurePath:
        """The file's path, to be compared with others."""

    @property
    def local_path(self) -> Path | ObjectStoragePath:
        """The file's path as the user has given it."""

    async def state(self) -> State:
        """Return the size and time of the file."""

    def look(self) -> State:
        """As :meth:`state`, right here, be it after a while."""

    async def read(self, state: State) -> bytes:
        """Return the bytes of a small file, which must still be in that state."""

    def blocks(self, start: int, state: State, block_bytes: int) -> AsyncGenerator[bytes, None]:
        """Iterate over the bytes from an offset on, in blocks."""

    async def sha256(self) -> str:
        """Return the checksum of the file, in hexadecimal."""


class LocalFolder:
    """
    A local folder that files are downloaded into.

    :param folder: its path; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = os.fspath(folder)
        self._safe: set[str] = set()
        # Nobody can foresee the names of unfinished files, which cost less than a random name for each.
        self._token = secrets.token_hex(8)
        self._numbers = itertools.count()

    async def prepare(self, inside: str) -> str:
        """
        Return the path of a file, whose folder is made if it is missing.

        :param inside: relative to the folder.
        :raises UnsafePath: if a link leads out of the folder.
        """
        path = f"{self._folder}/{inside}"
        folder = path.rpartition("/")[0]
        if folder not in self._safe:
            self._make(Path(folder))
            self._safe.add(folder)
        return path

    def _make(self, folder: Path) -> None:
        # Before anything is made: a link that lies in the folder already could lead anywhere.
        if not folder.resolve().is_relative_to(Path(self._folder).resolve()):
            raise UnsafePath(f"{str(folder)!r} leads out of {self._folder!r} through a link")
        folder.mkdir(parents=True, exist_ok=True)

    async def find(self, path: str) -> State | None:
        """Return what is there at a path. A link is no file, whatever it points to."""
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None
        return State(status.st_size, status.st_mtime) if stat.S_ISREG(status.st_mode) else State(-1)

    async def store(self, path: str, data: bytes, modified: float | None, *, replace: bool) -> None:
        """
        Write a small file, right here: a thread costs more than a block's way into the page cache.

        :raises OSError: naming the file.
        """
        temporary = f"{path.rpartition('/')[0]}/.{self._token}{next(self._numbers)}.part"
        descriptor = os.open(temporary, _NEW_FILE, 0o666)
        try:
            try:
                write_all(descriptor, data, path)
                if modified is not None:
                    os.utime(descriptor, (modified, modified))
            finally:
                os.close(descriptor)
            _move(temporary, path, replace=replace)
        except BaseException:
            os.unlink(temporary)
            raise

    def staging(self, path: str) -> tuple[str, str]:
        """Return the folder for the part of a file, which is the file's own, and the name to call it after."""
        folder, _, name = path.rpartition("/")
        return folder, name

    async def store_part(self, part: str, path: str, modified: float | None, *, replace: bool) -> None:
        """Give a complete part its final name."""
        if modified is not None:
            os.utime(part, (modified, modified))
        _move(part, path, replace=replace)

    def local_path(self, path: str) -> Path:
        """Return a path as the user gets it."""
        return Path(path)


class LocalFile:
    """
    A local file that is uploaded.

    :param path: the file's path.
    """

    def __init__(self, path: Path) -> None:
        self.path: PurePath = path
        self.local_path = path

    async def state(self) -> State:
        """
        Return the size and time of the file; a link counts as what it leads to.

        :raises OSError: if it is missing, or no regular file.
        """
        return self.look()

    def look(self) -> State:
        """As :meth:`state`, which takes no waiting."""
        return _state(os.stat(self.path), self.path)

    async def read(self, state: State) -> bytes:
        """
        Read the file, right here: a thread costs more.

        :raises FileChanged: if it is not as it was any more.
        """
        descriptor = _open(self.path)
        try:
            # A byte more than there should be.
            data = os.read(descriptor, state.size + 1)
            if len(data) != state.size or _state(os.fstat(descriptor), self.path) != state:
                raise has_changed(self.path)
        finally:
            os.close(descriptor)
        return data

    async def blocks(self, start: int, state: State, block_bytes: int) -> AsyncGenerator[bytes, None]:
        """
        Iterate over the bytes from an offset on.

        :raises FileChanged: at the end or before, if the file is not as it was any more.
        """
        portion_bytes = max(_PORTION_BYTES // block_bytes, 1) * block_bytes
        descriptor = _open(self.path)
        try:
            while start < state.size:
                wanted = min(portion_bytes, state.size - start)
                portion = await asyncio.to_thread(os.pread, descriptor, wanted, start)
                if len(portion) != wanted:
                    raise has_changed(self.path)
                for offset in range(0, wanted, block_bytes):
                    yield portion[offset : offset + block_bytes]
                start += wanted
            if _state(os.fstat(descriptor), self.path) != state:
                raise has_changed(self.path)
        finally:
            # A thread that is reading still, because this was cancelled, throws away what it reads.
            os.close(descriptor)

    async def sha256(self) -> str:
        """Return the checksum of the file, in hexadecimal."""
        return await asyncio.to_thread(_sha256, self.path)


def check_options(existing: str, verify: str) -> None:
    """
    Check what a caller has chosen.

    :raises ValueError: if there is no such choice.
    """
    for name, value, choices in (("existing", existing, get_args(Existing)), ("verify", verify, get_args(Verify))):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def walk_local(folder: Path) -> Iterator[Path]:
    """
    Iterate over the regular files of a local tree; links are neither followed nor found.

    :param folder: the root of the tree.
    :return: the files of one folder, sorted, then those of the folders in it.
    :raises OSError: while iterating, if a folder is missing or must not be read.
    """
    folders = [os.fspath(folder)]
    while folders:
        with os.scandir(folders.pop()) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        yield from (Path(entry.path) for entry in entries if entry.is_file(follow_symlinks=False))
        folders += [entry.path for entry in reversed(entries) if entry.is_dir(follow_symlinks=False)]


def is_same(here: State, remote: State) -> bool:
    """
    Tell whether a file is on the other side already: it has the same size, and the same time to the second.

    :param here: the file on this side; without a time, as in object storage, its size is enough.
    :param remote: the file on the server.
    """
    if here.size != remote.size:
        return False
    return here.modified is None or (remote.modified is not None and int(here.modified) == int(remote.modified))


def has_changed(path: object) -> FileChanged:
    """Return the error for a source on this side that is not as it was any more."""
    return FileChanged(f"'{path}' was changed while it was transferred")


def already_exists(path: str) -> FileExistsError:
    """Return the error for a target that must not be there."""
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def _move(temporary: str, path: str, *, replace: bool) -> None:
    if not replace and os.path.lexists(path):
        raise already_exists(path)
    os.replace(temporary, path)


def _open(path: PurePath) -> int:
    # Not blocking: a pipe of that name would be waited for.
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def _state(status: os.stat_result, path: PurePath) -> State:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "No regular file", str(path))
    return State(status.st_size, status.st_mtime, str(status.st_mtime_ns))


def _sha256(path: PurePath) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
