# SPDX-License-Identifier: Apache-2.0
"""No try sends a mail that an earlier one has settled, whatever ended that."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from email.message import EmailMessage
from typing import TYPE_CHECKING, TypeAlias

import pytest

from airflow_provider_async.core.resume import Checkpoints, resumable
from airflow_provider_async.errors import CheckpointError, SendFailed
from airflow_provider_async.smtp import Message, SMTPClientPool, ledger
from tests.core.memory_store import MemoryStore
from tests.servers.smtp import FaultyServer, faulty_server
from tests.smtp.conftest import SOON, mail, mails, pool_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from airflow_provider_async.smtp import Mail, SendReport, SendResult
    from airflow_provider_async.smtp.compose import Sendable
    from airflow_provider_async.smtp.dispatch import OnUnknown
    from tests.servers.smtp import Fault, Step

#: Of a store.
Write: TypeAlias = "Callable[[str, str], Awaitable[None]]"

PROCESS = """\
import asyncio, sys
from pathlib import Path
from airflow_provider_async import resumable
from airflow_provider_async.smtp import SMTPClientPool
from tests.servers.smtp import Fields
from tests.smtp.conftest import mails

async def main(port, folder, count, window):
    async with resumable(Path(folder)), SMTPClientPool(connection=Fields(port=port), pool_size=4) as pool:
        await pool.send_many(mails(count), resume="news", window=window).report()

asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


async def one_try(
    pool: SMTPClientPool,
    messages: Iterable[Mail],
    store: MemoryStore,
    attempt: int = 1,
    *,
    on_unknown: OnUnknown = "report",
    window: int = 100,
) -> tuple[list[SendResult], SendReport]:
    async with Checkpoints(store, identity="task", attempt=attempt) as checkpoints:
        sending = pool.send_many(messages, resume="news", on_unknown=on_unknown, raise_on=None, window=window)
        results = [result async for result in sending]
        del checkpoints
    return results, sending.counts


@pytest.mark.parametrize("window", [5, 100])
async def test_what_a_killed_process_settled_is_never_mailed_again(window: int, tmp_path: Path) -> None:
    count, stored = 400, asyncio.Event()

    def fault(step: Step, about: str) -> Fault | None:
        if len(server.books.stored) >= count // 2:
            stored.set()
        return None

    server = FaultyServer(fault)
    async with faulty_server(server):
        arguments = [str(server.port), str(tmp_path / "kept"), str(count), str(window)]
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, *arguments)
        async with asyncio.timeout(30):
            await stored.wait()
        process.send_signal(signal.SIGKILL)
        await process.wait()
        async with asyncio.timeout(10):
            while server.open:  # noqa: ASYNC110 - what is on its way still arrives
                await asyncio.sleep(0.01)
        before = set(server.books.stored)
        assert count // 2 <= len(before) < count
        async with (
            resumable(tmp_path / "kept", attempt=2),
            SMTPClientPool(connection=server.connection(), retry=SOON) as pool,
        ):
            sending = pool.send_many(mails(count), resume="news", raise_on=None)
            results = [result async for result in sending]
        report = sending.counts
    assert set(server.books.stored.values()) == {1}
    unknown = {(result.message_id, result.recipient) for result in results if result.status == "unknown"}
    assert len(unknown) <= window
    assert report["sent"] + report["unknown"] == count
    assert report["resumed"] == count - len(results)
    # Nobody is without a mail but for those of whom it is said.
    assert {(one.message_id, one.recipients[0]) for one in mails(count)} - set(server.books.stored) <= unknown


