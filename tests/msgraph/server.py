# SPDX-License-Identifier: Apache-2.0
"""The Graph server of :mod:`airflow_provider_async.testing` without TLS, and what it has at first."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_async.testing.msgraph import GraphServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def make_users(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": str(uuid.UUID(int=number)),
            "displayName": f"User {number}",
            "userPrincipalName": f"user{number}@contoso.com",
            "mail": f"user{number}@contoso.com" if number % 2 else None,
            "accountEnabled": number % 10 != 0,
            "businessPhones": ["+1 425 555 0109"],
            "jobTitle": "Engineer" if number % 3 else "Product Manager",
        }
        for number in range(count)
    ]


def make_groups(count: int) -> list[dict[str, Any]]:
    return [
        {"id": str(uuid.UUID(int=1 << 64 | number)), "displayName": f"Group {number}", "mailEnabled": number % 2 == 0}
        for number in range(count)
    ]


def make_messages(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"message-{number}", "subject": f"Subject {number}", "isRead": number % 2 == 0}
        for number in range(count)
    ]


@asynccontextmanager
async def graph_server() -> AsyncIterator[GraphServer]:
    """Run a server with a few users and groups."""
    server = GraphServer(scheme="http")
    server.collection("users", make_users(5))
    server.collection("groups", make_groups(3))
    async with server.running() as running:
        yield running
