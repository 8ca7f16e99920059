# SPDX-License-Identifier: Apache-2.0
"""Bodies of messages: text, HTML, images in it, and attachments."""

from __future__ import annotations

import re
import uuid
from email.headerregistry import HeaderRegistry
from email.policy import EmailPolicy
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_async.errors import InvalidMessage
from airflow_provider_async.smtp.headers import CRLF, Folded
from airflow_provider_async.smtp.message import Attachment
from airflow_provider_async.smtp.text import text_of

if TYPE_CHECKING:
    from email.message import EmailMessage

    from airflow_provider_async.smtp.message import Message

__all__ = ["POLICY", "set_body"]

# Most headers of bodies are the same in each message, and to parse and fold them takes longer than all the rest.
_CACHED: Final = 256

_CONTENT_ID = re.compile(r"[!#-'*+./0-9=?A-Z^_`a-z{|}~@-]+")
_NOT_7BIT = re.compile("[^\t\n\r -~]")


class _CachingRegistry(HeaderRegistry):
    def __call__(self, name: str, value: Any) -> Any:  # noqa: ANN401 - what HeaderRegistry has
        return _parse(name, value)

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - what HeaderRegistry has
        return _class_of(name)


class _Policy(EmailPolicy):
    """Takes what is folded as it is, and folds the rest as the standard library does."""

    def header_store_parse(self, name: str, value: object) -> tuple[str, object]:  # type: ignore[override]
        return (name, value) if isinstance(value, Folded) else super().header_store_parse(name, value)

    def header_fetch_parse(self, name: str, value: str) -> object:  # type: ignore[override]
        return value if isinstance(value, Folded) else super().header_fetch_parse(name, value)

    def fold_binary(self, name: str, value: str) -> bytes:
        if isinstance(value, Folded):
            return f"{name}: {value}{CRLF}".encode()
        # The parts of a signed message are not to be folded.
        return _fold(name, value) if self.max_line_length else super().fold_binary(name, value)


_registry: Final = HeaderRegistry()
_parse: Final = lru_cache(_CACHED)(_registry)
_class_of: Final = lru_cache(_CACHED)(_registry.__getitem__)
_STANDARD: Final = EmailPolicy(linesep=CRLF, cte_type="7bit")


@lru_cache(_CACHED)
def _fold(name: str, value: str) -> bytes:
    return _STANDARD.fold_binary(name, value)


#: CRLF and 7 bits: every server takes it, and none on the way has to change it.
POLICY: Final = _Policy(linesep=CRLF, cte_type="7bit", header_factory=_CachingRegistry())


def set_body(message: Message, made: EmailMessage) -> None:
    """
    Give a message its parts.

    :param message: with its templates rendered.
    :param made: has the headers already.
    :raises InvalidMessage: if an attachment cannot be read, or an image's name is none.
    """
    for kind, given in (("html", message.html), ("text", message.text)):
        _check(given, kind)
    text = message.text if message.text is not None else text_of(message.html or "")
    _set_text(made, text, "plain")
    if message.html is not None:
        # The generator would look for one that is not in the text, which takes it a while, and so would anybody.
        made.make_alternative(boundary=uuid.uuid4().hex)
        _add_html(made, message)
    elif message.inline:
        raise InvalidMessage("inline is for images in html, which is not given")
    for attachment in map(Attachment.of, message.attachments):
        main, _, sub = attachment.type.partition("/")
        made.add_attachment(attachment.read(), maintype=main, subtype=sub, filename=attachment.name)


def _add_html(made: EmailMessage, message: Message) -> None:
    html = type(made)(policy=POLICY)
    _set_text(html, message.html or "", "html")
    for name, value in message.inline.items():
        if _CONTENT_ID.fullmatch(name) is None:
            raise InvalidMessage(f"inline: {name!r} cannot be the name of an image")
        image = Attachment.of(value)
        main, _, sub = image.type.partition("/")
        html.add_related(
            image.read(), maintype=main, subtype=sub, filename=image.name, disposition="inline", cid=f"<{name}>"
        )
    made.attach(html)


def _set_text(part: EmailMessage, text: str, subtype: str) -> None:
    # Without trailing space on lines, and with a line end behind the last, as it is read.
    encoding = "quoted-printable" if _NOT_7BIT.search(text) is not None and text.isascii() else None
    part.set_content(text, subtype=subtype, charset="utf-8", cte=encoding)


def _check(text: object, kind: str) -> None:
    if text is not None and not isinstance(text, str):
        raise InvalidMessage(f"{kind} must be a text, not of type {type(text).__name__}")
    try:
        (text or "").encode()
    except UnicodeEncodeError as error:
        raise InvalidMessage(f"{kind} has half a surrogate pair in it") from error
