# SPDX-License-Identifier: Apache-2.0
"""Files on the server and their counterparts here, and which name the one gets for the other."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Literal, TypeAlias

from airflow_provider_async.errors import UnsafePath

__all__ = ["RemoteEntry", "RemoteFile", "RemotePath", "TargetNames", "TransferredFile", "remote_path"]


@dataclass(frozen=True, slots=True)
class RemoteEntry:
    """
    One name in a remote folder.

    :param path: the folder's path and the name.
    :param kind: what it is; a link is a link, whatever it points to.
    :param size: in bytes, if the server tells.
    :param modified: seconds since 1970, if the server tells.
    """

    path: str
    kind: Literal["file", "folder", "link", "other"]
    size: int | None = None
    modified: float | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return posixpath.basename(self.path)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """
    A remote file that was read.

    :param path: where it is on the server, as it was asked for.
    :param data: all of its bytes.
    """

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class TransferredFile:
    """
    A file that was downloaded or uploaded.

    :param path: where it is on the server.
    :param local_path: where it is here.
    :param size: its bytes.
    """

    path: str
    local_path: Path
    size: int


#: What names a remote file: a path, or an entry of a listing.
RemotePath: TypeAlias = str | PurePosixPath | RemoteEntry


def remote_path(path: RemotePath) -> str:
    """Return the path that names a remote file."""
    return path.path if isinstance(path, RemoteEntry) else str(path)


class TargetNames:
    """
    The names that the files of one download or upload get in the target folder, each of which stays inside of it.

    :param base: the folder whose structure is kept below the target; ``None`` if the target gets the bare names.
    """

    def __init__(self, base: PurePath | None) -> None:
        self._base = base
        self._sources: dict[str, str] = {}

    def name(self, source: PurePath) -> str:
        """
        Return the target's path relative to the target folder, with ``/`` between its parts.

        Asking again for the same file gives the same name.

        :param source: the file's path where it comes from.
        :raises UnsafePath: if the target would be outside of the target folder, or is another file's already.
        """
        inside = PurePosixPath(source.name) if self._base is None else _below(self._base, source)
        # PurePath has dropped every "." and "//" already, and joins nothing but what stands between the slashes.
        if not inside.parts or ".." in inside.parts or "\0" in str(inside):
            raise UnsafePath(f"{str(source)!r} names no file inside of a folder")
        target = str(inside)
        other = self._sources.setdefault(target, str(source))
        if other != str(source):
            raise UnsafePath(f"{str(source)!r} and {other!r} would both become {target!r}; 'base' keeps their folders")
        return target


def _below(base: PurePath, source: PurePath) -> PurePath:
    try:
        return source.relative_to(base)
    except ValueError:
        raise UnsafePath(f"{str(source)!r} is not below {str(base)!r}") from None
