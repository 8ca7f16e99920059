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
    from airflow_provider_async.smtp.ledger import Ledger
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
    :param ledger: where it is kept what is on its way, if it is.
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
        ledger: Ledger | None,
        work: Work,
        clock: Callable[[], float],
    ) -> None:
        self.settled = 0
        self._outbox = outbox
        self._pause = pause
        self._retry = retry
        self._resends_unknown = resends_unknown
        self._settle = settle
        self._ledger = ledger
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
            self._finish(delivery)
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
        again: list[str] = []
        replies: list[Reply] = []
        settled, sent, throttled = self.settled, False, False
        for index, recipient in enumerate(delivery.recipients):
            status, reply = verdict(transaction, index)
            throttled = throttled or is_throttling(reply)
            if status is None or (status == "unknown" and self._resends_unknown):
                again.append(recipient)
                if reply is not None:
                    replies.append(reply)
                    delivery.replies[recipient] = reply
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
            delivery.recipients = tuple(again)
            # What was refused together with others that were taken, such as the recipients beyond a server's limit, is
            # on its way; and what was merely behind another mail when that lost the connection has not failed.
            has_failed = self.settled == settled and (bool(replies) or transaction.is_blamed)
            self._try_again(delivery, replies, has_failed=has_failed)
            self._outbox.finish()
        else:
            self._finish(delivery)

    def _finish(self, delivery: Delivery) -> None:
        if self._ledger is not None:
            self._ledger.finish(delivery)
        self._outbox.finish()

    def _try_again(self, delivery: Delivery, replies: list[Reply], *, has_failed: bool) -> None:
        if self._outbox.is_closed:
            self._withdraw(delivery)
            return
        now = self._clock()
        seconds = 0.0
        if has_failed:
            delivery.fail(now)
            # The longest wait that was asked for any of them: those of one envelope stay together.
            seconds = max(wait_seconds(self._retry, delivery.failures, reply) for reply in replies or (None,))
        if delivery.is_over(self._retry, now + seconds):
            self.give_up(delivery, _LOST)
            return
        self._work.retries += 1
        if seconds:
            self._withdraw(delivery)
        self._outbox.put_back(delivery, at=now + seconds)

    def _withdraw(self, delivery: Delivery) -> None:
        if self._ledger is not None:
            self._ledger.withdraw(delivery)

    def give_up(self, delivery: Delivery, reason: str) -> None:
        """
        Defer a delivery.

        :param reason: what is said of recipients of whom the server said nothing.
        """
        for recipient in delivery.recipients:
            if (reply := delivery.replies.get(recipient)) is None:
                self._end(delivery, recipient, "deferred", None, reason)
            else:
                self._end(delivery, recipient, "deferred", reply.code, reply.text)
        if self._ledger is not None:
            self._ledger.finish(delivery)

    def _end(self, delivery: Delivery, recipient: str, status: Status, code: int | None, response: str) -> None:
        self.settled += 1
        self._settle(delivery, recipient, status, code, response)
