# SPDX-License-Identifier: Apache-2.0
"""Where checkpoints are kept outside of Airflow, and what all places to keep them have in common."""

from __future__ import annotations

import asyncio
import contextvars
import secrets
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["FileStore", "ThreadedStore"]

T = TypeVar("T")


class ThreadedStore(ABC):
    """
    A store of blocking calls, each made in a thread.

    A call goes on when whoever waits for it is cancelled, so an older value may come late: it does not replace a newer
    one then.
    """

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._turn = 0
        self._turns: dict[str, int] = {}

    async def get(self, key: str) -> str | None:
        """Return what is kept under a key, if there is anything."""
        return await _in_thread(lambda: self.read(key))

    async def set(self, key: str, value: str) -> None:
        """Keep a value under a key, in place of any other."""
        await self._change(key, lambda: self.write(key, value))

    async def delete(self, key: str) -> None:
        """Remove what is kept under a key, if there is anything."""
        await self._change(key, lambda: self.remove(key))

    async def _change(self, key: str, call: Callable[[], None]) -> None:
        self._turn = turn = self._turn + 1

        def change() -> None:
            with self._one_at_a_time:
                if turn > self._turns.get(key, 0):
                    call()
                    self._turns[key] = turn

        await _in_thread(change)

    @abstractmethod
    def read(self, key: str) -> str | None:
        """Do what :meth:`get` does, and block."""

    @abstractmethod
    def write(self, key: str, value: str) -> None:
        """Do what :meth:`set` does, and block."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Do what :meth:`delete` does, and block."""


async def _in_thread(call: Callable[[], T]) -> T:
    # Not in the loop's default executor: others may have filled it, and a call that hangs would be waited for.
    result: Future[T] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            value = context.run(call)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            result.set_exception(error)
        else:
            result.set_result(value)

    result.set_running_or_notify_cancel()
    threading.Thread(target=work, name="checkpoints", daemon=True).start()
    return await asyncio.wrap_future(result)


class FileStore(ThreadedStore):
    """
    Keeps values in files, each of which appears when it is complete.

    :param folder: made if it is missing, and removed with its last file.
    :param below: those of the folder's parents that are below this one are removed with it when they are empty.
    """

    def __init__(self, folder: Path, *, below: Path | None = None) -> None:
        super().__init__()
        self._folder = folder
        self._below = below

    def read(self, key: str) -> str | None:
        """Read a file."""
        try:
            return (self._folder / key).read_text()
        except FileNotFoundError:
            return None

    def write(self, key: str, value: str) -> None:
        """Write a file beside the one that it then replaces."""
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{key}.{secrets.token_hex(4)}"
        try:
            temporary.write_text(value)
            temporary.replace(self._folder / key)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def remove(self, key: str) -> None:
        """Remove a file, and the folder with the last one."""
        (self._folder / key).unlink(missing_ok=True)
        with suppress(OSError):  # there are others
            left = [*self._folder.iterdir()]
            if all(path.name.startswith(".") for path in left):
                for path in left:  # of a process that was killed while it wrote
                    path.unlink(missing_ok=True)
            self._folder.rmdir()
            folder = self._folder.parent
            while self._below in folder.parents:
                folder.rmdir()
                folder = folder.parent
