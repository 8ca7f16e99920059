# SPDX-License-Identifier: Apache-2.0
"""One message on its way: whole, and in envelopes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.smtp.mail import Mail
    from airflow_provider_async.smtp.replies import Reply
    from airflow_provider_async.smtp.results import SendResult

__all__ = ["Delivery", "Shipment"]


class Shipment:
    """
    A message to all its recipients.

    :param item: what the caller gave.
    :param index: its place among all messages.
    :param left: how many of its recipients have no result yet.
    :ivar results: kept until all are there, if they are to come in order.
    :ivar failure: the first result other than sent.
    :ivar hashes: of its key together with each recipient, if it can be resumed by them.
    """

    __slots__ = ("failure", "hashes", "index", "item", "left", "results")

    def __init__(self, item: object, index: int, left: int) -> None:
        self.item = item
        self.index = index
        self.left = left
        self.results: list[SendResult] = []
        self.failure: SendResult | None = None
        self.hashes: dict[str, int] = {}


class Delivery:
    """
    A mail to those of its recipients that have no result yet, in one envelope.

    :param mail: the mail.
    :param content: its content in normal lines.
    :param recipients: to whom.
    :param shipment: what it is a part of.
    :ivar failures: how often it failed.
    :ivar failed_at: when it first did, in seconds of the loop.
    :ivar replies: what the server last answered about each recipient, while it was a refusal for now.
    :ivar began: when its last attempt began, likewise.
    """

    __slots__ = ("began", "content", "failed_at", "failures", "mail", "recipients", "replies", "shipment")

    def __init__(self, mail: Mail, content: bytes, recipients: tuple[str, ...], shipment: Shipment) -> None:
        self.mail = mail
        self.content = content
        self.recipients = recipients
        self.shipment = shipment
        self.failures = 0
        self.failed_at = 0.0
        self.replies: dict[str, Reply] = {}
        self.began = 0.0

    def fail(self, now: float) -> None:
        """Count a failure."""
        if not self.failures:
            self.failed_at = now
        self.failures += 1

    def is_over(self, retry: Retry, due: float) -> bool:
        """Tell whether the policy allows no further attempt at that time."""
        if not self.failures:
            return False
        return self.failures >= retry.attempts or due - self.failed_at > retry.budget_seconds
