# SPDX-License-Identifier: Apache-2.0
"""The SMTP server for tests: what it takes, how it fails, and what the pool of this package makes of that."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import aiosmtplib
import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import PoolConnectError
from airflow_provider_async.smtp import Message, SMTPClientPool
from airflow_provider_async.testing import run_task
from airflow_provider_async.testing.smtp import SMTPServer
from airflow_provider_async.testing.threads import running_in_a_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_async.smtp import SendReport

pytest_plugins = ["airflow_provider_async.testing.fixtures"]

#: Waits that nobody notices.
SOON = Retry(attempts=4, initial_seconds=0.01, max_seconds=0.02, budget_seconds=20)


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[SMTPServer, SMTPClientPool]]:  # noqa: ANN401 - the server's
    async with (
        SMTPServer(**options).running() as server,
        SMTPClientPool(connection=server.connection(), pool_size=1, retry=SOON) as pool,
    ):
        yield server, pool


def mail(to: str | list[str] = "ann@example.com", subject: str = "Orders", text: str = "Three.") -> Message:
    return Message(from_="shop@example.com", to=to, subject=subject, text=text)


async def send(pool: SMTPClientPool, *messages: Message) -> dict[str, str]:
    """Send mails, and return what became of them by recipient."""
    sending = pool.send_many(messages or [mail()], raise_on=None)
    return {result.recipient: result.status async for result in sending}


async def test_a_mail_is_kept_as_it_was_sent() -> None:
    async with serving() as (server, pool):
        text = ".a dot\n..two\n" + "x" * 900 + "\n" + "line\n" * 20_000
        await send(pool, mail(["ann@example.com", "bob@example.com"], subject="Grüße", text=text))
        (received,) = server.received
    assert (received.sender, received.recipients) == ("shop@example.com", ("ann@example.com", "bob@example.com"))
    (parsed,) = server.messages
    assert parsed["Subject"] == "Grüße"
    body = parsed.get_body()
    assert body is not None
    assert body.get_content() == text
    assert server.recipients == ["ann@example.com", "bob@example.com"]
    assert "Three" not in repr(received)


@pytest.mark.parametrize("encryption", ["none", "starttls", "tls"])
async def test_a_login_works_in_the_clear_and_encrypted(encryption: Literal["none", "starttls", "tls"]) -> None:
    async with serving(encryption=encryption, login="shop", password="s3cret") as (server, pool):
        assert await send(pool) == {"ann@example.com": "sent"}
        assert "s3cret" not in f"{server!r} {server.connection()!r}"
    (received,) = server.received
    assert (received.login, received.is_encrypted) == ("shop", encryption != "none")
    assert server.logins == 1


async def test_a_wrong_password_is_refused() -> None:
    async with SMTPServer(login="shop", password="s3cret").running() as server:
        server.password = "another"
        connection = server.connection()
        server.password = "s3cret"
        with pytest.raises(PoolConnectError, match="535"):
            async with SMTPClientPool(connection=connection, retry=SOON) as pool:
                await pool.send(mail())
    assert server.received == []


async def test_refused_logins_come_to_an_end() -> None:
    async with serving(login="shop", password="s3cret") as (server, pool):
        server.refuse_logins(1, answer="454 4.7.0 temporary authentication failure")
        assert await send(pool) == {"ann@example.com": "sent"}
    assert server.logins == 2


async def test_a_rejected_recipient_leaves_the_others_theirs() -> None:
    async with serving() as (server, pool):
        server.reject("Bob@example.com")
        found = await send(pool, mail(["ann@example.com", "bob@example.com"]), mail("bob@example.com"))
    assert found == {"ann@example.com": "sent", "bob@example.com": "rejected"}
    assert server.recipients == ["ann@example.com"]


async def test_a_deferred_recipient_is_taken_in_the_end() -> None:
    async with serving() as (server, pool):
        server.defer("ann@example.com", times=2)
        assert await send(pool) == {"ann@example.com": "sent"}
        server.defer("ann@example.com", times=9)
        assert await send(pool) == {"ann@example.com": "deferred"}
    assert len(server.received) == 1


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("fault", ["421", "451", "lost"])
async def test_what_goes_wrong_before_the_content_is_done_again(step: Any, fault: str) -> None:  # noqa: ANN401 - a step
    async with serving() as (server, pool):
        if fault == "lost":
            server.lose_connection_at(step)
        else:
            server.fail(step, answer=f"{fault} 4.3.0 in 0 seconds")
        assert await send(pool) == {"ann@example.com": "sent"}
        assert len(server.received) == 1
        assert server.connections == (1 if fault == "451" and step in ("MAIL", "RCPT", "DATA") else 2)


@pytest.mark.parametrize("is_taken", [False, True])
async def test_a_connection_that_is_lost_after_the_last_dot_leaves_a_mail_unknown(is_taken: bool) -> None:
    async with serving() as (server, pool):
        server.lose_connection_at("DOT", is_taken=is_taken)
        assert await send(pool) == {"ann@example.com": "unknown"}
    assert len(server.received) == is_taken


async def test_a_late_answer_is_an_answer() -> None:
    async with serving() as (server, pool):
        server.delay("DOT", 0.05)
        began = asyncio.get_running_loop().time()
        assert await send(pool) == {"ann@example.com": "sent"}
        assert asyncio.get_running_loop().time() - began >= 0.05


async def test_what_is_too_large_is_refused() -> None:
    async with serving(max_bytes=2000) as (server, pool):
        assert await send(pool, mail(text="long\n" * 1000)) == {"ann@example.com": "rejected"}
    assert server.received == []


async def test_the_faults_are_those_that_another_client_sees() -> None:
    async with SMTPServer(encryption="starttls", login="shop", password="s3cret").running() as server:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=server.port, start_tls=False, local_hostname="client")
        async with client:
            await client.ehlo()
            assert client.supports_extension("starttls")
            assert not client.supports_extension("auth")
            with pytest.raises(aiosmtplib.SMTPResponseException, match="STARTTLS comes first"):
                await client.mail("shop@example.com")
            trusted = ssl.create_default_context(cafile=str(server.connection().extra_dejson["verify"]))
            await client.starttls(tls_context=trusted, server_hostname="localhost")
            await client.ehlo()
            with pytest.raises(aiosmtplib.SMTPResponseException, match="authentication required"):
                await client.mail("shop@example.com")
            with pytest.raises(aiosmtplib.SMTPAuthenticationError):
                await client.auth_login("shop", "wrong")
            await client.auth_plain("shop", "s3cret")
            for wrong in ("RCPT TO:<a@b>", "DATA", "WHAT", "MAIL FROM:nobody", "STARTTLS", "AUTH PLAIN x"):
                assert (await client.execute_command(wrong.encode())).code in (500, 501, 503)
            await client.mail("shop@example.com")
            assert (await client.execute_command(b"DATA")).code == 554
            assert (await client.noop()).code == 250
            assert (await client.rset()).code == 250


def test_a_client_that_blocks_can_be_cut_off(smtp_server: SMTPServer) -> None:
    with smtplib.SMTP("127.0.0.1", smtp_server.port, local_hostname="client") as client:
        client.sendmail("", ["ann@example.com"], b"Subject: one\r\n\r\n.\r\n")
        smtp_server.lose_all_connections()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.noop()
    assert [(mail.sender, mail.content) for mail in smtp_server.received] == [("", b"Subject: one\r\n\r\n.\r\n")]


def test_an_old_client_sends_long_lines_and_too_much(smtp_server: SMTPServer) -> None:
    content = b"x" * 200_000 + b"\r\n"
    smtp_server.max_bytes = len(content)
    with smtplib.SMTP("127.0.0.1", smtp_server.port, local_hostname="client") as client:
        client.helo()
        client.sendmail("shop@example.com", ["ann@example.com"], content)
        with pytest.raises(smtplib.SMTPDataError, match="552"):
            client.sendmail("shop@example.com", ["ann@example.com"], content + b"x\r\n")
    assert [mail.content for mail in smtp_server.received] == [content]


def test_a_task_that_sends_mail_is_tested(smtp_server: SMTPServer) -> None:
    async def remind(addresses: list[str]) -> SendReport:
        async with SMTPClientPool("mail") as pool:
            sending = pool.send_many(mail(address) for address in addresses)
            return await sending.report()

    smtp_server.reject("bob@example.com")
    smtp_server.lose_connection_at("MAIL")
    report = run_task(remind, ["ann@example.com", "bob@example.com"], connections={"mail": smtp_server.connection()})
    assert (report["sent"], report["rejected"]) == (1, 1)
    assert smtp_server.recipients == ["ann@example.com"]


def test_a_server_with_a_login_runs_beside_a_test() -> None:
    async def send_one() -> str:
        async with SMTPClientPool("mail") as pool:
            return (await pool.send(mail()))[0].status

    server = SMTPServer(encryption="starttls", login="shop", password="s3cret")
    with running_in_a_thread(server.running()):
        assert run_task(send_one, connections={"mail": server.connection()}) == "sent"


def test_half_a_login_is_refused() -> None:
    with pytest.raises(ValueError, match="a login needs a password"):
        SMTPServer(login="shop")
    with pytest.raises(ValueError, match="there is no mail that could be taken"):
        SMTPServer().lose_connection_at("MAIL", is_taken=True)
