# SPDX-License-Identifier: Apache-2.0
"""A real Postfix: pipelining, encryption, logins, chunking, refusals."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from airflow_provider_async.errors import PoolConnectError
from airflow_provider_async.smtp import AsyncSMTPHook, SMTPClientPool
from tests.servers.dovecot import PASSWORD, USER
from tests.servers.postfix import Postfix, certificate, postfix
from tests.servers.smtp import Fields
from tests.smtp.conftest import SOON, mail, mails

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LOGIN: dict[str, Any] = {"login": USER, "password": PASSWORD}


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Postfix]:
    async with postfix() as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asking_server() -> AsyncIterator[Postfix]:
    """One that asks for a login."""
    async with postfix(auth=True) as running:
        yield running


def connection(server: Postfix, *, tls: bool = False, starttls: bool = False, **fields: Any) -> Fields:  # noqa: ANN401
    extras = {"disable_ssl": not tls, "disable_tls": not starttls, "local_hostname": "client.example"}
    extras["verify"] = str(server.folder / "127.0.0.1.pem")
    extras |= fields.pop("extras", {})
    return Fields(port=server.tls_port if tls else server.port, extra_dejson=extras, **fields)


@pytest.mark.parametrize("window", [0, 8])
async def test_many_mails_are_taken_each_once(server: Postfix, window: int) -> None:
    sent_before = server.log.count("status=sent")
    async with SMTPClientPool(connection=connection(server), pool_size=4, chunking_window=window, retry=SOON) as pool:
        results = [result async for result in pool.send_many(mails(300))]
    assert Counter(result.status for result in results) == {"sent": 300}
    assert len({result.response for result in results}) == 300
    async with asyncio.timeout(20):
        while server.log.count("status=sent") < sent_before + 300:  # noqa: ASYNC110 - the log tells nobody
            await asyncio.sleep(0.1)
    assert "improper command pipelining" not in server.log


async def test_each_recipient_has_the_answer_that_was_meant_for_it(server: Postfix) -> None:
    addresses = ["a@postfix.example", "bad@postfix.example", "later@postfix.example", "b@postfix.example"]
    async with SMTPClientPool(connection=connection(server), pool_size=1, retry=SOON) as pool:
        results = await pool.send(mail(1, *addresses))
    by_recipient = {result.recipient: (result.status, result.code) for result in results}
    assert by_recipient == {
        "a@postfix.example": ("sent", 250),
        "bad@postfix.example": ("rejected", 550),
        "later@postfix.example": ("deferred", 450),
        "b@postfix.example": ("sent", 250),
    }
    assert len(results) == 4
    assert all(result.recipient in result.response for result in results if result.status != "sent")


@pytest.mark.parametrize("window", [0, 4])
async def test_a_server_that_ends_the_connection_at_too_many_errors_gets_the_rest_on_others(window: int) -> None:
    async with postfix(smtpd_hard_error_limit="3", smtpd_error_sleep_time="0") as server:
        many = [mail(n, *(["bad@postfix.example"] if n % 2 else [f"{n}@postfix.example"])) for n in range(40)]
        pool = SMTPClientPool(connection=connection(server), pool_size=2, chunking_window=window, retry=SOON)
        async with pool:
            results = [result async for result in pool.send_many(many, raise_on=None)]
    counts = Counter(result.status for result in results)
    assert sum(counts.values()) == 40
    if not window:
        assert counts == {"sent": 20, "rejected": 20}


async def test_a_mail_that_is_too_large_is_not_sent_at_all(server: Postfix) -> None:
    async with SMTPClientPool(connection=connection(server)) as pool:
        (result,) = await pool.send(mail(1, content=b"x" * 1_100_000), raise_on=None)
    assert (result.status, result.code) == ("rejected", None)
    assert "the server takes 1000000 at most" in result.response


@pytest.mark.parametrize("how", [{"tls": True}, {"starttls": True}])
async def test_connections_are_encrypted(server: Postfix, how: dict[str, Any]) -> None:
    async with SMTPClientPool(connection=connection(server, **how), pool_size=2) as pool:
        report = await pool.send_many(mails(30)).report()
        async with pool.get_smtp_client() as client:
            assert client.get_transport_info("cipher") is not None
    assert report["sent"] == 30


@pytest.mark.parametrize("how", [{"tls": True}, {"starttls": True}])
async def test_a_server_that_cannot_prove_who_it_is_is_refused(server: Postfix, how: dict[str, Any]) -> None:
    given = connection(server, **how, extras={"verify": True})
    async with SMTPClientPool(connection=given, acquire_timeout=20.0) as pool:
        with pytest.raises(PoolConnectError, match=r"(?i)certificate"):
            await pool.send(mail(1))
    unchecked = connection(server, **how, extras={"verify": None, "ssl_context": "none"})
    async with SMTPClientPool(connection=unchecked) as pool:
        await pool.send(mail(1))


async def test_a_client_may_prove_who_it_is(server: Postfix, tmp_path: Path) -> None:
    files = [str(file) for file in certificate(tmp_path, "client.example")]
    async with SMTPClientPool(connection=connection(server, tls=True, extras={"cert": files})) as pool:
        await pool.send(mail(1))
    async with asyncio.timeout(10):
        while "CN=client.example" not in server.log:  # noqa: ASYNC110 - the log tells nobody
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("method", ["plain", "login", "cram-md5", None])
async def test_each_way_to_log_in_works(asking_server: Postfix, method: str | None) -> None:
    given = connection(asking_server, extras={"auth_method": method}, **LOGIN)
    async with SMTPClientPool(connection=given) as pool:
        await pool.send(mail(1))
    async with asyncio.timeout(10):
        while "sasl_username=alice" not in asking_server.log:  # noqa: ASYNC110 - the log tells nobody
            await asyncio.sleep(0.1)
    if method is not None:
        assert f"sasl_method={method.upper()}" in asking_server.log


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_token_is_asked_for_at_each_login(asking_server: Postfix, is_async: bool) -> None:
    asked = []

    def token() -> str:
        asked.append(1)
        return PASSWORD

    async def token_later() -> str:
        await asyncio.sleep(0)
        return token()

    given = connection(asking_server, login=USER, extras={"auth_type": "oauth2"})
    make = token_later if is_async else token
    async with SMTPClientPool(connection=given, token=make, pool_size=1, messages_per_connection=2) as pool:
        await pool.send_many(mails(4)).report()
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("fields", "extras"),
    [
        ({"login": USER, "password": "wrong-secret"}, {}),
        ({"login": USER, "password": "wrong-secret"}, {"auth_method": "plain"}),
        ({"login": USER}, {"auth_type": "oauth2", "access_token": "wrong-secret"}),
    ],
)
async def test_a_login_that_is_refused_is_an_error_once_and_never_a_mail_without(
    asking_server: Postfix, fields: dict[str, Any], extras: dict[str, str]
) -> None:
    given = connection(asking_server, extras=extras, **fields)
    said_before = len(asking_server.log)
    async with SMTPClientPool(connection=given, pool_size=4) as pool:
        with pytest.raises(PoolConnectError, match=r"SMTPAuthenticationError: .*535") as caught:
            await pool.send_many(mails(50), raise_on=None).report()
        assert "wrong-secret" not in str(caught.value)
    said = asking_server.log[said_before:]
    assert "from=<from-" not in said
    assert said.count("authentication failed") <= 4 * 3


async def test_a_login_where_none_is_offered_is_an_error(server: Postfix) -> None:
    async with SMTPClientPool(connection=connection(server, **LOGIN)) as pool:
        with pytest.raises(PoolConnectError, match="AUTH extension is not supported"):
            await pool.send(mail(1))


async def test_a_token_that_nobody_gives_is_an_error(asking_server: Postfix) -> None:
    given = connection(asking_server, login=USER, extras={"auth_type": "oauth2"})
    async with SMTPClientPool(connection=given) as pool:
        with pytest.raises(PoolConnectError, match="extra auth_type is oauth2, but there is neither access_token"):
            await pool.send(mail(1))


async def test_a_connection_is_tested_with_its_login(asking_server: Postfix) -> None:
    def outcome(password: str) -> tuple[bool, str]:
        given = connection(asking_server, login=USER, password=password)
        return AsyncSMTPHook(connection=given).test_connection()

    assert await asyncio.to_thread(outcome, PASSWORD) == (True, "Connection successfully tested")
    worked, sentence = await asyncio.to_thread(outcome, "wrong")
    assert not worked
    assert "535" in sentence
