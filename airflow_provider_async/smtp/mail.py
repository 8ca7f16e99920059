# SPDX-License-Identifier: Apache-2.0
"""A message as it goes over the wire: an envelope and bytes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Mail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """
    What one transaction of SMTP sends (RFC 5321, section 3.3).

    :param message_id: the header Message-ID, with its angle brackets; the same at every attempt.
    :param sender: the envelope's sender (MAIL FROM); empty for the null sender.
    :param recipients: the envelope's recipients (RCPT TO), each once, those of Bcc included.
    :param content: the headers and the body with CRLF line ends, not dot-stuffed; Bcc is none of the headers.
    :param is_8bit: whether the content has bytes above 127, which needs 8BITMIME.
    :param needs_smtputf8: whether an address or a header has characters beyond ASCII that only SMTPUTF8 carries.
    """

    message_id: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    is_8bit: bool = False
    needs_smtputf8: bool = False
