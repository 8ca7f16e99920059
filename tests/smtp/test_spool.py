# SPDX-License-Identifier: Apache-2.0
"""Mails of many processes, sent by one of them at a time."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.errors import NotificationNotSent
from airflow_provider_async.smtp import spool as module
from airflow_provider_async.smtp.prepare import prepare
from airflow_provider_async.smtp.results import SendResult
from airflow_provider_async.smtp.spool import Spool
from tests.smtp.reading import message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from contextlib import AbstractAsyncContextManager

    from airflow_provider_async.smtp import Mail
    from airflow_provider_async.smtp.results import Status


class Server:
    """Takes mails, or does not, and counts connections."""

    def __init__(self, **statuses: Status) -> None:
        self.statuses = statuses
        self.connections = 0
        self.mails: list[Mail] = []
        self.gate = asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Server]:
        self.connections += 1
        yield self

    async def send_many(self, messages: Iterable[Mail], *, raise_on: None) -> AsyncIterator[SendResult]:
        for mail in messages:
            await self.gate.wait()
            self.mails.append(mail)
            for recipient in mail.recipients:
                status = self.statuses.get(recipient.partition("@")[0], "sent")
                yield SendResult(mail.message_id, recipient, status, None, status)


class Stuck(Server):
    """Takes one mail, and then no more."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stuck = asyncio.Event()

    async def send_many(self, messages: Iterable[Mail], *, raise_on: None) -> AsyncIterator[SendResult]:
        async for result in super().send_many(messages, raise_on=raise_on):
            yield result
            self.gate.clear()
            self.is_stuck.set()


def open_files() -> dict[Path, int]:
    """Find this process' descriptors, by what they are of."""
    return {fd.resolve(): int(fd.name) for fd in Path("/proc/self/fd").iterdir()}


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool("server", folder=tmp_path / "spool")


def endings(spool: Spool) -> list[str]:
    return sorted(path.suffix for path in spool.folder.iterdir() if path.name != "lock")


def mail_to(*names: str) -> Mail:
    return prepare(message(to=[f"{name}@example.com" for name in names], text="Größe"))


async def test_a_mail_is_sent_as_it_is_and_leaves_nothing(spool: Spool) -> None:
    server, mail = Server(), replace(mail_to("jane", "john"), is_8bit=True, needs_smtputf8=True)
    await spool.deliver(spool.put(mail), server.connect)
    assert server.mails == [mail]
    assert endings(spool) == []
    assert all(path.stat().st_mode & 0o077 == 0 for path in (spool.folder, spool.folder / "lock"))


async def test_a_storm_goes_over_few_connections(spool: Spool) -> None:
    server = Server()
    server.gate.clear()
    storm = [asyncio.create_task(spool.deliver(spool.put(mail_to(f"jane{n}")), server.connect)) for n in range(100)]
    await asyncio.sleep(0)
    server.gate.set()
    await asyncio.gather(*storm)
    assert len(server.mails) == 100
    assert server.connections == 1


def run_one(folder: Path, log: Path, number: int) -> None:
    """Send one mail in a process of its own, and note each connection and each mail."""

    class Noting(Server):
        async def send_many(self, messages: Iterable[Mail], *, raise_on: None) -> AsyncIterator[SendResult]:
            async for result in super().send_many(messages, raise_on=raise_on):
                with log.open("a") as file:
                    file.write(f"{result.recipient}\n")
                yield result

    spool = Spool("server", folder=folder)
    asyncio.run(spool.deliver(spool.put(mail_to(f"jane{number}")), Noting().connect))


