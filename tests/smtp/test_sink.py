# SPDX-License-Identifier: Apache-2.0
"""Servers of other makes: Postfix's smtp-sink with each of its faults, and aiosmtpd."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.smtp import SMTPClientPool
from tests.servers.postfix import smtp_sink
from tests.servers.smtp import Fields
from tests.smtp.conftest import SOON, mail, mails

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: -q drops the connection at a command, -Q says 421 first, -r answers 4xx, -f 5xx; all without PIPELINING.
FAULTS = {
    "nothing": ((), {"sent"}),
    "a drop at CONNECT": (("-q", "CONNECT"), {"deferred"}),
    "a drop at EHLO": (("-q", "EHLO,HELO"), {"deferred"}),
    "a drop at MAIL": (("-q", "MAIL"), {"deferred"}),
    "a drop at RCPT": (("-q", "RCPT"), {"deferred"}),
    "a drop at DATA": (("-q", "DATA"), {"deferred"}),
    "a drop at the dot": (("-q", "."), {"unknown"}),
    "421 at MAIL": (("-Q", "MAIL"), {"deferred"}),
    "421 at RCPT": (("-Q", "RCPT"), {"deferred"}),
    "421 at DATA": (("-Q", "DATA"), {"deferred"}),
    "421 at the dot": (("-Q", "."), {"deferred"}),
    "450 at MAIL": (("-r", "MAIL"), {"deferred"}),
    "450 at RCPT": (("-r", "RCPT"), {"deferred"}),
    "450 at DATA": (("-r", "DATA"), {"deferred"}),
    "450 at the dot": (("-r", "."), {"deferred"}),
    "500 at MAIL": (("-f", "MAIL"), {"rejected"}),
    "500 at RCPT": (("-f", "RCPT"), {"rejected"}),
    "500 at DATA": (("-f", "DATA"), {"rejected"}),
    "500 at the dot": (("-f", "."), {"rejected"}),
    "no EHLO": (("-e",), {"sent"}),
    "no PIPELINING": (("-p",), {"sent"}),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_what_is_reported_is_what_smtp_sink_has(case: str) -> None:
    arguments, statuses = FAULTS[case]
    count = 12
    async with smtp_sink(*arguments) as sink:
        pool = SMTPClientPool(connection=sink.connection(), pool_size=3, retry=SOON, acquire_timeout=0.5)
        async with pool:
            many = [mail(n, f"a-{n}@x.example", f"b-{n}@x.example") for n in range(count)]
            results = [result async for result in pool.send_many(many, raise_on=None)]
        stored = [pair for text in sink.mails for pair in _pairs(text)]
    assert {result.status for result in results} == statuses
    assert len({(result.message_id, result.recipient) for result in results}) == len(results) == 2 * count
    reported = {(result.message_id, result.recipient) for result in results if result.status == "sent"}
    if case.endswith("the dot"):
        # It keeps what it then refuses, or does not answer: each attempt that was made, and no other.
        attempts = SOON.attempts if statuses == {"deferred"} else 1
        assert Counter(stored) == {(result.message_id, result.recipient): attempts for result in results}
    else:
        assert sorted(stored) == sorted(reported)


def _pairs(text: str) -> list[tuple[str, str]]:
    found = re.search(r"^Message-ID: (<\S+>)", text, re.MULTILINE)
    assert found is not None
    return [(found[1], recipient) for recipient in re.findall(r"^X-Rcpt-Args: <(\S+)>", text, re.MULTILINE)]


async def test_many_mails_come_as_they_were_sent() -> None:
    async with smtp_sink() as sink:
        async with SMTPClientPool(connection=sink.connection(), pool_size=8, retry=Retry(attempts=1)) as pool:
            report = await pool.send_many(mails(500)).report()
        texts = sink.mails
    assert report["sent"] == 500
    assert len(texts) == 500
    assert all("\n.a line\n" in text.replace("\r", "") for text in texts)


class Handler:
    """What aiosmtpd asks."""

    def __init__(self) -> None:
        self.stored: Counter[tuple[str, str]] = Counter()
        self.utf8 = 0

    async def handle_MAIL(self, *given: Any) -> str:  # noqa: ANN401, N802 - aiosmtpd's name, and no types
        _, _, envelope, address, options = given
        envelope.mail_from = address
        self.utf8 += "SMTPUTF8" in options
        return "250 OK"

    async def handle_RCPT(self, *given: Any) -> str:  # noqa: ANN401, N802 - aiosmtpd's name, and no types
        _, _, envelope, address, _ = given
        if address.startswith("bad"):
            return f"550 5.1.1 no {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, *given: Any) -> str:  # noqa: ANN401, N802 - aiosmtpd's name, and no types
        envelope = given[2]
        name = re.search(rb"Message-ID: (<\S+>)", envelope.content)
        assert name is not None
        self.stored.update((name[1].decode(), recipient) for recipient in envelope.rcpt_tos)
        return "250 2.0.0 taken"


@asynccontextmanager
async def aiosmtpd() -> AsyncIterator[tuple[Handler, Fields]]:
    import asyncio

    from aiosmtpd.smtp import SMTP

    handler = Handler()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, enable_SMTPUTF8=True, loop=loop, hostname="aiosmtpd.example"), "127.0.0.1", 0
    )
    try:
        yield handler, Fields(port=server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def test_aiosmtpd_has_what_was_reported() -> None:
    async with aiosmtpd() as (handler, connection):
        many = [mail(n, f"a-{n}@x.example", f"bad-{n}@x.example") for n in range(30)]
        async with SMTPClientPool(connection=connection, retry=SOON) as pool:
            results = [result async for result in pool.send_many(many)]
    counts = Counter(result.status for result in results)
    assert counts == {"sent": 30, "rejected": 30}
    assert handler.stored == Counter((f"<{n}@mails.example>", f"a-{n}@x.example") for n in range(30))
    assert all(result.recipient in result.response for result in results if result.status == "rejected")


async def test_an_address_beyond_ascii_goes_where_it_is_taken() -> None:
    async with aiosmtpd() as (handler, connection), SMTPClientPool(connection=connection) as pool:
        (result,) = await pool.send(mail(1, "jürgen@böse.example"))
    assert result.status == "sent"
    assert handler.utf8 == 1
    async with smtp_sink("-8") as sink, SMTPClientPool(connection=sink.connection()) as pool:
        (result,) = await pool.send(mail(1, "jürgen@böse.example"), raise_on=None)
    assert (result.status, result.code) == ("rejected", None)
    assert "does not offer SMTPUTF8" in result.response
