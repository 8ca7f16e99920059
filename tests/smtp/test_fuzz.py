# SPDX-License-Identifier: Apache-2.0
"""Random faults, and whether the fuzzer would notice if they were not borne."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.smtp import courier
from airflow_provider_async.smtp.dialogue import Dialogue, Transaction
from airflow_provider_async.smtp.verdict import verdict as right
from tests.smtp.fuzz import complaints, run_round

if TYPE_CHECKING:
    from airflow_provider_async.smtp.replies import Reply
    from airflow_provider_async.smtp.results import Status

#: A bug shows itself within a few rounds; which ones, the network decides too.
ROUNDS = 50
TELLING_ROUNDS = 60


@pytest.mark.parametrize("seed", range(ROUNDS))
async def test_nothing_is_lost_doubled_or_misreported_whatever_fails(seed: int) -> None:
    assert complaints(await run_round(seed)) == []


async def finds(kind: str = "") -> bool:
    """
    Tell whether the fuzzer has something to say of a bug.

    :param kind: what its words begin with; by default anything.
    """
    for seed in range(TELLING_ROUNDS):
        try:
            # A round takes a fraction of a second, unless something is waited for that never comes.
            async with asyncio.timeout(3):
                found = complaints(await run_round(seed))
        except TimeoutError:
            found = ["it hangs"]
        if any(one.startswith(kind) for one in found):
            return True
    return False


async def test_an_answer_that_is_given_to_another_recipient_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(transaction: Transaction, index: int) -> tuple[Status | None, Reply | None]:
        return right(transaction, (index + 1) % len(transaction.to_recipients))

    monkeypatch.setattr(courier, "verdict", wrong)
    assert await finds("misreported")


async def test_an_answer_that_is_given_to_the_next_mail_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Dialogue.begin

    def wrong(self: Dialogue, transaction: Transaction) -> None:
        right(self, transaction)
        # The answer to RSET is taken for that to MAIL, and so on.
        if self._owed[0][1] is None:
            self._owed.popleft()

    monkeypatch.setattr(Dialogue, "begin", wrong)
    assert await finds()


async def test_a_mail_that_is_sent_again_without_need_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(transaction: Transaction, index: int) -> tuple[Status | None, Reply | None]:
        status, reply = right(transaction, index)
        return (None if status == "unknown" else status), reply

    monkeypatch.setattr(courier, "verdict", wrong)
    assert await finds("mailed twice")


async def test_a_mail_that_is_sent_to_nobody_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transaction, "is_accepted", True)
    assert await finds("a mail to nobody")


async def test_a_dot_that_is_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Dialogue._ask

    def wrong(self: Dialogue, command: bytes, owed: object) -> None:
        if command != b".\r\n":
            right(self, command, owed)  # type: ignore[arg-type]

    monkeypatch.setattr(Dialogue, "_ask", wrong)
    assert await finds()


async def test_a_mail_that_is_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Dialogue._end_all

    def wrong(self: Dialogue, *, is_blamed: bool) -> None:
        self._current = None
        right(self, is_blamed=is_blamed)

    def hardly(self: Dialogue, *, is_blamed: bool) -> None:
        self._owed.clear()
        wrong(self, is_blamed=is_blamed)

    monkeypatch.setattr(Dialogue, "_end_all", hardly)
    assert await finds()
