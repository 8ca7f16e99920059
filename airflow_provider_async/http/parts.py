# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PTH105, PTH108, PTH123
"""Files that are not complete yet, and what tells whether they can be continued."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from airflow_provider_async.errors import VerificationFailed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Part", "open_part"]

_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

#: At the beginning of a part's second file, so that the tag of something else is not believed.
_TAG_PREFIX = "etag "
_LONGEST_TAG = 1024

_DIGEST_CHARACTERS = 16


class Part:
    """
    An open file that becomes another when it is complete.

    :param path: where it is.
    :param descriptor: of the open file.
    :ivar length: its bytes so far.
    :ivar modified: when the source was changed, in seconds since 1970, if that is known.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self.modified: float | None = None
        self._descriptor = descriptor
        self._tag_path = f"{path}.etag"
        self._tag = self._read_tag()
        self.length = os.fstat(descriptor).st_size if self._tag is not None else 0

    def range_headers(self) -> dict[str, str]:
        """Return what asks for the rest, and for everything if that is another version now."""
        # Of encoded bytes, an offset says nothing.
        headers = {"Accept-Encoding": "identity"}
        if self._tag is not None and self.length:
            headers |= {"Range": f"bytes={self.length}-", "If-Range": self._tag}
        return headers

    def restart(self, tag: str | None) -> None:
        """
        Begin anew.

        :param tag: a strong entity tag of the version that comes now, if there is one.
        """
        os.ftruncate(self._descriptor, 0)
        self.length = 0
        if tag != self._tag:
            self._tag = tag
            self._drop_tag()
            if tag is not None and len(tag) <= _LONGEST_TAG and tag.isprintable():
                descriptor = os.open(self._tag_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
                with open(descriptor, "w", encoding="utf-8") as file:
                    file.write(_TAG_PREFIX + tag)

    def write(self, portions: list[bytes]) -> None:
        """Append bytes."""
        data = memoryview(b"".join(portions))
        while data:
            written = os.pwrite(self._descriptor, data, self.length)
            self.length += written
            data = data[written:]

    def finish(self, path: Path) -> None:
        """Give the complete file its final name."""
        if os.fstat(self._descriptor).st_size != self.length:
            raise VerificationFailed(f"'{path}': what was written has another length than what came")
        if self.modified is not None:
            os.utime(self._descriptor, (self.modified, self.modified))
        os.replace(self.path, path)
        self._drop_tag()

    def clean(self) -> None:
        """Remove what no later attempt can go on from."""
        if self._tag is None or not self.length:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
            self._drop_tag()

    def _read_tag(self) -> str | None:
        try:
            descriptor = os.open(self._tag_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        with open(descriptor, encoding="utf-8", errors="replace") as file:
            text = file.read(_LONGEST_TAG + len(_TAG_PREFIX))
        tag = text.removeprefix(_TAG_PREFIX)
        return tag if text.startswith(_TAG_PREFIX) and tag.startswith('"') and tag.isprintable() else None

    def _drop_tag(self) -> None:
        with suppress(FileNotFoundError):
            os.unlink(self._tag_path)


@contextmanager
def open_part(path: Path, url: str) -> Iterator[Part]:
    """
    Open the part of a file: what an earlier attempt has left, unless another process works on that now.

    :param path: of the file that it is to become.
    :param url: where it comes from; of another URL, another part.
    """
    digest = hashlib.sha256(f"{path.name}\0{url}".encode("utf-8", "surrogateescape")).hexdigest()[:_DIGEST_CHARACTERS]
    name = str(path.parent / f".{digest}.part")
    descriptor = os.open(name, _OPEN_FLAGS, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            name = str(path.parent / f".{secrets.token_hex(_DIGEST_CHARACTERS)}.part")
            descriptor = os.open(name, _OPEN_FLAGS | os.O_EXCL, 0o666)
        part = Part(name, descriptor)
        try:
            yield part
        except BaseException:
            part.clean()
            raise
    finally:
        os.close(descriptor)
