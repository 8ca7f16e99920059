# SPDX-License-Identifier: Apache-2.0
"""Where in a local folder files go, whatever names servers give them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from airflow_provider_async.errors import UnsafePath

__all__ = ["Existing", "TargetFolder"]

#: What is done with a file that is there already.
Existing: TypeAlias = Literal["overwrite", "skip", "error"]


class TargetFolder:
    """
    A folder into which files are downloaded.

    :param folder: made if it is missing.
    :param existing: what happens to a file that is there.
    """

    def __init__(self, folder: str | os.PathLike[str], existing: Existing) -> None:
        if existing not in get_args(Existing):
            raise ValueError(f"existing must be one of {', '.join(get_args(Existing))}, not {existing!r}")
        self._folder = Path(folder)
        self._existing = existing
        self._taken: dict[Path, str] = {}

    def path(self, url: str, name: str) -> Path:
        """
        Return where a file goes, in a folder that is made if it is missing.

        :param url: where the file comes from; no two may have one name.
        :param name: relative to the folder.
        :raises UnsafePath: if that would be outside of the folder, or the file of another URL.
        """
        parts = name.split("/")
        if not name or "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise UnsafePath(f"{urlsplit(url).path!r} gives no name of a file: {name!r}; give name=..., a function")
        path = self._folder.joinpath(*parts)
        other = self._taken.setdefault(path, url)
        if other != url:
            raise UnsafePath(f"two URLs give a file of the name {name!r}; give name=..., a function")
        path.parent.mkdir(parents=True, exist_ok=True)
        # Before anything is written: a link that lies in the folder could lead anywhere.
        if not path.parent.resolve().is_relative_to(self._folder.resolve()):
            raise UnsafePath(f"'{path}' leads out of '{self._folder}' through a link")
        return path

    def is_to_be_skipped(self, path: Path) -> bool:
        """
        Tell whether a file is there and has to stay as it is.

        :raises FileExistsError: if it is there and must not.
        """
        if self._existing == "overwrite" or not os.path.lexists(path):
            return False
        self.check(path)
        return True

    def check(self, path: Path) -> None:
        """
        Look once more before a file appears.

        :raises FileExistsError: if another is there and must not.
        """
        if self._existing == "error" and os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
