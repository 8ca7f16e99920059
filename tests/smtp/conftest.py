# SPDX-License-Identifier: Apache-2.0
"""A faulty server and a pool that sends to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.smtp import Mail, SMTPClientPool
from tests.servers.smtp import FaultyServer, faulty_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: Waits that nobody notices.
SOON = Retry(attempts=4, initial_seconds=0.001, max_seconds=0.002, budget_seconds=20.0)


def mail(number: int, *recipients: str, **fields: Any) -> Mail:  # noqa: ANN401 - of a Mail
    """Make a mail that the books know by its number."""
    name = f"<{number}@mails.example>"
    content = f"Message-ID: {name}\r\nSubject: {number}\r\n\r\n.a line\r\n".encode()
    given = {"sender": f"from-{number}@mails.example", "content": content, **fields}
    return Mail(message_id=name, recipients=recipients or (f"to-{number}@mails.example",), **given)


def mails(count: int) -> list[Mail]:
    return [mail(number) for number in range(count)]


@asynccontextmanager
async def pool_at(server: FaultyServer, **options: Any) -> AsyncIterator[SMTPClientPool]:  # noqa: ANN401 - of a pool
    """Open a pool at a server that begins to run."""
    given = {"retry": SOON, "connection": options.pop("connection", None), **options}
    async with faulty_server(server):
        given["connection"] = given["connection"] or server.connection()
        async with SMTPClientPool(**given) as pool:
            yield pool


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with faulty_server() as running:
        yield running


@pytest.fixture
async def pool(server: FaultyServer) -> AsyncIterator[SMTPClientPool]:
    """An open pool at ``server``."""
    async with SMTPClientPool(connection=server.connection(), retry=SOON) as opened:
        yield opened