async def test_a_store_that_is_frozen_at_any_moment_leaves_a_window_at_most() -> None:
    window, count = 8, 60
    for writes in range(1, 14):
        store, server = MemoryStore(), FaultyServer()
        async with pool_at(server) as pool:
            right = store.set

            async def freeze(
                key: str, value: str, *, store: MemoryStore = store, last: int = writes, right: Write = right
            ) -> None:
                store.is_frozen = store.writes >= last
                await right(key, value)

            store.set = freeze  # type: ignore[method-assign]
            await one_try(pool, mails(count), store, window=window)
            store.is_frozen, store.set = False, right  # type: ignore[method-assign]
            sent = set(server.books.stored)
            results, report = await one_try(pool, mails(count), store, 2)
            assert len(sent) == count
            if writes > 1:
                # What the frozen store did not hear was never intended, as far as it knows: a process that is killed
                # sends nothing that is not written down.
                unknown = [result for result in results if result.status == "unknown"]
                assert len(unknown) <= window
            assert report["sent"] + report["unknown"] == count


@pytest.mark.parametrize(("on_unknown", "times"), [("report", 1), ("resend", 2)])
async def test_what_is_unknown_is_treated_as_asked_in_the_next_try_too(on_unknown: OnUnknown, times: int) -> None:
    faults: list[Fault | None] = ["drop-stored"]

    def fault(step: Step, about: str) -> Fault | None:
        return faults.pop() if step == "DOT" and faults else None

    server, store = FaultyServer(fault), MemoryStore()
    async with pool_at(server) as pool:
        (first,), _ = await one_try(pool, [mail(1)], store)
        assert first.status == "unknown"
        (second,), report = await one_try(pool, [mail(1)], store, 2, on_unknown=on_unknown)
        assert second.status == ("unknown" if on_unknown == "report" else "sent")
        assert report["resumed"] == 0
        third, report = await one_try(pool, [mail(1)], store, 3)
    assert server.books.stored == {("<1@mails.example>", "to-1@mails.example"): times}
    assert [result.status for result in third] == (["unknown"] if on_unknown == "report" else [])
    assert report["sent"] == (0 if on_unknown == "report" else 1)


async def test_only_the_recipients_that_are_left_are_sent_to() -> None:
    def fault(step: Step, about: str) -> Fault | None:
        return refusals.get(about) if step == "RCPT" else None

    refusals: dict[str, Fault] = {"later@x.example": "450", "never@x.example": "550"}
    server, store = FaultyServer(fault), MemoryStore()
    message = mail(1, "now@x.example", "later@x.example", "never@x.example")
    async with pool_at(server) as pool:
        results, report = await one_try(pool, [message], store)
        assert {result.recipient: result.status for result in results} == {
            "now@x.example": "sent",
            "later@x.example": "deferred",
            "never@x.example": "rejected",
        }
        refusals.clear()
        results, report = await one_try(pool, [message], store, 2)
    assert [(result.recipient, result.status) for result in results] == [("later@x.example", "sent")]
    assert (report["sent"], report["rejected"], report["resumed"]) == (2, 1, 2)


async def test_who_leaves_early_has_no_unknowns_where_the_server_answers() -> None:
    server, store = FaultyServer(), MemoryStore()
    async with pool_at(server) as pool:
        with suppress(ZeroDivisionError):
            async with (
                Checkpoints(store, identity="task", attempt=1),
                pool.send_many(mails(100), resume="news") as sending,
            ):
                async for _ in sending:
                    raise ZeroDivisionError
        results, report = await one_try(pool, mails(100), store, 2)
    assert {result.status for result in results} == {"sent"}
    assert report["sent"] == 100
    assert set(server.books.stored.values()) == {1}
    assert len(server.books.stored) == 100


async def test_what_waits_for_greylisting_is_not_in_the_window() -> None:
    """Two of a window are put off for as long as the test lasts; the others go all the same."""

    def fault(step: Step, about: str) -> Fault | None:
        return "450" if step == "RCPT" and about in ("to-0@mails.example", "to-1@mails.example") else None

    server, store = FaultyServer(fault), MemoryStore()
    async with pool_at(server, retry=SOON) as pool, Checkpoints(store, identity="task", attempt=1):
        results = [result async for result in pool.send_many(mails(40), resume="news", window=2)]
    assert sorted(result.status for result in results) == ["deferred"] * 2 + ["sent"] * 38


