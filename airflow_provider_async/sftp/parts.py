# SPDX-License-Identifier: Apache-2.0
"""Files that are not complete yet: what they are called, and how a large one is continued by whoever tries next."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import secrets
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_async.errors import FileChanged, VerificationFailed

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterator

__all__ = ["LARGE_BYTES", "Part", "digest_of", "is_hopeless", "open_part", "part_name", "temporary_name", "write_all"]

#: What came of a file above this size is kept when its transfer fails, and the next attempt goes on from there.
LARGE_BYTES = 8 * 1024 * 1024

#: What a block's way into the page cache never takes. The event loop must not be held up so long again and again.
_SLOW_SECONDS = 0.02

_DIGEST_LENGTH = 16

#: A file name has 255 bytes on most systems. One that is too long to have something put around it is replaced.
_MAX_NAME_BYTES = 255 - len(".." + ".part") - _DIGEST_LENGTH

_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def temporary_name() -> str:
    """Return a name for a file that is not complete yet, which patterns do not find and nobody can foresee."""
    return f".{secrets.token_hex(8)}.part"


def digest_of(*identity: object) -> str:
    """Return what stands in a part's name for one version of its source: other contents, another digest."""
    text = "\0".join(map(str, identity))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGEST_LENGTH]


def part_name(name: str, digest: str) -> str:
    """
    Return the name of a part, in the folder of the file that it is to become.

    :param name: of the file.
    :param digest: of the source's version.
    """
    return f".{_short(name)}.{digest}.part"


def is_hopeless(error: BaseException) -> bool:
    """Tell whether an error means that a part is of no use to the next attempt."""
    return isinstance(error, (FileChanged, VerificationFailed, FileExistsError))


@dataclass
class Part:
    """
    An open local file that becomes another when it is complete.

    :param path: where it is.
    :param descriptor: of the open file.
    :param length: its bytes so far.
    """

    path: str
    descriptor: int
    length: int = 0

    async def write_all(self, blocks: AsyncIterable[bytes], on_written: Callable[[int], object]) -> None:
        """
        Append blocks: right here, which costs less than a thread, or in one if the disk turns out to be slow.

        :param blocks: of any size.
        :param on_written: told the size of each.
        :raises OSError: naming the file, if the disk is full, for example.
        """
        is_slow = False
        async for block in blocks:
            if is_slow:
                await self._write_in_thread(block)
            else:
                began = time.monotonic()
                self._write(block)
                is_slow = time.monotonic() - began > _SLOW_SECONDS
            on_written(len(block))

    async def _write_in_thread(self, block: bytes) -> None:
        writing = asyncio.get_running_loop().run_in_executor(None, self._write, block)
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, and the file must not be closed beneath it.
            await asyncio.wait([writing])
            raise

    def _write(self, block: bytes) -> None:
        write_all(self.descriptor, block, self.path)
        self.length += len(block)

    def sha256(self) -> str:
        """Return the checksum of all bytes so far, in hexadecimal."""
        with Path(self.path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def open_part(folder: str, name: str, digest: str | None, size: int) -> Iterator[Part]:
    """
    Open the part of a file.

    With a digest, it is the one that an earlier attempt has left, if there is one, and stays when this one fails; parts
    of other versions are removed. While another process is at work on it, and without a digest, it is a new file, which
    is removed when the attempt fails.

    :param folder: where the part is.
    :param name: of the file that it is to become.
    :param digest: of the source's version.
    :param size: of the source; a longer part is emptied.
    """
    part = None
    if digest is not None:
        _remove_others(folder, name, digest)
        part = _open_locked(f"{folder}/{part_name(name, digest)}")
    stays = part is not None
    if part is None:
        path = f"{folder}/{temporary_name()}"
        part = Part(path, os.open(path, _OPEN_FLAGS | os.O_EXCL, 0o666))
    try:
        if part.length > size:
            os.ftruncate(part.descriptor, 0)
            part.length = 0
        os.lseek(part.descriptor, part.length, os.SEEK_SET)
        yield part
    except BaseException as error:
        if not stays or is_hopeless(error):
            Path(part.path).unlink(missing_ok=True)
        raise
    finally:
        os.close(part.descriptor)


def write_all(descriptor: int, data: bytes, path: str) -> None:
    """
    Write to an open file.

    :param path: what the error names.
    """
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, memoryview(data)[written:])
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error


def _open_locked(path: str) -> Part | None:
    """Open a part that no other process is at work on, or return ``None``."""
    while True:
        try:
            descriptor = os.open(path, _OPEN_FLAGS, 0o666)
        except OSError:
            if os.path.lexists(path):
                # A link, or somebody else's.
                return None
            raise
        if not _lock(descriptor):
            os.close(descriptor)
            return None
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid():
            os.close(descriptor)
            return None
        # Whoever had it locked before may have completed it, and then the file is no part any more.
        with suppress(FileNotFoundError):
            if os.path.samestat(state, os.lstat(path)):
                return Part(path, descriptor, state.st_size)
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        # Another process has the lock, or the file system knows none.
        return False
    return True


def _remove_others(folder: str, name: str, digest: str) -> None:
    pattern = re.compile(re.escape(f".{_short(name)}.") + f"[0-9a-f]{{{_DIGEST_LENGTH}}}" + re.escape(".part"))
    mine = part_name(name, digest)
    with os.scandir(folder) as entries:
        others = [entry.path for entry in entries if entry.name != mine and pattern.fullmatch(entry.name)]
    for path in others:
        with suppress(OSError):
            part = _open_locked(path)
            if part is not None:
                Path(path).unlink()
                os.close(part.descriptor)


def _short(name: str) -> str:
    return name if len(os.fsencode(name)) <= _MAX_NAME_BYTES else digest_of(name)
