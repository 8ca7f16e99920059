# SPDX-License-Identifier: Apache-2.0
"""Messages made ready to be sent."""

from __future__ import annotations

import copy
import re
import uuid
from datetime import UTC, datetime
from email.generator import BytesGenerator
from email.message import EmailMessage
from email.utils import format_datetime
from hashlib import blake2b
from io import BytesIO
from typing import TYPE_CHECKING, Final

from airflow_provider_async.errors import InvalidMessage
from airflow_provider_async.smtp.addresses import format_mailboxes, read_mailbox, read_mailboxes
from airflow_provider_async.smtp.body import POLICY, set_body
from airflow_provider_async.smtp.headers import Folded, check_text, encode_text, join_folded
from airflow_provider_async.smtp.mail import Mail
from airflow_provider_async.smtp.message import Message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.headerregistry import Address

    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.smtp.addresses import Mailbox

__all__ = ["message_key", "prepare"]

_FIELD_NAME = re.compile(r"[!-9;-~]+")
_MESSAGE_ID = re.compile(r"<[^\s<>@]+@[^\s<>@]+>", re.ASCII)
_LINK = re.compile(r"(https://|mailto:)[!-;=?-~]+")

#: What arguments are for, or what is made of the body: by the names of headers.
_NOT_AS_HEADERS: Final = {
    "from": "from_",
    "to": "to",
    "cc": "cc",
    "bcc": "bcc",
    "reply-to": "reply_to",
    "subject": "subject",
    "return-path": "return_path",
    "list-unsubscribe": "unsubscribe",
    "list-unsubscribe-post": "one_click",
}
_OF_THE_BODY: Final = ("mime-version", "content-")
_OF_ADDRESSES: Final = frozenset(
    {"to", "cc", "reply-to", "sender", "resent-from", "resent-sender", "resent-to", "resent-cc"}
)
#: Of a message of the standard library: written anew, or nobody's to see.
_NOT_COPIED: Final = frozenset({"from", "bcc", "resent-bcc", "return-path"})
_OF_IDS: Final = frozenset({"message-id", "in-reply-to", "references"})

#: A header To must have something in it (RFC 5322, section 3.4).
_NOBODY_TO_SEE: Final = Folded("undisclosed-recipients:;")

#: Behind its angle brackets, a line has room for as much.
_LONGEST_LINK: Final = 900


def message_key(message: Message | EmailMessage) -> Key:
    """
    Return what tells a message from others of the same work, the same at every try.

    Together with the address of a recipient it is what ``resume`` goes by. Of a message of the standard library it is
    its Message-ID, or else its author, recipients (those of Bcc apart) and subject.

    :param message: not yet prepared.
    :raises InvalidMessage: naming an address that is none.
    """
    if not isinstance(message, EmailMessage):
        return message.resume_key
    if message["Message-ID"]:
        return str(message["Message-ID"]).strip()
    addresses = (
        tuple(one.address for one in read_mailboxes(_addresses(message, name), name)) for name in ("From", "To", "Cc")
    )
    return (*addresses, str(message["Subject"] or ""))


def prepare(
    message: Message | EmailMessage, *, from_email: str | Address | None = None, run: str | None = None
) -> Mail:
    """
    Make the envelope and the bytes of a message.

    Each mail has a Message-ID. With ``run``, it is made of that and of :func:`message_key`: the same at the next try,
    and another one in another run, for receivers drop a second message of one id.

    :param message: with its templates rendered.
    :param from_email: the author, if the message names none.
    :param run: what the message is sent by, the same at every try and nowhere else; ``None`` for an id by chance.
    :raises InvalidMessage: naming what cannot be sent.
    :raises TypeError: if it is no message.
    :return: the mail; 7-bit, unless an address needs SMTPUTF8.
    """
    if not isinstance(message, (Message, EmailMessage)):
        raise TypeError(
            f"a message is a Message or an email.message.EmailMessage, not of type {type(message).__name__}"
        )
    local = _local_part(None if run is None else (run, message_key(message)))
    if isinstance(message, EmailMessage):
        made, sender, recipients = _copy(message, from_email, local)
    else:
        made, sender, recipients = _build(message, from_email, local)
    if not recipients:
        raise InvalidMessage(f"the message {str(message_subject(message))!r} has no recipient: give to, cc or bcc")
    stream = BytesIO()
    BytesGenerator(stream, policy=POLICY).flatten(made)
    content = stream.getvalue()
    head = content.partition(b"\r\n\r\n")[0]
    return Mail(
        message_id=str(made["Message-ID"]),
        sender=sender,
        recipients=recipients,
        content=content,
        is_8bit=not content.isascii(),
        needs_smtputf8=not (head.isascii() and sender.isascii() and all(map(str.isascii, recipients))),
    )


def message_subject(message: Message | EmailMessage) -> str:
    """Return the subject of a message of either kind."""
    return str(message["Subject"] or "") if isinstance(message, EmailMessage) else message.subject


def _build(message: Message, from_email: str | Address | None, local: str) -> tuple[EmailMessage, str, tuple[str, ...]]:
    author = read_mailbox(_author(message.from_, from_email), "from_")
    to, cc, bcc, reply_to = (read_mailboxes(getattr(message, name), name) for name in ("to", "cc", "bcc", "reply_to"))
    made = EmailMessage(policy=POLICY)
    made["From"] = format_mailboxes("From", (author,))
    if to or not cc:
        made["To"] = format_mailboxes("To", to) if to else _NOBODY_TO_SEE
    if cc:
        made["Cc"] = format_mailboxes("Cc", cc)
    if reply_to:
        made["Reply-To"] = format_mailboxes("Reply-To", reply_to)
    made["Subject"] = encode_text("Subject", check_text(message.subject, "subject"))
    for name, value in message.headers.items():
        _check_name(name)
        if name in made:
            raise InvalidMessage(f"headers: {name} is given twice")
        made[name] = _fold(name, value)
    _set_unsubscribe(message, made)
    _complete(made, author, local)
    set_body(message, made)
    return made, _sender(message.return_path, message.headers.get("Sender"), author), _each_once(to, cc, bcc)


