# SPDX-License-Identifier: Apache-2.0
"""
The clients that ``benchmarks/smtp.py`` compares, each in a process of its own.

``python -m benchmarks.support.smtp_clients FUNCTION PORT MAILS`` sends as many mails, and prints the seconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from airflow_provider_async.smtp import SMTPClientPool

CONNECTIONS = 8
SENDER = "sender@bench.example"

#: Some hundred bytes, as a short notice has.
BODY = "Your order has been shipped.\r\n" * 16

TEMPLATE = "<p>Dear {{ name }},</p><p>your order {{ number }} has been shipped.</p>"

#: What a write to Airflow's task state store takes.
WRITE_SECONDS = 0.02


def recipient(number: int) -> str:
    return f"to-{number}@bench.example"


def content(number: int) -> bytes:
    head = f"Message-ID: <{number}@bench.example>\r\nFrom: {SENDER}\r\nTo: {recipient(number)}\r\nSubject: News\r\n\r\n"
    return f"{head}{BODY}".encode()


# Ours.


def pool(port: int, *, window: int = 0) -> SMTPClientPool:
    from airflow_provider_async.smtp import SMTPClientPool
    from tests.servers.smtp import Fields

    return SMTPClientPool(
        connection=Fields(port=port), pool_size=CONNECTIONS, messages_per_connection=1_000_000, chunking_window=window
    )


async def ours(port: int, mails: int, *, chunks: int = 0, kept: int | None = None) -> float:
    """Send, with as many mails in a window of CHUNKING, or on their way without their outcome written down."""
    from airflow_provider_async.core.resume import Checkpoints
    from airflow_provider_async.smtp import Mail

    made = [
        Mail(message_id=f"<{n}@bench.example>", sender=SENDER, recipients=(recipient(n),), content=content(n))
        for n in range(mails)
    ]
    async with pool(port, window=chunks) as opened:
        began = time.perf_counter()
        if kept is None:
            report = await opened.send_many(made).report()
        else:
            async with Checkpoints(SlowStore(), identity="bench", attempt=1):
                report = await opened.send_many(made, resume="bench", window=kept).report()
        seconds = time.perf_counter() - began
    assert report["sent"] == mails
    return seconds


async def ours_chunked(port: int, mails: int) -> float:
    return await ours(port, mails, chunks=16)


class SlowStore:
    """Takes its time for each write, one at a time."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._one_at_a_time = asyncio.Lock()

    async def get(self, key: str) -> str | None:
        return self._values.get(key)

    async def set(self, key: str, value: str) -> None:
        async with self._one_at_a_time:
            await asyncio.sleep(WRITE_SECONDS)
            self._values[key] = value

    async def delete(self, key: str) -> None:
        self._values.pop(key, None)


def ours_resumable(window: int) -> Callable[[int, int], Coroutine[Any, Any, float]]:
    return lambda port, mails: ours(port, mails, kept=window)


async def ours_rendered(port: int, mails: int) -> float:
    import jinja2

    from airflow_provider_async.smtp import Message

    made = (
        Message(
            to=recipient(n), from_=SENDER, subject="News", html=TEMPLATE, context={"name": f"customer {n}", "number": n}
        )
        for n in range(mails)
    )
    opened = pool(port)
    opened._environment = jinja2.Environment(autoescape=True)  # noqa: SLF001 - outside of a task there is none
    async with opened:
        began = time.perf_counter()
        report = await opened.send_many(made).report()
        seconds = time.perf_counter() - began
    assert report["sent"] == mails
    return seconds


# aiosmtplib's.


async def _workers(
    port: int, mails: int, send: Callable[[Any, int], Coroutine[Any, Any, object]], *, keep: bool
) -> float:
    import aiosmtplib

    def client() -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, local_hostname="bench.example")

    numbers = iter(range(mails))

    async def work() -> None:
        if not keep:
            for number in numbers:
                async with client() as connected:
                    await send(connected, number)
            return
        async with client() as connected:
            for number in numbers:
                await send(connected, number)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return time.perf_counter() - began


async def _sendmail(client: Any, number: int) -> None:  # noqa: ANN401 - of aiosmtplib
    await client.sendmail(SENDER, [recipient(number)], content(number))


async def reused(port: int, mails: int) -> float:
    return await _workers(port, mails, _sendmail, keep=True)


async def each(port: int, mails: int) -> float:
    return await _workers(port, mails, _sendmail, keep=False)


async def reused_rendered(port: int, mails: int) -> float:
    import jinja2

    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE)

    async def send(client: Any, number: int) -> None:  # noqa: ANN401 - of aiosmtplib
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = SENDER, recipient(number), "News"
        html = template.render(name=f"customer {number}", number=number)
        message.set_content("Your order has been shipped.")
        message.add_alternative(html, subtype="html")
        await client.send_message(message)

    return await _workers(port, mails, send, keep=True)


# Airflow's.


async def hook(port: int, mails: int) -> float:
    """As its documentation shows: a hook for each mail, several tasks at a time."""
    os.environ["AIRFLOW_CONN_BENCH"] = f"smtp://127.0.0.1:{port}?disable_ssl=true&disable_tls=true"
    # A connection's text "true" is what SmtpHook takes for true.
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    numbers = iter(range(mails))

    async def work() -> None:
        for number in numbers:
            async with SmtpHook(smtp_conn_id="BENCH") as connected:
                await connected.asend_email_smtp(
                    to=recipient(number), subject="News", html_content=BODY, from_email=SENDER
                )

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return time.perf_counter() - began


FUNCTIONS: dict[str, Callable[[int, int], Coroutine[Any, Any, float]]] = {
    function.__name__: function for function in (ours, ours_chunked, ours_rendered, reused, each, reused_rendered, hook)
} | {f"ours_resumable_{window}": ours_resumable(window) for window in (10, 30, 100, 300)}

if __name__ == "__main__":
    print(asyncio.run(FUNCTIONS[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))))
