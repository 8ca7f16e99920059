# SPDX-License-Identifier: Apache-2.0
"""A pool of connections, its limits, and the iterators that it gives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.errors import IteratorClosed, PoolClosed, SendFailed
from airflow_provider_async.smtp import SMTPClientPool
from airflow_provider_async.smtp.throttle import Throttle
from tests.servers.smtp import FaultyServer, Fields
from tests.smtp.conftest import mail, mails, pool_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_async.smtp import Mail
    from tests.servers.smtp import Fault, Step


async def test_one_message_has_a_result_for_each_recipient(server: FaultyServer, pool: SMTPClientPool) -> None:
    results = await pool.send(mail(1, "a@x.example", "b@x.example"))
    assert [(result.recipient, result.status, result.code) for result in results] == [
        ("a@x.example", "sent", 250),
        ("b@x.example", "sent", 250),
    ]
    assert server.books.contents == {"<1@mails.example>": mail(1).content}


async def test_an_end_goes_with_the_next_beginning_on_the_wire(server: FaultyServer, pool: SMTPClientPool) -> None:
    await pool.send_many(mails(20), limit=1).report()
    assert server.books.most_sessions == 1
    assert server.books.commands.count(b"DATA") == 20


async def test_results_come_in_order_if_asked_for() -> None:
    def fault(step: Step, about: str) -> Fault | None:
        if step == "RCPT" and about.startswith("to-0@"):
            refusals.append(about)
            return "450" if len(refusals) < 3 else None
        return None

    refusals: list[str] = []
    async with pool_at(FaultyServer(fault)) as pool:
        results = [result async for result in pool.send_many(mails(50), ordered=True)]
    assert [result.message_id for result in results] == [one.message_id for one in mails(50)]


async def test_results_come_in_batches(pool: SMTPClientPool) -> None:
    assert [len(batch) async for batch in pool.send_many(mails(25)).batches(10)] == [10, 10, 5]
    with pytest.raises(ValueError, match="at least 1, not 0"):
        await anext(pool.send_many([]).batches(0))


async def test_a_batch_before_an_error_is_given_out() -> None:
    async def messages() -> AsyncIterator[Mail]:
        for one in mails(3):
            yield one
        await done.wait()
        raise ZeroDivisionError

    done = asyncio.Event()
    batches = []
    async with pool_at(FaultyServer()) as pool:
        sending = pool.send_many(messages())
        with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the iteration is what raises it
            async for batch in sending.batches(2):
                batches.append(len(batch))
                done.set()
    assert sum(batches) == 3


@pytest.mark.parametrize(
    ("raise_on", "bad", "fails"),
    [("any", 1, True), ("any", 0, False), ("all", 1, False), ("all", 3, True), (None, 3, False)],
)
async def test_the_end_is_an_error_as_asked_for(raise_on: Any, bad: int, fails: bool) -> None:  # noqa: ANN401
    refused = {f"to-{number}@mails.example" for number in range(bad)}
    server = FaultyServer(lambda step, about: "550" if step == "RCPT" and about in refused else None)
    async with pool_at(server) as pool:
        sending = pool.send_many(mails(3), raise_on=raise_on, label="news")
        if fails:
            with pytest.raises(
                SendFailed, match=f"^news: {3 - bad} sent, {bad} rejected, .*550 5.0.0 refused"
            ) as caught:
                await sending.report()
            assert caught.value.report == sending.counts
        else:
            assert (await sending.report())["rejected"] == bad
    assert len(sending.counts["refusals"]) == bad
    assert (sending.progress.done, sending.progress.failed, sending.progress.total) == (3 - bad, bad, 3)


async def test_connections_are_replaced_after_so_many_mails(server: FaultyServer) -> None:
    options = {"pool_size": 1, "messages_per_connection": 3}
    async with SMTPClientPool(connection=server.connection(), **options) as pool:  # type: ignore[arg-type]
        await pool.send_many(mails(10)).report()
    assert server.books.sessions == 4
    assert server.books.commands.count(b"QUIT") == 4


async def test_large_envelopes_are_split(server: FaultyServer) -> None:
    everyone = [f"{number}@x.example" for number in range(25)]
    async with SMTPClientPool(connection=server.connection(), recipients_per_envelope=10) as pool:
        results = await pool.send(mail(1, *everyone))
    assert sorted(result.recipient for result in results) == sorted(everyone)
    assert server.books.commands.count(b"DATA") == 3


async def test_no_more_recipients_than_a_day_has(server: FaultyServer) -> None:
    async with SMTPClientPool(connection=server.connection(), recipients_per_day=3) as pool:
        report = await pool.send_many(mails(5), raise_on=None).report()
    assert (report["sent"], report["deferred"]) == (3, 2)
    assert report["refusals"][0]["response"] == "the limit of 3 recipients a day is reached"


async def test_mails_begin_no_faster_than_the_rate(server: FaultyServer) -> None:
    loop = asyncio.get_running_loop()
    async with SMTPClientPool(connection=server.connection(), rate=(10, 0.5)) as pool:
        began = loop.time()
        await pool.send_many(mails(5)).report()
        assert loop.time() - began >= 4 * 0.05


def test_a_throttle_spreads_mails_and_forgets_recipients_after_a_day() -> None:
    now = 0.0
    throttle = Throttle(rate=(30, 60), recipients_per_day=2, clock=lambda: now)
    assert throttle.seconds_left <= 0
    throttle.begin()
    assert throttle.seconds_left == 2.0
    throttle.begin()
    assert throttle.seconds_left == 4.0
    assert throttle.allows(2)
    assert not throttle.allows(1)
    now = 24 * 3600.0
    assert throttle.allows(1)
    throttle.pause.extend(7.0)
    assert throttle.seconds_left == 7.0


async def test_leaving_early_sends_nothing_more(server: FaultyServer, pool: SMTPClientPool) -> None:
    async with pool.send_many(mails(2000)) as sending:
        async for _ in sending:
            break
    stored = len(server.books.stored)
    assert 0 < stored < 2000
    await asyncio.sleep(0)
    assert len(server.books.stored) == stored
    with pytest.raises(IteratorClosed):
        await sending.report()


async def test_a_pool_that_closes_ends_what_it_gave(server: FaultyServer) -> None:
    async with SMTPClientPool(connection=server.connection()) as pool:
        sending = pool.send_many(mails(100))
        first = await anext(aiter(sending))
        unused = pool.send_many(mails(3))
    assert first.status == "sent"
    for closed in (sending, unused):
        with pytest.raises(IteratorClosed):
            await closed.report()
    with pytest.raises(PoolClosed):
        await pool.send(mail(1))


async def test_a_cancelled_sender_takes_its_connection_with_it() -> None:
    began = asyncio.Event()

    def fault(step: Step, about: str) -> Fault | None:
        if step == "DOT" and about == "<1@mails.example>":
            began.set()
            return "silence"
        return None

    server = FaultyServer(fault)
    async with pool_at(server, pool_size=1) as pool:
        sending = asyncio.create_task(pool.send(mail(1)))
        await began.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        (result,) = await pool.send(mail(2))
    assert "<2@mails.example>" in result.response
    assert server.books.sessions == 2


async def test_an_idle_connection_that_the_server_ends_is_replaced(server: FaultyServer, pool: SMTPClientPool) -> None:
    await pool.send(mail(1))
    server.cut()
    await asyncio.sleep(0.01)
    (result,) = await pool.send(mail(2))
    assert result.status == "sent"


async def test_a_client_that_is_lent_leaves_no_envelope_behind(server: FaultyServer, pool: SMTPClientPool) -> None:
    async with pool.get_smtp_client() as client:
        await client.mail("someone@x.example")
    await pool.send(mail(1))
    assert server.books.violations == []
    assert b"RSET" in server.books.commands


async def test_bad_addresses_are_results_of_their_own(server: FaultyServer, pool: SMTPClientPool) -> None:
    results = await pool.send(mail(1, "a@x.example", "b@x.example\r\nDATA", "c d@x.example"))
    assert {result.recipient: result.status for result in results} == {
        "a@x.example": "sent",
        "b@x.example\r\nDATA": "rejected",
        "c d@x.example": "rejected",
    }
    assert server.books.violations == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"pool_size": 0}, "pool_size must be at least 1"),
        ({"rate": 0}, "rate must be above zero"),
        ({"rate": (1, 0)}, "rate must be above zero"),
        ({"timeout": -1}, "timeout must be above zero"),
        ({"chunking_window": -1}, "chunking_window must not be negative"),
        ({"preset": "x"}, "preset must be one of exchange_online"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        SMTPClientPool(**options)


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"limit": 0}, "limit must be"), ({"on_unknown": "x"}, "on_unknown must"), ({"raise_on": "x"}, "raise_on must")],
)
async def test_ways_to_send_that_make_no_sense_are_refused(
    options: dict[str, Any], problem: str, pool: SMTPClientPool
) -> None:
    with pytest.raises(ValueError, match=problem):
        pool.send_many([], **options)


async def test_a_pool_is_entered_once_and_says_how_it_is(server: FaultyServer) -> None:
    pool = SMTPClientPool(connection=server.connection())
    assert repr(pool) == "<SMTPClientPool('smtp_default'): not open>"
    async with pool:
        assert "0 of 4 open" in repr(pool)
        with pytest.raises(RuntimeError, match="entered before"):
            await pool.__aenter__()
        assert pool.statistics().size == 4


async def test_what_stands_in_the_connection_gives_way_to_what_is_given(server: FaultyServer) -> None:
    extras = {"pool_size": 2, "preset": "gmail"}
    async with SMTPClientPool(connection=server.connection().with_extras(**extras), messages_per_connection=7) as pool:
        limits = pool._open[1].limits
        assert (limits.pool_size, limits.recipients_per_day, limits.messages_per_connection) == (2, 500, 7)
    async with SMTPClientPool(connection=server.connection().with_extras(**extras), preset="exchange_online") as pool:
        assert pool._open[1].limits.rate == (30, 60)


async def test_nothing_is_read_before_it_is_needed() -> None:
    """Not even the Connection."""
    assert repr(SMTPClientPool(connection=Fields(host=None)))
