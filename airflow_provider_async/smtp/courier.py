# SPDX-License-Identifier: Apache-2.0
"""What is sent next, and what becomes of it: one decision for each recipient, without any I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_async.smtp.dialogue import Transaction
from airflow_provider_async.smtp.envelope import (
    address_problem,
    dot_stuffed,
    mail_command,
    mail_problem,
    rcpt_command,
)
from airflow_provider_async.smtp.verdict import is_throttling, verdict, wait_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_async.core.pause import Pause
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.core.work import Work
    from airflow_provider_async.smtp.delivery import Delivery
    from airflow_provider_async.smtp.envelope import Extensions
    from airflow_provider_async.smtp.outbox import Outbox
    from airflow_provider_async.smtp.replies import Reply
    from airflow_provider_async.smtp.results import Status

__all__ = ["Courier"]

_LOST = "the connection was lost"
_NO_ANSWER = "the server had the whole message and did not answer"


class Courier:
    """
    Takes deliveries from an outbox, for several connections, and puts back what may be sent again.

    :param outbox: what is to be sent.
    :param pause: what all connections wait for when the server wants less.
    :param retry: how often a delivery is tried.
    :param resends_unknown: whether what may have been taken is sent again.
    :param settle: told what became of each recipient.
    :param leave: told which recipients are left without a result, because nothing more is sent.
    :param work: where retries are counted.
    :param clock: seconds, those of the outbox.
    :ivar settled: how many recipients have a result.
    """

    def __init__(
        self,
        outbox: Outbox[Delivery],
        pause: Pause,
        *,
        retry: Retry,
        resends_unknown: bool,
        settle: Callable[[Delivery, str, Status, int | None, str], None],
        leave: Callable[[Delivery], None],
        work: Work,
        clock: Callable[[], float],
    ) -> None:
        self.settled = 0
        self._outbox = outbox
        self._pause = pause
        self._retry = retry
        self._resends_unknown = resends_unknown
        self._settle = settle
        self._leave = leave
        self._work = work
        self._clock = clock

    def next(self, extensions: Extensions, *, chunks: bool) -> Transaction | None:
        """
        Return what is to be sent next; ``None`` if there is nothing now.

        :param extensions: what the server offers; what it cannot take is rejected here.
        :param chunks: whether the content is sent as it is, with BDAT.
        """
        while (delivery := self._outbox.take()) is not None:
            if (transaction := self._transaction(delivery, extensions, chunks=chunks)) is not None:
                delivery.began = self._clock()
                return transaction
            self._outbox.finish()
        return None

    def _transaction(self, delivery: Delivery, extensions: Extensions, *, chunks: bool) -> Transaction | None:
        mail, content = delivery.mail, delivery.content
        if (problem := mail_problem(mail, len(content), extensions)) is not None:
            for recipient in delivery.recipients:
                self._end(delivery, recipient, "rejected", None, problem)
            return None
        for recipient in delivery.recipients:
            if (problem := address_problem(recipient, allows_utf8=extensions.smtputf8)) is not None:
                self._end(delivery, recipient, "rejected", None, problem)
                delivery.recipients = tuple(other for other in delivery.recipients if other != recipient)
        if not delivery.recipients:
            return None
        return Transaction(
            delivery,
            sender=mail_command(mail, delivery.recipients, len(content), extensions),
            recipients=[rcpt_command(recipient) for recipient in delivery.recipients],
            content=content if chunks else dot_stuffed(content),
        )

    def ended(self, transaction: Transaction) -> None:
        """Decide what becomes of each recipient of a transaction that came to its end."""
        delivery = transaction.delivery
        again: list[tuple[str, Reply | None]] = []
        settled, sent, throttled = self.settled, False, False
        for index, recipient in enumerate(delivery.recipients):
            status, reply = verdict(transaction, index)
            throttled = throttled or is_throttling(reply)
            if status is None or (status == "unknown" and self._resends_unknown):
                again.append((recipient, reply))
            elif reply is None:
                self._end(delivery, recipient, status, None, _NO_ANSWER)
            else:
                sent = sent or status == "sent"
                self._end(delivery, recipient, status, reply.code, reply.text)
        if throttled:
            self._pause.refused(delivery.began)
        elif sent:
            self._pause.succeeded()
        if again:
            self._try_again(delivery, again, made_progress=self.settled > settled, is_blamed=transaction.is_blamed)
        self._outbox.finish()

    def _try_again(
        self, delivery: Delivery, again: list[tuple[str, Reply | None]], *, made_progress: bool, is_blamed: bool
    ) -> None:
        now = self._clock()
        # The longest wait that any of them was asked for; those of one envelope stay together.
        replies = [reply for _, reply in again if reply is not None]
        delivery.recipients = tuple(recipient for recipient, _ in again)
        if self._outbox.is_closed:
            self._leave(delivery)
            return
        seconds = 0.0
        # What was refused together with others that were taken, such as the recipients beyond a server's limit, is on
        # its way; and what was merely behind another mail when that lost the connection has not failed.
        if not made_progress and (replies or is_blamed):
            delivery.fail(replies[0] if replies else delivery.reply, now)
            waits = [wait_seconds(self._retry, delivery.failures, reply) for reply in (*replies, None)[: len(again)]]
            seconds = max(waits)
        if delivery.is_over(self._retry, now + seconds):
            for recipient, reply in again:
                self.defer(delivery, recipient, reply or delivery.reply)
            return
        self._work.retries += 1
        self._outbox.put_back(delivery, at=now + seconds)

    def defer(self, delivery: Delivery, recipient: str, reply: Reply | None, reason: str = _LOST) -> None:
        """Give a recipient up for now."""
        if reply is None:
            self._end(delivery, recipient, "deferred", None, reason)
        else:
            self._end(delivery, recipient, "deferred", reply.code, reply.text)

    def _end(self, delivery: Delivery, recipient: str, status: Status, code: int | None, response: str) -> None:
        self.settled += 1
        self._settle(delivery, recipient, status, code, response)
