# SPDX-License-Identifier: Apache-2.0
"""Files on the server and their counterparts here, and which name the one gets for the other."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from airflow_provider_async.errors import UnsafePath

if TYPE_CHECKING:
    from pathlib import Path

    from airflow.sdk import ObjectStoragePath

    from airflow_provider_async.core.keys import Key

__all__ = [
    "Kind",
    "Missing",
    "MovedFile",
    "RemoteEntry",
    "RemoteFile",
    "RemotePath",
    "TargetNames",
    "TransferredFile",
    "remote_key",
    "remote_path",
    "version_key",
]

#: What a name in a folder stands for.
Kind: TypeAlias = Literal["file", "folder", "link", "other"]

#: What is done about a file that is not there.
Missing: TypeAlias = Literal["error", "ignore"]


class RemoteEntry(str):
    """
    One name in a remote folder: its path, a string, which also tells what is there.

    It compares, sorts, hashes and becomes JSON as its path does; what is made of it, such as by ``entry + ".done"``, is
    a plain string.

    :param path: the folder's path and the name.
    :param kind: what it is; a link is a link, whatever it points to.
    :param size: in bytes, if the server tells.
    :param modified: seconds since 1970, if the server tells.
    """

    __slots__ = ("kind", "modified", "size")

    kind: Kind
    size: int | None
    modified: float | None

    def __new__(cls, path: str, kind: Kind, size: int | None = None, modified: float | None = None) -> Self:  # noqa: D102
        entry = super().__new__(cls, path)
        entry.kind = kind
        entry.size = size
        entry.modified = modified
        return entry

    @property
    def path(self) -> str:
        """The path as a plain string."""
        return str(self)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self)

    @property
    def resume_key(self) -> str:
        """What ``resume`` goes by: a file whose size or time has changed is another one."""
        return remote_key(self)

    def __reduce__(self) -> tuple[type[Self], tuple[str, Kind, int | None, float | None]]:
        return type(self), (str(self), self.kind, self.size, self.modified)

    def __repr__(self) -> str:
        return f"RemoteEntry({str(self)!r}, {self.kind!r}, size={self.size}, modified={self.modified})"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """
    A remote file that was read.

    :param path: where it is on the server, as it was asked for.
    :param data: all of its bytes.
    """

    path: str
    data: bytes

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class TransferredFile:
    """
    A file that was downloaded or uploaded.

    :param path: where it is on the server.
    :param local_path: where it is here.
    :param size: its bytes.
    :param skipped: whether it was there already and was left alone.
    """

    path: str
    local_path: Path | ObjectStoragePath
    size: int
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class MovedFile:
    """
    A remote file that was moved to another folder of its server.

    :param path: where it was.
    :param new_path: where it is now.
    :param skipped: whether nothing was moved: the same file was there already, or this one was missing.
    """

    path: str
    new_path: str
    skipped: bool = False


#: What names a remote file: a path, which an entry of a listing is too.
RemotePath: TypeAlias = str | PurePosixPath


def remote_path(path: RemotePath) -> str:
    """Return the path that names a remote file, as a plain string."""
    return str(path)


def remote_key(path: RemotePath) -> str:
    """Return what ``resume`` goes by: the path, and what a listing has told of the file."""
    if isinstance(path, RemoteEntry):
        return version_key(path, path.size, path.modified)
    return str(path)


def version_key(path: str, size: int | None, modified: float | None) -> str:
    """
    Return what tells a version of a file from others, and from other files.

    :param path: where it is.
    :param size: in bytes, if that is known.
    :param modified: seconds since 1970, if that is known; some servers tell whole ones, others fractions.
    """
    # No path has a NUL in it. A string costs half of what a tuple does.
    known_size = "" if size is None else size
    return f"{path}\0{known_size}\0{'' if modified is None else int(modified)}"


class TargetNames:
    """
    The names that the files of one download or upload get in the target folder, each of which stays inside of it.

    :param base: the folder whose structure is kept below the target; ``None`` if the target gets the bare names.
    """

    def __init__(self, base: PurePath | None) -> None:
        self._base = base
        self._start = None if base is None else f"{str(base).rstrip('/')}/"
        self._sources: dict[str, str] = {}

    def name(self, source: PurePath | str) -> str:
        """
        Return the target's path relative to the target folder, with ``/`` between its parts.

        Asking again for the same file gives the same name.

        :param source: the file's path where it comes from; a string is a path with ``/`` between its parts.
        :raises UnsafePath: if the target would be outside of the target folder, or is another file's already.
        """
        target = self._plain_name(str(source)) or self._careful_name(source)
        if self._start is not None:
            # Below a base, different paths are different targets.
            return target
        other = self._sources.setdefault(target, str(source))
        if other != str(source):
            raise UnsafePath(f"{str(source)!r} and {other!r} would both become {target!r}; 'base' keeps their folders")
        return target

    def claim(self, source: PurePath | str, key: Key) -> Key:
        """
        Take a name for a file before it is known whether an earlier try has done it: no other may have it either way.

        :param key: what ``resume`` goes by.
        :return: the key. Of a file that cannot have the name it is another one, so that it is not left out and fails.
        """
        # Below a base, there is nothing to take.
        if self._start is None:
            try:
                self.name(source)
            except UnsafePath:
                return ("no name", key)
        return key

    def _plain_name(self, source: str) -> str | None:
        """Name what has nothing in it to be careful about; a pure path costs more than a file's way to the disk."""
        if "//" in source or "/." in source or "\0" in source or source[:1] == "." or source[-1:] == "/":
            return None
        if self._start is None:
            return source.rpartition("/")[2]
        return source[len(self._start) :] if source.startswith(self._start) else None

    def _careful_name(self, source: PurePath | str) -> str:
        path = PurePosixPath(source) if isinstance(source, str) else source
        inside = PurePosixPath(path.name) if self._base is None else _below(self._base, path)
        # PurePath has dropped every "." and "//" already, and joins nothing but what stands between the slashes.
        if not inside.parts or ".." in inside.parts or "\0" in str(inside):
            raise UnsafePath(f"{str(source)!r} names no file inside of a folder")
        return str(inside)


def _below(base: PurePath, source: PurePath) -> PurePath:
    try:
        return source.relative_to(base)
    except ValueError:
        raise UnsafePath(f"{str(source)!r} is not below {str(base)!r}") from None
