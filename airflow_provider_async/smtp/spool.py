# SPDX-License-Identifier: Apache-2.0
"""
Mails of many processes of one machine, sent by one of them at a time.

When a hundred tasks fail at once, each in a process of its own, each writes its mail into a folder. Whoever gets the
lock sends all that are there over one connection; the others wait until theirs is gone. What a process leaves behind
that is killed, or whose server is away, is sent by the next one.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import logging
import os
import stat
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from airflow_provider_async.errors import NotificationNotSent
from airflow_provider_async.smtp.mail import Mail

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Iterator
    from contextlib import AbstractAsyncContextManager

    from airflow_provider_async.smtp.results import SendResult

    class Sender(Protocol):
        """A pool, as far as this needs it."""

        def send_many(self, messages: Iterable[Mail], *, raise_on: None) -> AsyncIterable[SendResult]:
            """Send mails, and iterate over what became of each to each recipient."""


__all__ = ["Spool"]

log = logging.getLogger(__name__)

#: How often a process looks whether its mail was sent by another one.
_POLL_SECONDS: Final = 0.05

#: Nobody wants to be told of a failure later than that.
_LONGEST_SECONDS: Final = 24 * 60 * 60

# The states of a mail are the endings of its file; without a file, it was sent.
_WAITING: Final = ".mail"
_DEFERRED: Final = ".deferred"
_FAILED: Final = ".failed"

_numbers = itertools.count()


class Spool:
    """
    A folder of mails to one server.

    :param name: of the server, as a part of a path.
    :param folder: where there are such folders; by default one of this user's below the folder for temporary files.
    """

    def __init__(self, name: str, *, folder: Path | None = None) -> None:
        parent = Path(tempfile.gettempdir()) / f"airflow-async-smtp-{os.getuid()}" if folder is None else folder
        self.folder = parent / name

    def put(self, mail: Mail) -> Path:
        """
        Add a mail.

        :param mail: if its answer is lost, it may be sent a second time, with the same Message-ID.
        :return: its file.
        :raises OSError: if the folder cannot be used.
        """
        self._make_folders()
        path = self.folder / f"{time.time_ns():020}-{os.getpid()}-{next(_numbers)}{_WAITING}"
        self._write(path, mail)
        return path

    async def deliver(
        self, waiting: Path, connect: Callable[[], AbstractAsyncContextManager[Sender]], *, until: float | None = None
    ) -> None:
        """
        Send a mail, and those of others meanwhile, or have others send it.

        :param waiting: its file.
        :param connect: opens what sends mails.
        :param until: when to stop, by the event loop's clock.
        :raises NotificationNotSent: if the server refuses it, for now or for good.
        :raises TimeoutError: if nobody has sent it by then.
        """
        try:
            async with asyncio.timeout_at(until):
                while self._is_waiting(waiting):
                    with self._lock() as is_mine:
                        if is_mine and self._is_waiting(waiting):
                            await self._send_all(connect)
                    if not is_mine:
                        await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            # It may be the mails of others that were not sent in time.
            if self._is_waiting(waiting):
                raise
        self._check(waiting)

    @staticmethod
    def _is_waiting(path: Path) -> bool:
        return path.exists()

    def _make_folders(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.folder.parent, self.folder):
            status = folder.lstat()
            is_own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
            if not is_own or status.st_mode & 0o022:
                raise PermissionError(f"{folder} is no folder that this user alone can write into")

    @staticmethod
    def _write(path: Path, mail: Mail) -> None:
        envelope = asdict(mail)
        content = envelope.pop("content")
        temporary = path.with_suffix(".part")
        temporary.touch(mode=0o600)
        temporary.write_bytes(json.dumps(envelope).encode() + b"\n" + content)
        temporary.replace(path)

    @staticmethod
    def _read(path: Path) -> Mail:
        envelope, _, content = path.read_bytes().partition(b"\n")
        values = json.loads(envelope)
        values["recipients"] = tuple(values["recipients"])
        return Mail(content=content, **values)

    @contextmanager
    def _lock(self) -> Iterator[bool]:
        # Given back by the kernel when the process ends, however it ends.
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                try:
                    yield True
                finally:
                    # Closing would do, but for a process that was forked meanwhile, which has it open, too.
                    fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            os.close(handle)

    async def _send_all(self, connect: Callable[[], AbstractAsyncContextManager[Sender]]) -> None:
        endings: tuple[str, ...] = (_DEFERRED, _WAITING)
        async with connect() as sender:
            while batch := self._batch(*endings):
                results: dict[str, list[SendResult]] = {message_id: [] for message_id in batch}
                async for result in sender.send_many([mail for _, mail in batch.values()], raise_on=None):
                    path, mail = batch[result.message_id]
                    results[result.message_id].append(result)
                    # At once: this process may be killed before the next result comes.
                    if len(results[result.message_id]) == len(mail.recipients):
                        self._settle(path, mail, results.pop(result.message_id))
                for message_id, some in results.items():
                    self._settle(*batch[message_id], some)
                # What is deferred once more has its next chance another time.
                endings = (_WAITING,)

    def _batch(self, *endings: str) -> dict[str, tuple[Path, Mail]]:
        """Read mails, by what tells their results apart: of two with one Message-ID, one is for the next batch."""
        batch: dict[str, tuple[Path, Mail]] = {}
        for path in self._paths(*endings):
            try:
                mail = self._read(path)
            except (ValueError, TypeError, KeyError) as error:
                # It must not keep the others from being sent, nor whoever waits for it.
                log.warning("a notification cannot be read, and is not sent: %s: %r", path, error)
                path.with_suffix(_FAILED).write_text(f"anybody: {path} cannot be read")
                path.rename(path.with_suffix(".unreadable"))
            else:
                batch.setdefault(mail.message_id, (path, mail))
        return batch

    def _paths(self, *endings: str) -> list[Path]:
        oldest = time.time_ns() - _LONGEST_SECONDS * 10**9
        paths = []
        for path in sorted(self.folder.iterdir()):
            if path.name == "lock":
                continue
            if int(path.name.partition("-")[0]) < oldest:
                log.warning("a notification that could not be sent for a day is given up: %s", path)
                path.unlink(missing_ok=True)
            elif path.suffix in endings:
                paths.append(path)
        return paths

    def _settle(self, path: Path, mail: Mail, results: list[SendResult]) -> None:
        settled = {result.recipient for result in results if result.status != "deferred"}
        deferred = tuple(recipient for recipient in mail.recipients if recipient not in settled)
        refused = [result for result in results if result.status in ("rejected", "unknown")]
        if refused:
            problem = "; ".join(f"{one.recipient}: {one.status}: {one.code} {one.response}" for one in refused[:3])
            path.with_suffix(_FAILED).write_text(problem)
        if deferred:
            # In this order: whoever comes next finds one file, with those recipients that are left.
            self._write(path, replace(mail, recipients=deferred))
            path.rename(path.with_suffix(_DEFERRED))
        else:
            path.unlink()

    @staticmethod
    def _check(waiting: Path) -> None:
        failed = waiting.with_suffix(_FAILED)
        if failed.exists():
            problem = failed.read_text()
            failed.unlink()
            raise NotificationNotSent(f"the notification was not sent to {problem}")
        if waiting.with_suffix(_DEFERRED).exists():
            raise NotificationNotSent("the server did not take the notification yet; it goes with the next one")