def _copy(
    message: EmailMessage, from_email: str | Address | None, local: str
) -> tuple[EmailMessage, str, tuple[str, ...]]:
    authors, to, cc, bcc = (read_mailboxes(_addresses(message, name), name) for name in ("From", "To", "Cc", "Bcc"))
    if not authors:
        authors = (read_mailbox(_author(None, from_email), "from_"),)
    # Only its headers are changed; `del` leaves those of the original alone.
    made = copy.copy(message)
    made.policy = POLICY
    given = [(name, value) for name, value in message.items() if name.lower() not in _NOT_COPIED]
    for name in message:
        del made[name]
    made["From"] = format_mailboxes("From", authors)
    if not to and not cc:
        made["To"] = _NOBODY_TO_SEE
    for name, value in given:
        if name.lower() in _OF_ADDRESSES:
            mailboxes = read_mailboxes(_as_addresses(value, name), name)
            if mailboxes:
                made[name] = format_mailboxes(name, mailboxes)
        elif name.lower().startswith(_OF_THE_BODY):
            made[name] = value
        else:
            # A message from a file may have folded it by a tab.
            made[name] = _fold(name, str(value).replace("\t", " "))
    _complete(made, authors[0], local)
    return_path = message["Return-Path"]
    bounces = None if return_path is None else str(return_path).strip().strip("<>")
    return made, _sender(bounces, message["Sender"], authors[0]), _each_once(to, cc, bcc)


def _addresses(message: EmailMessage, name: str) -> Iterator[str | Address]:
    for value in message.get_all(name, ()):
        yield from _as_addresses(value, name)


def _as_addresses(value: object, name: str) -> tuple[str | Address, ...]:
    """Return the addresses of a header, which the policy of its message has parsed, or has not."""
    if not hasattr(value, "groups"):
        return (str(value),) if str(value).strip() else ()
    if any(group.display_name is not None and group.addresses for group in value.groups):
        raise InvalidMessage(f"{name} has a named group of addresses, which is not supported: {str(value)[:80]!r}")
    return tuple(value.addresses)  # type: ignore[attr-defined]


def _author(given: str | Address | None, default: str | Address | None) -> str | Address:
    author = given or default
    if author is None or author == "":
        raise InvalidMessage("the message has no author: give from_, or from_email in the Connection's extras")
    return author


def _sender(return_path: str | None, sender: object, author: Mailbox) -> str:
    if return_path == "":
        return ""
    if return_path is not None:
        return read_mailbox(return_path, "return_path").address
    return author.address if sender is None else read_mailbox(str(sender), "Sender").address


def _each_once(*mailboxes: tuple[Mailbox, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.address for some in mailboxes for one in some))


def _local_part(identity: tuple[str, Key] | None) -> str:
    # `ascii` tells all keys apart.
    return uuid.uuid4().hex if identity is None else blake2b(ascii(identity).encode(), digest_size=16).hexdigest()


def _complete(made: EmailMessage, author: Mailbox, local: str) -> None:
    if "Date" not in made:
        made["Date"] = Folded(format_datetime(datetime.now(UTC)))
    if "Message-ID" not in made:
        made["Message-ID"] = Folded(f"<{local}@{author.domain}>")


def _check_name(name: str) -> None:
    """Refuse the name of a header that is none, or that an argument is for."""
    lower = name.lower()
    if _FIELD_NAME.fullmatch(name) is None:
        raise InvalidMessage(f"headers: {name!r} cannot be the name of a header")
    if (argument := _NOT_AS_HEADERS.get(lower)) is not None:
        raise InvalidMessage(f"headers: give {argument}=... instead of {name}")
    if lower.startswith(_OF_THE_BODY):
        raise InvalidMessage(f"headers: {name} is made of the body")


def _fold(name: str, value: object) -> Folded:
    """Check and fold the value of a header."""
    lower = name.lower()
    text = check_text(value, f"the header {name}")
    if lower in _OF_ADDRESSES:
        return format_mailboxes(name, read_mailboxes(text, name))
    if lower in _OF_IDS:
        ids = text.split()
        if not ids or not all(map(_MESSAGE_ID.fullmatch, ids)) or (lower == "message-id" and len(ids) > 1):
            raise InvalidMessage(f"headers: {name} must be such as '<1@example.com>', not {text[:80]!r}")
        return join_folded(name, ids, separator="")
    return encode_text(name, text)


def _set_unsubscribe(message: Message, made: EmailMessage) -> None:
    links = (message.unsubscribe,) if isinstance(message.unsubscribe, str) else tuple(message.unsubscribe)
    links = tuple(filter(None, links))
    for link in links:
        if _LINK.fullmatch(check_text(link, "unsubscribe")) is None or len(link) > _LONGEST_LINK:
            raise InvalidMessage(f"unsubscribe must be an https: or a mailto: link, encoded, not {link[:80]!r}")
    if message.one_click and not any(link.startswith("https:") for link in links):
        raise InvalidMessage("one_click needs an https: link to unsubscribe at (RFC 8058)")
    if links:
        made["List-Unsubscribe"] = join_folded("List-Unsubscribe", [f"<{link}>" for link in links])
    if message.one_click:
        made["List-Unsubscribe-Post"] = Folded("List-Unsubscribe=One-Click")
