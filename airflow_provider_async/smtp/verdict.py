# SPDX-License-Identifier: Apache-2.0
"""
What may be sent again, and when.

What was refused for now (4xx, 421), or lost before its final dot was sent, is sent again. What was refused for good
(5xx) never is. A mail whose final dot was sent and not answered may have been taken: it is unknown.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.smtp.dialogue import Transaction
    from airflow_provider_async.smtp.replies import Reply
    from airflow_provider_async.smtp.results import Status

__all__ = ["asked_seconds", "is_throttling", "verdict", "wait_seconds"]

#: 421: the service is not available; 432 is what Exchange Online says to who sends too much at a time.
_THROTTLING = frozenset({421, 432})

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_ASKED = re.compile(r"\b(\d{1,6})\s*(s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?)\b", re.IGNORECASE)
_ASKED_CLOCK = re.compile(r"\b(\d{1,2}):([0-5]\d):([0-5]\d)\b")

#: How long a server that knows greylisting and does not say how long wants a stranger to wait: a minute, or some more.
_GREYLISTED = re.compile(r"gr[ae]y-?list", re.IGNORECASE)
_GREYLIST_SECONDS = 60.0

#: Those who are to come back at one time come over a part of that longer.
_SPREAD = 0.1


def verdict(transaction: Transaction, index: int) -> tuple[Status | None, Reply | None]:
    """
    Return what a transaction that ended means for one of its recipients.

    :param transaction: with the answers that there were.
    :param index: of the recipient.
    :return: the status, or ``None`` if the mail is to be sent again; and the answer that says so, if there was one.
    """
    reply = transaction.to_sender
    if reply is None or reply.is_positive:
        to_recipient = transaction.to_recipients[index]
        if to_recipient is not None and not to_recipient.is_positive:
            reply = to_recipient
        elif transaction.to_data is not None:
            reply = transaction.to_data
        elif transaction.to_content is not None:
            reply = transaction.to_content
            if reply.is_positive:
                return "sent", reply
        elif transaction.is_written:
            return "unknown", None
        else:
            return None, None
    return ("rejected" if reply.is_final else None), reply


def is_throttling(reply: Reply | None) -> bool:
    """Tell whether an answer means that the server wants less, from all connections."""
    return reply is not None and reply.code in _THROTTLING


def asked_seconds(reply: Reply | None) -> float | None:
    """Return how long an answer asks to wait, if it names a time, such as ``try again in 5 minutes``."""
    if reply is None:
        return None
    if (clock := _ASKED_CLOCK.search(reply.text)) is not None:
        hours, minutes, seconds = map(int, clock.groups())
        return hours * 3600.0 + minutes * 60.0 + seconds
    if (asked := _ASKED.search(reply.text)) is not None:
        return int(asked[1]) * _UNITS[asked[2][0].lower()]
    return None


def wait_seconds(retry: Retry, failures: int, reply: Reply | None) -> float:
    """
    Return how long to wait before a mail is sent again.

    :param retry: the policy.
    :param failures: how often the mail failed.
    :param reply: what the server answered last, if it did.
    """
    asked = asked_seconds(reply)
    if asked is None and reply is not None and _GREYLISTED.search(reply.text):
        asked = _GREYLIST_SECONDS * 2.0 ** min(failures - 1, 10)
    if asked is not None:
        return asked * (1 + random.random() * _SPREAD)  # noqa: S311 - no secret
    bound = min(retry.max_seconds, retry.initial_seconds * 2.0 ** min(failures - 1, 63))
    return random.random() * bound  # noqa: S311 - no secret
