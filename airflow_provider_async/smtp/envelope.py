# SPDX-License-Identifier: Apache-2.0
"""A mail in the words of SMTP: the commands of its envelope, and its content as it is sent after DATA."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_async.smtp.mail import Mail

__all__ = [
    "Extensions",
    "address_problem",
    "dot_stuffed",
    "mail_command",
    "mail_problem",
    "normal_lines",
    "rcpt_command",
    "split",
]

#: RFC 5321, section 4.5.3.1.3: a path has 256 octets, its brackets included.
_ADDRESS_BYTES = 254

#: What an address cannot have outside of a quoted local part (RFC 5321, section 4.1.2), and what would end a command.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNQUOTED = re.compile(r"[\s<>(),;:\\\"\[\]@]")

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True, slots=True)
class Extensions:
    """
    What a server offers (RFC 5321, section 2.2).

    :param pipelining: whether commands may be sent without waiting for answers (RFC 2920).
    :param chunking: whether it knows BDAT (RFC 3030).
    :param eight_bit: whether it takes bytes above 127 in a content (RFC 6152).
    :param smtputf8: whether it takes other characters than ASCII in addresses and headers (RFC 6531).
    :param knows_size: whether it wants to know how large a message is (RFC 1870).
    :param most_bytes: no message may be larger; ``None`` if it does not say.
    """

    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    knows_size: bool = False
    most_bytes: int | None = None

    @classmethod
    def of(cls, offered: Mapping[str, str]) -> Extensions:
        """
        Read what a server answered to EHLO.

        :param offered: parameters by keyword, in lower case.
        """
        size = offered.get("size", "").strip()
        return cls(
            pipelining="pipelining" in offered,
            chunking="chunking" in offered,
            eight_bit="8bitmime" in offered,
            smtputf8="smtputf8" in offered,
            knows_size="size" in offered,
            # RFC 1870, section 4: zero is no limit.
            most_bytes=int(size) or None if size.isascii() and size.isdigit() else None,
        )


def mail_problem(mail: Mail, size: int, extensions: Extensions) -> str | None:
    """
    Return why a server cannot take a mail, before anything of it is sent.

    :param mail: the mail.
    :param size: of its content, in bytes.
    :param extensions: what the server offers.
    """
    if extensions.most_bytes is not None and size > extensions.most_bytes:
        return f"the message has {size} bytes, and the server takes {extensions.most_bytes} at most"
    if mail.needs_smtputf8 and not extensions.smtputf8:
        return "the message has addresses or headers beyond ASCII, and the server does not offer SMTPUTF8"
    if mail.is_8bit and not extensions.eight_bit:
        return "the message has bytes above 127, and the server does not offer 8BITMIME"
    if mail.sender and (problem := address_problem(mail.sender, allows_utf8=extensions.smtputf8)) is not None:
        return f"the sender {problem}"
    return None


def address_problem(address: str, *, allows_utf8: bool) -> str | None:
    """
    Return why an address cannot stand in an envelope.

    :param address: without angle brackets and without a name.
    :param allows_utf8: whether the server offers SMTPUTF8.
    """
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain or _CONTROL.search(address):
        return f"{address!r} is no address"
    is_quoted = local.startswith('"') and local.endswith('"') and len(local) > 1
    is_literal = domain.startswith("[") and domain.endswith("]")
    if (not is_quoted and _UNQUOTED.search(local)) or (not is_literal and _UNQUOTED.search(domain)):
        return f"{address!r} is no address"
    if not address.isascii() and not allows_utf8:
        return f"{address!r} is not ASCII, and the server does not offer SMTPUTF8"
    if len(address.encode()) > _ADDRESS_BYTES:
        return f"{address[:64]!r}... is longer than {_ADDRESS_BYTES} bytes"
    return None


def mail_command(mail: Mail, recipients: Sequence[str], size: int, extensions: Extensions) -> bytes:
    """Return the command that begins a transaction; the mail has none of the problems above."""
    parameters = ""
    if extensions.knows_size:
        parameters += f" SIZE={size}"
    if mail.is_8bit:
        parameters += " BODY=8BITMIME"
    if mail.needs_smtputf8 or not (mail.sender.isascii() and all(map(str.isascii, recipients))):
        parameters += " SMTPUTF8"
    return f"MAIL FROM:<{mail.sender}>{parameters}\r\n".encode()


def rcpt_command(address: str) -> bytes:
    """Return the command that names a recipient."""
    return f"RCPT TO:<{address}>\r\n".encode()


def normal_lines(content: bytes) -> bytes:
    """
    Return a content whose lines all end with CRLF, and no other CR or LF is left (RFC 5321, section 2.3.8).

    A lone one could look like the end of the message to some server, and what follows like the next one.
    """
    ends = content.count(b"\r\n")
    if content.count(b"\n") != ends or content.count(b"\r") != ends:
        content = _LINE_END.sub(b"\r\n", content)
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def dot_stuffed(content: bytes) -> bytes:
    """Return a content of normal lines as it is sent after DATA, the final dot included (RFC 5321, section 4.5.2)."""
    content = content.replace(b"\r\n.", b"\r\n..")
    return b"".join((b"." if content.startswith(b".") else b"", content, b".\r\n"))


def split(recipients: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Return recipients in envelopes of so many at most (RFC 5321, section 4.5.3.1.8)."""
    return [tuple(recipients[first : first + most]) for first in range(0, len(recipients), most)]
