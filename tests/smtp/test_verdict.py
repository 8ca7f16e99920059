# SPDX-License-Identifier: Apache-2.0
"""What may be sent again, and when."""

from __future__ import annotations

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.smtp.delivery import Delivery, Shipment
from airflow_provider_async.smtp.dialogue import Transaction
from airflow_provider_async.smtp.replies import Reply
from airflow_provider_async.smtp.verdict import asked_seconds, is_throttling, verdict, wait_seconds
from tests.smtp.conftest import mail

OK, LATER, NEVER = Reply(250, "ok"), Reply(450, "later"), Reply(550, "never")
RETRY = Retry(initial_seconds=1.0, max_seconds=8.0)


def transaction(
    sender: Reply | None = None,
    recipient: Reply | None = None,
    data: Reply | None = None,
    content: Reply | None = None,
    *,
    written: bool = False,
) -> Transaction:
    delivery = Delivery(mail(1), b"", ("a@b.example",), Shipment(None, 0, 1))
    made = Transaction(delivery, sender=b"", recipients=[b""], content=b"")
    made.to_sender, made.to_data, made.to_content, made.is_written = sender, data, content, written
    made.to_recipients = [recipient]
    return made


@pytest.mark.parametrize(
    ("made", "status", "reply"),
    [
        (transaction(), None, None),
        (transaction(OK, OK), None, None),
        (transaction(LATER, NEVER, NEVER), None, LATER),
        (transaction(NEVER, LATER), "rejected", NEVER),
        (transaction(OK, NEVER, LATER), "rejected", NEVER),
        (transaction(OK, LATER, NEVER), None, LATER),
        (transaction(OK, OK, LATER), None, LATER),
        (transaction(OK, OK, NEVER), "rejected", NEVER),
        (transaction(OK, OK, None, OK, written=True), "sent", OK),
        (transaction(OK, OK, None, LATER, written=True), None, LATER),
        (transaction(OK, OK, None, NEVER, written=True), "rejected", NEVER),
        (transaction(OK, OK, None, None, written=True), "unknown", None),
        # With BDAT, all of it can be written and nothing answered.
        (transaction(written=True), "unknown", None),
        (transaction(OK, NEVER, None, OK, written=True), "rejected", NEVER),
    ],
)
def test_each_recipient_has_a_verdict(made: Transaction, status: str | None, reply: Reply | None) -> None:
    assert verdict(made, 0) == (status, reply)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4.2.0 Greylisted, try again in 5 minutes", 300.0),
        ("4.7.1 Please retry in 120 seconds", 120.0),
        ("Greylisted for 59s", 59.0),
        ("try again in 1 hour", 3600.0),
        ("greylisted, see you in 00:04:59", 299.0),
        ("4.2.2 mailbox full", None),
        ("4.7.1 from [192.168.2.1]", None),
    ],
)
def test_a_server_may_say_how_long_to_wait(text: str, seconds: float | None) -> None:
    assert asked_seconds(Reply(450, text)) == seconds


def test_waits_double_and_are_drawn_below_a_bound() -> None:
    for failures, bound in ((1, 1.0), (2, 2.0), (4, 8.0), (100, 8.0)):
        assert all(0 <= wait_seconds(RETRY, failures, None) <= bound for _ in range(50))


def test_what_was_asked_for_is_waited_for_and_a_little_more() -> None:
    reply = Reply(450, "try again in 100 s")
    assert all(100 <= wait_seconds(RETRY, 1, reply) <= 110 for _ in range(50))


def test_greylisting_means_minutes_where_none_are_named() -> None:
    reply = Reply(451, "4.7.1 Greylisting in action, please come back later")
    assert 60 <= wait_seconds(RETRY, 1, reply) <= 66
    assert 120 <= wait_seconds(RETRY, 2, reply) <= 132


def test_421_and_432_are_for_all_connections() -> None:
    assert [code for code in (250, 421, 432, 450, 550) if is_throttling(Reply(code, ""))] == [421, 432]
    assert not is_throttling(None)
