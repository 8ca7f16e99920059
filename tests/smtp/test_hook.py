# SPDX-License-Identifier: Apache-2.0
"""Connecting: what is asked for once, what is an error, and what may be tried again."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import aiosmtplib
import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import PoolConnectError
from airflow_provider_async.smtp import AsyncSMTPHook, SMTPClientPool, login
from airflow_provider_async.smtp.login import connect_retry
from airflow_provider_async.smtp.options import SMTPOptions
from tests.servers.smtp import FaultyServer, Fields, faulty_server
from tests.smtp.conftest import mail, mails, pool_at

if TYPE_CHECKING:
    from tests.servers.smtp import Fault, Step


async def test_a_hook_gives_a_client_and_ends_its_connection(server: FaultyServer) -> None:
    hook = AsyncSMTPHook(connection=server.connection())
    async with hook.connect() as client:
        assert (await client.noop()).code == 250
        assert len(server.open) == 1
    assert server.books.commands[-1] == b"QUIT"
    assert await hook.read() is await hook.read()


async def test_a_connection_is_read_from_airflow(monkeypatch: pytest.MonkeyPatch, server: FaultyServer) -> None:
    uri = f"smtp://127.0.0.1:{server.port}?disable_ssl=true&disable_tls=true&local_hostname=a.example"
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", uri)
    async with SMTPClientPool("mail") as pool:
        await pool.send(mail(1))
    assert server.books.commands[0] == b"EHLO a.example"


async def test_starttls_that_is_not_offered_is_an_error_and_no_mail(server: FaultyServer) -> None:
    given = server.connection().with_extras(disable_tls=False)
    async with SMTPClientPool(connection=given) as pool:
        with pytest.raises(PoolConnectError, match=r"(?i)starttls"):
            await pool.send(mail(1))
    assert not server.books.stored


async def test_the_name_of_this_machine_is_asked_for_once(
    monkeypatch: pytest.MonkeyPatch, server: FaultyServer
) -> None:
    asked = []

    def name() -> str:
        asked.append(1)
        return "me.example"

    monkeypatch.setattr(socket, "getfqdn", name)
    given = server.connection().with_extras(local_hostname=None)
    async with SMTPClientPool(connection=given, pool_size=4, messages_per_connection=1) as pool:
        await pool.send_many(mails(8)).report()
    assert len(asked) == 1
    assert server.books.commands.count(b"EHLO me.example") == 8


@pytest.mark.parametrize("name", ["localhost", "böse.example"])
async def test_a_name_that_is_none_is_replaced_by_an_address(
    name: str, monkeypatch: pytest.MonkeyPatch, server: FaultyServer
) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: name)
    async with AsyncSMTPHook(connection=server.connection().with_extras(local_hostname=None)).connect():
        pass
    assert server.books.commands[0] == b"EHLO [127.0.0.1]"


async def test_a_server_that_knows_only_helo_is_spoken_to_as_it_wants() -> None:
    def fault(step: Step, about: str) -> Fault | None:
        return "554" if step == "EHLO" else None

    async with faulty_server(FaultyServer(fault)) as server, SMTPClientPool(connection=server.connection()) as pool:
        await pool.send(mail(1))
    assert b"HELO client.example" in server.books.commands


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (aiosmtplib.SMTPConnectResponseError(421, "too many"), True),
        (aiosmtplib.SMTPConnectResponseError(554, "go away"), False),
        (aiosmtplib.SMTPAuthenticationError(454, "later"), True),
        (aiosmtplib.SMTPAuthenticationError(535, "wrong"), False),
        (aiosmtplib.SMTPConnectError("refused"), True),
        (aiosmtplib.SMTPConnectTimeoutError("late"), True),
        (aiosmtplib.SMTPServerDisconnected("gone"), True),
        (aiosmtplib.SMTPException("no AUTH"), False),
    ],
)
def test_connecting_is_tried_again_where_that_may_help(error: Exception, again: bool) -> None:
    assert connect_retry(None).is_transient(error) == again


def test_a_policy_may_know_more() -> None:
    assert connect_retry(Retry(is_transient=lambda error: True)).is_transient(ValueError())


async def test_a_greeting_that_sends_away_is_final() -> None:
    server = FaultyServer(lambda step, about: "554" if step == "CONNECT" else None)
    async with pool_at(server) as pool:
        with pytest.raises(PoolConnectError, match="554"):
            await pool.send_many(mails(3), raise_on=None).report()
    assert server.books.sessions <= 3


async def test_a_test_of_a_connection_says_what_is_wrong(server: FaultyServer) -> None:
    assert await asyncio.to_thread(AsyncSMTPHook(connection=server.connection()).test_connection) == (
        True,
        "Connection successfully tested",
    )
    worked, sentence = AsyncSMTPHook(connection=Fields(host=" ")).test_connection()
    assert not worked
    assert "host is missing" in sentence


class Application:
    """Stands for msal's."""

    made: list[dict[str, str]]
    answer: dict[str, str]

    def __init__(self, **arguments: str) -> None:
        Application.made.append(arguments)

    def acquire_token_for_client(self, scopes: list[str]) -> dict[str, str]:
        return {**Application.answer, "scopes": " ".join(scopes)}


@pytest.mark.parametrize("answer", [{"access_token": "t"}, {"error": "no", "error_description": "unknown client"}])
async def test_a_token_comes_from_microsoft_where_an_application_is_named(
    answer: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import msal  # type: ignore[import-untyped]

    Application.made, Application.answer = [], answer
    monkeypatch.setattr(msal, "ConfidentialClientApplication", Application)
    options = SMTPOptions(conn_id="mail", host="h", port=25, client_id="i", client_secret="hidden", tenant_id="t")
    token: Any = login._token_function(options)
    if "error" in answer:
        with pytest.raises(ValueError, match="'mail': extra client_id got no token: unknown client"):
            await token()
    else:
        assert [await token(), await token()] == ["t", "t"]
    assert Application.made == [
        {"client_id": "i", "client_credential": "hidden", "authority": "https://login.microsoftonline.com/t"}
    ]
