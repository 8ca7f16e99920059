# SPDX-License-Identifier: Apache-2.0
"""A server that fails at each step in turn, and the sum of what is reported."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import PoolTimeout, SendFailed
from tests.servers.smtp import FaultyServer
from tests.smtp.conftest import SOON, mail, mails, pool_at
from tests.smtp.fuzz import FAULTS

if TYPE_CHECKING:
    from airflow_provider_async.smtp import SendResult
    from tests.servers.smtp import Fault, Step

PLAIN = ("8BITMIME", "SIZE 10000000")
PIPELINED = (*PLAIN, "PIPELINING")
CHUNKED = (*PIPELINED, "CHUNKING")


class At:
    """A fault at the nth time that a step is reached, or each time."""

    def __init__(self, step: Step, fault: Fault, nth: int | None = None, about: str | None = None) -> None:
        self.step, self.fault, self.nth, self.about = step, fault, nth, about
        self.times = 0

    def __call__(self, step: Step, about: str) -> Fault | None:
        if step != self.step or (self.about is not None and about != self.about):
            return None
        self.times += 1
        return self.fault if self.nth in (None, self.times) else None


def check_books(server: FaultyServer, results: list[SendResult], count: int) -> Counter[str]:
    """Compare what was reported with what the server stored."""
    pairs = [(result.message_id, result.recipient) for result in results]
    assert len(pairs) == len(set(pairs)) == count
    reported = {pair for pair, result in zip(pairs, results, strict=True) if result.status == "sent"}
    unknown = {pair for pair, result in zip(pairs, results, strict=True) if result.status == "unknown"}
    assert reported <= set(server.books.stored) <= reported | unknown
    assert set(server.books.stored.values()) <= {1}
    assert server.books.violations == []
    return Counter(result.status for result in results)


@pytest.mark.parametrize("offers", [PLAIN, PIPELINED, CHUNKED], ids=["plain", "pipelined", "chunked"])
@pytest.mark.parametrize(("step", "fault"), [(step, fault) for step, faults in FAULTS.items() for fault in faults])
@pytest.mark.parametrize("nth", [1, 7])
async def test_one_fault_costs_one_mail_at_most(step: Step, fault: Fault, nth: int, offers: tuple[str, ...]) -> None:
    server = FaultyServer(At(step, fault, nth), offers=offers)
    window = 4 if offers is CHUNKED else 0
    many = [mail(n, f"a-{n}@x.example", f"b-{n}@x.example", content=_content(n, 40_000)) for n in range(20)]
    async with pool_at(server, pool_size=2, chunking_window=window) as pool:
        results = [result async for result in pool.send_many(many, raise_on=None)]
    counts = check_books(server, results, 40)
    lost = 2 * max(1, window) if step in ("CONTENT", "DOT") or window else 0
    assert counts["unknown"] <= lost
    assert counts["sent"] == 40 - counts["unknown"]
    if step == "DOT" and fault in ("drop", "drop-stored", "cut", "garbage"):
        assert counts["unknown"] >= 2


def _content(number: int, size: int) -> bytes:
    return b"Message-ID: <%d@mails.example>\r\n\r\n" % number + b"line of text\r\n" * (size // 14)


@pytest.mark.parametrize("offers", [PLAIN, PIPELINED], ids=["plain", "pipelined"])
@pytest.mark.parametrize(
    ("step", "fault", "status"),
    [
        ("MAIL", "550", "rejected"),
        ("MAIL", "450", "deferred"),
        ("MAIL", "421", "deferred"),
        ("MAIL", "drop", "deferred"),
        ("RCPT", "550", "rejected"),
        ("RCPT", "450", "deferred"),
        ("RCPT", "drop", "deferred"),
        ("DATA", "554", "rejected"),
        ("DATA", "451", "deferred"),
        ("DATA", "drop", "deferred"),
        ("DOT", "554", "rejected"),
        ("DOT", "451", "deferred"),
        ("DOT", "421", "deferred"),
        ("DOT", "drop", "unknown"),
        ("DOT", "drop-stored", "unknown"),
    ],
)
async def test_a_fault_that_stays_is_each_mails_own(
    step: Step, fault: Fault, status: str, offers: tuple[str, ...]
) -> None:
    fault_at = At(step, fault)
    server = FaultyServer(fault_at, offers=offers)
    async with pool_at(server, pool_size=2) as pool:
        results = [result async for result in pool.send_many(mails(3), raise_on=None)]
    assert check_books(server, results, 3) == {status: 3}
    attempts = SOON.attempts if status == "deferred" else 1
    assert 3 * attempts <= fault_at.times <= 3 * attempts + attempts
    for result in results:
        if fault.isdigit():
            assert result.code == int(fault)
            assert "refused" in result.response
        else:
            assert result.code is None


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "DOT"])
async def test_a_server_that_falls_silent_is_given_up_in_time(step: Step) -> None:
    server = FaultyServer(At(step, "silence", 2))
    async with pool_at(server, pool_size=1, timeout=0.1, content_timeout=0.2) as pool:
        results = [result async for result in pool.send_many(mails(5), raise_on=None)]
    assert check_books(server, results, 5) == ({"sent": 4, "unknown": 1} if step == "DOT" else {"sent": 5})


async def test_what_is_unknown_is_sent_again_if_asked_for_under_the_same_id() -> None:
    server = FaultyServer(At("DOT", "drop-stored", 1))
    async with pool_at(server) as pool:
        results = [result async for result in pool.send_many([mail(1)], on_unknown="resend")]
    assert [result.status for result in results] == ["sent"]
    assert server.books.stored == {("<1@mails.example>", "to-1@mails.example"): 2}


async def test_recipients_that_are_refused_do_not_hinder_the_others() -> None:
    def fault(step: Step, about: str) -> Fault | None:
        return "550" if step == "RCPT" and about.startswith("bad") else None

    server = FaultyServer(fault)
    async with pool_at(server) as pool:
        results = await pool.send(mail(1, "a@x.example", "bad@x.example", "c@x.example"))
    assert [(result.recipient, result.status) for result in results] == [
        ("a@x.example", "sent"),
        ("bad@x.example", "rejected"),
        ("c@x.example", "sent"),
    ]
    assert server.books.sessions == 1


async def test_recipients_beyond_a_servers_limit_follow_at_once_and_count_as_progress() -> None:
    most, taken = 10, 0

    def fault(step: Step, about: str) -> Fault | None:
        nonlocal taken
        taken = taken + 1 if step == "RCPT" else 0
        return "450" if taken > most else None

    server = FaultyServer(fault)
    everyone = [f"{number}@x.example" for number in range(95)]
    async with pool_at(server, retry=Retry(attempts=1)) as pool:
        results = await pool.send(mail(1, *everyone))
    assert check_books(server, results, 95) == {"sent": 95}


async def test_a_server_that_is_away_defers_everything() -> None:
    server = FaultyServer(At("CONNECT", "drop"))
    async with pool_at(server, acquire_timeout=0.2) as pool:
        results = [result async for result in pool.send_many(mails(100), raise_on=None)]
        assert check_books(server, results, 100) == {"deferred": 100}
        assert "waited 0.2 s for a lease" in results[0].response
        with pytest.raises(SendFailed, match="0 sent, 0 rejected, 3 deferred, 0 unknown; to-0") as caught:
            await pool.send_many(mails(3)).report()
    assert isinstance(caught.value.__cause__, PoolTimeout)


async def test_a_server_that_takes_few_connections_gets_all_the_same() -> None:
    def fault(step: Step, about: str) -> Fault | None:
        return "421" if step == "CONNECT" and len(server.open) > 2 else None

    server = FaultyServer(fault)
    async with pool_at(server, pool_size=8, acquire_timeout=0.3) as pool:
        results = [result async for result in pool.send_many(mails(200), raise_on=None)]
    assert check_books(server, results, 200) == {"sent": 200}


@pytest.mark.parametrize("code", ["421", "432"])
async def test_all_connections_pause_when_the_server_wants_less(code: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_async.core.pause import Pause

    refusals = []
    right = Pause.refused

    def refused(self: Pause, began: float) -> None:
        refusals.append(began)
        right(self, began)

    monkeypatch.setattr(Pause, "refused", refused)
    server = FaultyServer(At("MAIL", code, 3))
    async with pool_at(server) as pool:
        results = [result async for result in pool.send_many(mails(20))]
    assert check_books(server, results, 20) == {"sent": 20}
    assert refusals
