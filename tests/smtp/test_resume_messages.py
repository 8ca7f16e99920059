# SPDX-License-Identifier: Apache-2.0
"""Messages of a task that is tried again: the same ids, and nobody twice."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async import Retry, resumable
from airflow_provider_async.errors import CheckpointError
from airflow_provider_async.smtp import Message, SMTPClientPool
from tests.servers.mailbox import running_mailbox
from tests.smtp.reading import Fields, message

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_async.smtp import SendReport
    from tests.servers.mailbox import Mailbox


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as mailbox:
        yield mailbox


async def send(mailbox: Mailbox, folder: Path, messages: list[Message], *, attempt: int, fails: bool) -> SendReport:
    report = None
    with suppress(RuntimeError):
        async with resumable(folder, attempt=attempt), SMTPClientPool(connection=Fields(mailbox.port)) as pool:
            report = await pool.send_many(messages, resume="news", raise_on=None, retry=Retry(attempts=1)).report()
            if fails:
                raise RuntimeError
    assert report is not None
    return report


async def test_the_next_try_sends_to_those_that_are_left_with_the_same_ids(mailbox: Mailbox, tmp_path: Path) -> None:
    def messages(now: str) -> list[Message]:
        return [
            message(to=f"jane{n}@example.com", subject="News at {{ now }}", context={"now": now}) for n in range(10)
        ]

    mailbox.answer = "451 not now"
    deferred = await send(mailbox, tmp_path, messages("noon")[:1], attempt=1, fails=True)
    mailbox.answer = "250 taken"
    first = await send(mailbox, tmp_path, messages("one")[:6], attempt=2, fails=True)
    second = await send(mailbox, tmp_path, messages("two"), attempt=3, fails=True)
    assert (deferred["deferred"], first["sent"], second["sent"], second["resumed"]) == (1, 6, 10, 6)
    assert sorted(mailbox.recipients) == [f"jane{n}@example.com" for n in range(10)]
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 10


async def test_a_batch_of_bcc_may_be_cut_in_another_way(mailbox: Mailbox, tmp_path: Path) -> None:
    def newsletter(count: int) -> list[Message]:
        return [message(to=(), bcc=[f"jane{n}@example.com" for n in range(count)])]

    await send(mailbox, tmp_path, newsletter(150), attempt=1, fails=True)
    report = await send(mailbox, tmp_path, newsletter(250), attempt=2, fails=True)
    assert (report["sent"], report["resumed"]) == (250, 150)
    assert len(mailbox.recipients) == len(set(mailbox.recipients)) == 250
    assert len({mail["Message-ID"] for mail in mailbox.mails}) == 1
    assert max(len(envelope.rcpt_tos) for envelope in mailbox.envelopes) <= 100


@pytest.mark.parametrize("is_keyed", [False, True])
async def test_two_messages_to_one_recipient_have_keys(mailbox: Mailbox, tmp_path: Path, is_keyed: bool) -> None:
    orders = [message(text=f"Order {number}", key=number if is_keyed else None) for number in (1, 2)]
    if is_keyed:
        assert (await send(mailbox, tmp_path, orders, attempt=1, fails=False))["sent"] == 2
        return
    with pytest.raises(CheckpointError, match=r"two messages to jane@example\.com have the key"):
        await send(mailbox, tmp_path, orders, attempt=1, fails=False)
