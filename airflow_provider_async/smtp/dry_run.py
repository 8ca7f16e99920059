# SPDX-License-Identifier: Apache-2.0
"""Mails written into files instead of sent."""

from __future__ import annotations

import os
import re
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_async.smtp.mail import Mail

__all__ = ["write_eml"]

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
