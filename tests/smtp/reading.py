# SPDX-License-Identifier: Apache-2.0
"""Mails as a receiver reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import NonASCIILocalPartDefect, UndecodableBytesDefect
from email.policy import default
from typing import TYPE_CHECKING, Any, cast

from airflow_provider_async.smtp.message import Message
from airflow_provider_async.smtp.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

    from airflow_provider_async.smtp import Mail

FROM = "shop@example.com"

#: RFC 5322, section 2.1.1, without CRLF.
LONGEST_LINE = 998


@dataclass
class Fields:
    """Of a Connection to a server on this machine, in the clear."""

    port: int
    host: str = "127.0.0.1"
    login: str | None = None
    password: str | None = None
    extra_dejson: dict[str, object] = field(
        default_factory=lambda: {"disable_ssl": True, "disable_tls": True, "from_email": FROM}
    )


#: Headers in UTF-8 (RFC 6532) are what Python's parser, which goes by RFC 5322, calls these.
_UTF8 = (NonASCIILocalPartDefect, UndecodableBytesDefect)


def read(mail: Mail) -> EmailMessage:
    """Parse a mail, once it is sure that it is well-formed."""
    assert b"\r" not in mail.content.replace(b"\r\n", b"")
    assert b"\n" not in mail.content.replace(b"\r\n", b"")
    assert mail.content.endswith(b"\r\n")
    assert max(map(len, mail.content.split(b"\r\n"))) <= LONGEST_LINE
    assert b"\0" not in mail.content
    parsed = message_from_bytes(mail.content, policy=default)
    for part in parsed.walk():
        assert not part.defects
        for name, value in part.items():
            defects = [
                one for one in cast("Any", value).defects if not (mail.needs_smtputf8 and isinstance(one, _UTF8))
            ]
            assert not defects, (name, value)
    return parsed


def send(**fields: Any) -> EmailMessage:  # noqa: ANN401 - those of Message
    """Prepare a message and read it."""
    return read(prepare(message(**fields)))


def message(**fields: Any) -> Message:  # noqa: ANN401 - its own
    """Return a message from the shop to Jane; or with fields of its own."""
    return Message(**({"to": "jane@example.com", "from_": FROM, "subject": "News", "text": "Hello"} | fields))


def addresses(parsed: EmailMessage, header: str) -> list[tuple[str, str]]:
    """Return the names and the addresses of a header."""
    # The parser leaves UTF-8 in an address as it came.
    return [
        (one.display_name, one.addr_spec.encode("utf-8", "surrogateescape").decode())
        for one in cast("Any", parsed[header]).addresses
    ]


def body(parsed: EmailMessage, kind: str) -> str:
    """Return the text of the first part of a kind, such as ``plain``, with LF."""
    for part in leaves(parsed):
        if part.get_content_type() == f"text/{kind}" and not part.is_attachment():
            return cast("str", part.get_content()).replace("\r\n", "\n")
    raise AssertionError(f"no text/{kind} in {parsed}")


def leaves(parsed: EmailMessage) -> Iterator[EmailMessage]:
    """Iterate over the parts that have no parts."""
    return (part for part in parsed.walk() if not part.is_multipart())
