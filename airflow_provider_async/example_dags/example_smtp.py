# SPDX-License-Identifier: Apache-2.0
"""
Send mails: one to each customer, the same one to all, and one for each task that fails.

A retry goes on with the customers that were not mailed. With the name of a folder, the mails are written there instead.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import dag, task

from airflow_provider_async.smtp import Message, SendReport, SMTPClientPool
from airflow_provider_async.smtp.notifier import AsyncSmtpNotifier

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPLATES = str(Path(__file__).parent / "templates")
RETRY_DELAY = timedelta(seconds=10)

TEAS = [("Assam", 490), ("Darjeeling", 620), ("Gunpowder", 380), ("Lapsang Souchong", 710), ("Pu-Erh & ginger", 830)]


def address(number: int) -> str:
    """
    Return the address of a customer.

    :param number: of the customer.
    """
    return f'"Doe, Jané ({number})" <customer{number}@example.com>'


def customers(count: int) -> Iterator[dict[str, object]]:
    """
    Iterate over customers, as a database would give them.

    :param count: how many there are.
    """
    for number in range(count):
        orders = [{"tea": tea, "cents": cents} for index, (tea, cents) in enumerate(TEAS) if (number + index) % 2 == 0]
        yield {"number": number, "name": f"Jané Doe {number}", "address": address(number), "orders": orders}


@dag(schedule=None, params={"customers": 10, "folder": ""}, template_searchpath=TEMPLATES, tags=["example", "smtp"])
def send_statements() -> None:
    """Mail each customer what the customer has ordered."""

    @task.async_python(retries=3, retry_delay=RETRY_DELAY)
    async def send(count: str, folder: str) -> SendReport:
        statements = (
            Message(
                to=str(customer["address"]),
                subject="Your {{ customer.orders | length }} orders",
                html="statement.html",
                unsubscribe="https://tea.example/unsubscribe?c={{ customer.number }}",
                one_click=True,
                context={"customer": customer},
            )
            for customer in customers(int(count))
        )
        async with SMTPClientPool("smtp_default", dry_run=folder or None) as pool:
            return await pool.send_many(statements, resume="statements").report()

    send("{{ params.customers }}", "{{ params.folder }}")


@dag(schedule=None, params={"customers": 10}, template_searchpath=TEMPLATES, tags=["example", "smtp"])
def send_announcement() -> None:
    """Mail the same to all customers, who do not see each other: rendered once, sent in envelopes of 50."""

    @task.async_python(retries=3, retry_delay=RETRY_DELAY)
    async def bcc_recipients(count: str) -> SendReport:
        announcement = Message(
            bcc=map(address, range(int(count))),
            subject="Closed on {{ day }}",
            html="announcement.html",
            context={"day": "27 November"},
        )
        async with SMTPClientPool("smtp_default", recipients_per_envelope=50) as pool:
            return await pool.send_many([announcement], resume="announcement").report()

    bcc_recipients("{{ params.customers }}")


@dag(
    schedule=None,
    params={"tables": 10},
    on_failure_callback=AsyncSmtpNotifier("managers@example.com"),
    tags=["example", "smtp"],
)
def tell_of_failures() -> None:
    """Mail each failure of a task, over few connections however many there are at once, and that of the run."""

    @task
    def list_tables(count: str) -> list[int]:
        return list(range(int(count)))

    @task(on_failure_callback=AsyncSmtpNotifier("ops@example.com"))
    def load(table: int) -> None:
        raise RuntimeError(f"table {table} is locked")

    load.expand(table=list_tables("{{ params.tables }}"))


send_statements()
send_announcement()
tell_of_failures()
