# SPDX-License-Identifier: Apache-2.0
"""Mails written into files instead of sent."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_provider_async.smtp.envelope import Extensions
from airflow_provider_async.smtp.replies import Reply
from airflow_provider_async.smtp.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_async.smtp.mail import Mail
    from airflow_provider_async.smtp.session import Source

__all__ = ["DrySession", "write_eml"]

_TAKEN: Final = Reply(250, "")

_UNSAFE = re.compile(r"[^a-z0-9@+_-]+")
_LONGEST_NAME: Final = 60


def write_eml(folder: str | os.PathLike[str], mail: Mail, recipients: Sequence[str] | None = None) -> Path:
    """
    Write a mail into a file that mail programs open.

    The envelope stands above the headers, as ``X-Sender`` and one ``X-Receiver`` for each recipient, those of Bcc
    included, which no header names. The file is there when it is complete. The same mail to the same recipients gives
    the same file.

    :param folder: made if it is missing.
    :param mail: what would be sent.
    :param recipients: of one envelope; by default all of the mail's.
    :return: the path of the file.
    """
    recipients = mail.recipients if recipients is None else recipients
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(mail.message_id, recipients)
    envelope = [f"X-Sender: <{mail.sender}>", *(f"X-Receiver: <{recipient}>" for recipient in recipients)]
    handle, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write("".join(f"{line}\r\n" for line in envelope).encode())
            file.write(mail.content)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def file_name(message_id: str, recipients: Sequence[str]) -> str:
    """
    Return the name of a mail's file: of letters, digits and a few signs, whatever its addresses have in them.

    :param message_id: of the mail.
    :param recipients: the first one is what the name begins with.
    """
    readable = _UNSAFE.sub(".", recipients[0].lower()).strip(".-")[:_LONGEST_NAME]
    digest = blake2b("\0".join((message_id, *recipients)).encode(), digest_size=8).hexdigest()
    return f"{readable or 'mail'}-{digest}.eml"


class DrySession(Session):
    """
    Stands for a connection: to a server that takes everything, and keeps it in files.

    :param folder: of the files.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = folder
        self.extensions = Extensions(eight_bit=True, smtputf8=True)

    @classmethod
    async def open(cls, folder: str | os.PathLike[str]) -> DrySession:  # type: ignore[override]
        """Return one; there is nothing to connect to."""
        return cls(folder)

    async def close(self) -> None:
        """Do nothing."""

    @property
    def is_usable(self) -> bool:
        """Whether another mail can be written: always."""
        return True

    async def send(self, source: Source) -> None:
        """
        Write what a source has, until it has nothing more.

        :param source: told of each mail that it was taken, and where it is.
        :raises OSError: if a file cannot be written.
        """
        while (transaction := source.next(self.extensions, chunks=True)) is not None:
            delivery = transaction.delivery
            try:
                path = await asyncio.to_thread(write_eml, self._folder, delivery.mail, delivery.recipients)
                transaction.to_sender = _TAKEN
                transaction.to_recipients = [_TAKEN] * len(delivery.recipients)
                transaction.to_content = Reply(250, f"written to {path}")
            finally:
                source.ended(transaction)
