# SPDX-License-Identifier: Apache-2.0
"""A message as its author sees it."""

from __future__ import annotations

import mimetypes
import os
import re
from dataclasses import dataclass, field
from email.headerregistry import Address
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_async.core.keys import plain_key
from airflow_provider_async.errors import InvalidMessage
from airflow_provider_async.smtp.addresses import read_mailbox, read_mailboxes
from airflow_provider_async.smtp.headers import check_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.smtp.addresses import Addresses

__all__ = ["Attachment", "AttachmentLike", "Message"]

#: What stands for an attachment: itself, or the path of a file.
AttachmentLike: TypeAlias = "Attachment | str | os.PathLike[str]"

_MIME_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+", re.IGNORECASE)
_UNKNOWN_TYPE = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Attachment:
    """
    A file that goes with a message.

    :param content: the path of a file, which is read when the message is sent; or bytes.
    :param name: what it is called; by default the file's name, and to be given with bytes.
    :param type: its MIME type, such as ``application/pdf``; by default guessed from the name.
    """

    content: str | os.PathLike[str] | bytes = field(repr=False)
    name: str = ""
    type: str = ""

    def __post_init__(self) -> None:
        """
        Find what is not given.

        :raises InvalidMessage: if that cannot be found, or what is given cannot be used.
        """
        if not isinstance(self.content, (str, os.PathLike, bytes)):
            raise InvalidMessage(f"an attachment is a path or bytes, not of type {type(self.content).__name__}")
        name = self.name or ("" if isinstance(self.content, bytes) else Path(self.content).name)
        name = check_text(name, "the name of an attachment").strip()
        if not name:
            raise InvalidMessage("an attachment of bytes needs a name")
        kind = self.type
        if not kind:
            guessed, encoding = mimetypes.guess_type(name)
            # Of a compressed file, the type of what is inside is guessed.
            kind = _UNKNOWN_TYPE if guessed is None or encoding is not None else guessed
        if _MIME_TYPE.fullmatch(kind) is None or kind.startswith(("multipart/", "message/")):
            raise InvalidMessage(f"the attachment {name!r} cannot be of the type {kind!r}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "type", kind.lower())

    @classmethod
    def of(cls, value: AttachmentLike) -> Attachment:
        """Make one of a path, if it is none yet."""
        return value if isinstance(value, cls) else cls(value)  # type: ignore[arg-type]

    def read(self) -> bytes:
        """
        Return what is in it.

        :raises InvalidMessage: if its file cannot be read.
        """
        if isinstance(self.content, bytes):
            return self.content
        try:
            return Path(self.content).read_bytes()
        except OSError as error:
            raise InvalidMessage(f"the attachment {self.name!r} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    A message to one or more recipients, who see each other unless they are in ``bcc``.

    For a message of its own to each of many, make one for each. All recipients of one message get the same bytes, in
    envelopes of as many recipients as a server takes.

    An address is written as ``jane@example.com`` or ``Jane Doe <jane@example.com>``, with quotes around a name that has
    a comma in it, or is an ``email.headerregistry.Address``; several are a list, or one text with commas between them.

    With ``context``, the subject, ``html``, ``text`` and ``unsubscribe`` are templates of Jinja: the text of one, or,
    for ``html`` and ``text``, the name of a file, if it ends in ``.html``, ``.htm``, ``.txt``, ``.jinja``, ``.jinja2``
    or ``.j2`` and has no space in it. In a task they are rendered as Airflow renders them, with the task's context and
    this one's values. Without ``context``, they are sent as they are.

    :param to: addresses.
    :param subject: without line ends.
    :param html: the body in HTML.
    :param text: the body as plain text; made of ``html`` if there is none.
    :param cc: addresses.
    :param bcc: addresses that no header has.
    :param from_: the address of the author; by default the Connection's ``from_email``.
    :param reply_to: addresses.
    :param attachments: paths of files, or each an :class:`Attachment`.
    :param inline: images in ``html``, by the name that it refers to: ``<img src="cid:logo">`` is
        ``inline={"logo": "logo.png"}``.
    :param headers: further ones; ``Message-ID``, ``Date`` and ``Sender`` replace what would be made.
    :param context: values for the templates; may be empty.
    :param unsubscribe: where to unsubscribe: an ``https:`` or a ``mailto:`` link, or several (RFC 2369).
    :param one_click: whether the ``https:`` link unsubscribes by a POST of its own, as large providers ask of bulk
        senders (RFC 8058).
    :param return_path: where bounces go, if not to the author; empty for nowhere.
    :param key: what tells this message from others of the same work, whatever becomes of its content; see
        :attr:`resume_key`.
    """

    to: Addresses = ()
    subject: str
    html: str | None = None
    text: str | None = None
    cc: Addresses | None = None
    bcc: Addresses | None = field(default=None, repr=False)
    from_: str | Address | None = None
    reply_to: Addresses | None = None
    attachments: Sequence[AttachmentLike] = ()
    inline: Mapping[str, AttachmentLike] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, object] | None = field(default=None, repr=False)
    unsubscribe: str | Sequence[str] = ()
    one_click: bool = False
    return_path: str | None = None
    key: Key | None = None

    def __post_init__(self) -> None:
        """
        Keep addresses that can be iterated over only once, and check what needs no parsing.

        :raises InvalidMessage: naming the argument.
        """
        for name in ("to", "cc", "bcc", "reply_to"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, (str, Address, tuple)):
                try:
                    object.__setattr__(self, name, tuple(value))
                except TypeError:
                    raise InvalidMessage(f"{name} must be an address or a list, not {value!r}") from None
        if isinstance(self.attachments, (str, bytes, os.PathLike, Attachment)):
            raise InvalidMessage("attachments must be a list of attachments, not one")
        if self.key is not None and plain_key(self.key) is None:
            raise InvalidMessage(f"key must be a string, an integer or a tuple of these, not {self.key!r}")
        if self.html is None and self.text is None:
            raise InvalidMessage(f"the message {self.subject!r} has neither html nor text")

    @property
    def resume_key(self) -> Key:
        """
        What tells this message from others, the same at every try.

        It is ``key`` if that is given, and otherwise made of what a retry does not change: the author, the recipients
        of ``to`` and ``cc``, and the subject before it is rendered. Those of ``bcc`` do not count: what is kept of a
        message is kept for each recipient, so that a batch of them may be cut in another way.

        :raises InvalidMessage: naming an address that is none.
        """
        if self.key is not None:
            return self.key
        author = () if self.from_ is None else (read_mailbox(self.from_, "from_").address,)
        to, cc = (
            tuple(one.address for one in read_mailboxes(value, name))
            for name, value in (("to", self.to), ("cc", self.cc))
        )
        return (author, to, cc, self.subject)