async def test_nothing_is_sent_that_cannot_be_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "_LONGEST_WAIT_SECONDS", 0.001)
    server, store = FaultyServer(), MemoryStore()
    store.error = OSError("no space left")
    async with pool_at(server) as pool, Checkpoints(store, identity="task", attempt=1):
        with pytest.raises(CheckpointError, match=r"'news': it cannot be kept which mails .*: no space left"):
            await pool.send_many(mails(3), resume="news").report()
        store.error = None
        assert (await pool.send_many(mails(3), resume="news").report())["sent"] == 3
    assert set(server.books.stored.values()) == {1}


async def test_the_same_message_to_the_same_recipient_twice_is_an_error() -> None:
    server = FaultyServer()
    async with pool_at(server) as pool, Checkpoints(MemoryStore(), identity="task", attempt=1):
        with pytest.raises(
            CheckpointError, match=r"two messages to to-1@mails.example have the key '<1@mails.example>'"
        ):
            await pool.send_many([mail(1), mail(1)], resume="news").report()


async def test_messages_are_told_apart_by_a_key_of_ones_own() -> None:
    async def messages() -> AsyncIterator[EmailMessage]:
        for number in range(3):
            message = EmailMessage()
            message["From"], message["To"], message["Subject"] = "a@x.example", "b@x.example", "the same"
            message["X-Number"] = str(number)
            yield message

    def number_of(message: Sendable) -> int:
        assert isinstance(message, EmailMessage)
        return int(str(message["X-Number"]))

    server, store = FaultyServer(), MemoryStore()
    async with pool_at(server) as pool:
        for attempt in (1, 2):
            async with Checkpoints(store, identity="task", attempt=attempt):
                sending = pool.send_many(messages(), resume="news", key=number_of)
                assert (await sending.report())["sent"] == 3
        assert len(server.books.stored) == 3
        async with Checkpoints(store, identity="task", attempt=3):
            with pytest.raises(TypeError, match=r"key= must make a string, an integer .*, not 1\.5 of"):
                await pool.send_many(messages(), resume="news", key=lambda _: 1.5).report()  # type: ignore[arg-type,return-value]


async def test_a_message_has_one_id_in_all_tries_and_another_in_another_run() -> None:
    server = FaultyServer(lambda step, about: "drop" if step == "DOT" else None)
    message = Message(to="b@x.example", from_="a@x.example", subject="News", text="Hello")
    ids = []
    async with pool_at(server) as pool:
        for identity in ("run 1", "run 2"):
            store = MemoryStore()
            for attempt in (1, 2):
                async with Checkpoints(store, identity=identity, attempt=attempt):
                    sending = pool.send_many([message], resume="news", on_unknown="resend", raise_on=None)
                    ids += [result.message_id async for result in sending]
    assert ids[0] == ids[1] != ids[2] == ids[3]


async def test_outside_of_a_task_nothing_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    server = FaultyServer()
    async with pool_at(server) as pool:
        assert (await pool.send_many(mails(3), resume="news").report())["sent"] == 3
    assert "resume='news' keeps nothing" in caplog.text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"resume": "a b"}, "resume must be a name"),
        ({"window": 5}, "key and window are for resume"),
        ({"resume": "a", "window": 0}, "window must be at least 1"),
    ],
)
async def test_what_makes_no_sense_is_refused(options: dict[str, object], problem: str, pool: SMTPClientPool) -> None:
    with pytest.raises(ValueError, match=problem):
        pool.send_many([], **options)  # type: ignore[arg-type]


async def test_those_that_an_earlier_try_refused_count_in_the_end() -> None:
    server, store = FaultyServer(lambda step, about: "550" if step == "RCPT" else None), MemoryStore()
    async with pool_at(server) as pool:
        await one_try(pool, mails(2), store)
        async with Checkpoints(store, identity="task", attempt=2):
            with pytest.raises(SendFailed, match="news: 0 sent, 2 rejected"):
                await pool.send_many(mails(2), resume="news", label="news").report()
