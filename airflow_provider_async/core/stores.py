# SPDX-License-Identifier: Apache-2.0
"""Where checkpoints are kept outside of Airflow."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FileStore"]


class FileStore:
    """
    Keeps values in files, each of which appears when it is complete.

    :param folder: made if it is missing, and removed with its last file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, key: str) -> str | None:
        """Return what is kept under a key, if there is anything."""
        return await asyncio.to_thread(self._get, key)

    async def set(self, key: str, value: str) -> None:
        """Keep a value under a key, in place of any other."""
        await asyncio.to_thread(self._set, key, value)

    async def delete(self, key: str) -> None:
        """Remove what is kept under a key, if there is anything."""
        await asyncio.to_thread(self._delete, key)

    def _get(self, key: str) -> str | None:
        try:
            return (self._folder / key).read_text()
        except FileNotFoundError:
            return None

    def _set(self, key: str, value: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{key}.{secrets.token_hex(4)}"
        try:
            temporary.write_text(value)
            temporary.replace(self._folder / key)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _delete(self, key: str) -> None:
        (self._folder / key).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()