def test_processes_send_each_mail_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    spawning = multiprocessing.get_context("spawn")
    processes = [spawning.Process(target=run_one, args=(tmp_path / "spool", log, number)) for number in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert sorted(log.read_text().split()) == sorted(f"jane{number}@example.com" for number in range(4))


@pytest.mark.parametrize("status", ["rejected", "unknown"])
async def test_what_is_refused_is_an_error_and_not_sent_again(spool: Spool, status: Status) -> None:
    server = Server(eve=status)
    with pytest.raises(NotificationNotSent, match=f"not sent to eve@example.com: {status}: None {status}"):
        await spool.deliver(spool.put(mail_to("jane", "eve")), server.connect)
    assert endings(spool) == []


async def test_what_is_deferred_goes_with_the_next_one_to_whom_it_was_not_sent(spool: Spool) -> None:
    server = Server(eve="deferred")
    for _ in range(2):
        with pytest.raises(NotificationNotSent, match="did not take the notification yet"):
            await spool.deliver(spool.put(mail_to("jane", "eve")), server.connect)
    assert endings(spool) == [".deferred"] * 2
    server.statuses.clear()
    server.mails.clear()
    await spool.deliver(spool.put(mail_to("john")), server.connect)
    assert [mail.recipients for mail in server.mails] == [("eve@example.com",)] * 2 + [("john@example.com",)]
    assert endings(spool) == []


async def test_what_a_killed_process_left_goes_with_the_next_one(spool: Spool) -> None:
    server = Server()
    spool.put(mail_to("jane"))
    await spool.deliver(spool.put(mail_to("john")), server.connect)
    assert [mail.recipients[0] for mail in server.mails] == ["jane@example.com", "john@example.com"]


async def test_a_mail_that_waits_for_another_process_is_sent_when_that_dies(spool: Spool) -> None:
    server = Server()
    waiting = spool.put(mail_to("jane"))
    with spool._lock() as is_mine:
        assert is_mine
        delivery = asyncio.create_task(spool.deliver(waiting, server.connect))
        await asyncio.sleep(0)
        assert server.connections == 0
    await delivery
    assert len(server.mails) == 1


async def test_who_is_killed_while_sending_leaves_what_was_not_sent(spool: Spool) -> None:
    stuck, server = Stuck(), Server()
    waiting = [spool.put(mail_to(f"jane{number}")) for number in range(3)]
    delivery = asyncio.create_task(spool.deliver(waiting[2], stuck.connect))
    await stuck.is_stuck.wait()
    assert [path.exists() for path in waiting] == [False, True, True]
    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivery
    await spool.deliver(waiting[2], server.connect)
    assert [mail.recipients[0] for mail in stuck.mails + server.mails] == [f"jane{n}@example.com" for n in range(3)]


async def test_whose_mail_is_sent_does_not_fail_for_the_time_that_those_of_others_take(spool: Spool) -> None:
    stuck = Stuck()
    waiting = [spool.put(mail_to(f"jane{number}")) for number in range(2)]
    soon = asyncio.get_running_loop().time() + 0.05
    await spool.deliver(waiting[0], stuck.connect, until=soon)
    assert endings(spool) == [".mail"]
    stuck.mails.clear()
    with pytest.raises(TimeoutError):
        await spool.deliver(waiting[1], stuck.connect, until=soon)


async def test_a_process_that_was_forked_meanwhile_does_not_keep_the_lock(spool: Spool) -> None:
    server = Server()
    waiting = spool.put(mail_to("jane"))
    with spool._lock():
        inherited = os.dup(open_files()[spool.folder / "lock"])
    try:
        await spool.deliver(waiting, server.connect, until=asyncio.get_running_loop().time() + 5)
    finally:
        os.close(inherited)
    assert len(server.mails) == 1


@pytest.mark.parametrize("content", [b"", b"{}\n", b'{"recipients": [], "color": "red"}\nFrom: x', b"[]\n"])
async def test_what_cannot_be_read_keeps_nobody_waiting(
    spool: Spool, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    broken = spool.put(mail_to("jane"))
    broken.write_bytes(content)
    await spool.deliver(spool.put(mail_to("john")), server.connect)
    assert [mail.recipients[0] for mail in server.mails] == ["john@example.com"]
    assert f"cannot be read, and is not sent: {broken}" in caplog.text
    with pytest.raises(NotificationNotSent, match="cannot be read"):
        await spool.deliver(broken, server.connect)
    assert endings(spool) == [".unreadable"]


async def test_mails_with_one_message_id_are_all_sent(spool: Spool) -> None:
    server = Server()
    mail = mail_to("jane", "john")
    for _ in range(2):
        spool.put(mail)
    await spool.deliver(spool.put(mail), server.connect)
    assert server.mails == [mail] * 3
    assert endings(spool) == []


async def test_an_error_of_the_server_leaves_the_mail(spool: Spool) -> None:
    def connect() -> AbstractAsyncContextManager[Server]:
        raise ConnectionError("nobody there")

    with pytest.raises(ConnectionError, match="nobody there"):
        await spool.deliver(spool.put(mail_to("jane")), connect)
    assert endings(spool) == [".mail"]


async def test_what_is_a_day_old_is_given_up(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    old = spool.put(mail_to("jane"))
    old.rename(spool.folder / f"{time.time_ns() - 25 * 3600 * 10**9:020}-1-1.mail")
    with caplog.at_level(logging.WARNING, module.__name__):
        await spool.deliver(spool.put(mail_to("john")), server.connect)
    assert [mail.recipients[0] for mail in server.mails] == ["john@example.com"]
    assert "is given up" in caplog.text


def test_a_folder_of_others_is_not_used(spool: Spool, tmp_path: Path) -> None:
    spool.folder.mkdir(parents=True)
    spool.folder.chmod(0o777)
    with pytest.raises(PermissionError, match="is no folder that this user alone can write into"):
        spool.put(mail_to("jane"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        Spool("link", folder=tmp_path / "spool").put(mail_to("jane"))


def test_by_default_the_folder_is_this_users() -> None:
    assert Spool("server").folder.parent.name == f"airflow-async-smtp-{os.getuid()}"
