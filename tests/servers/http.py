# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of :mod:`airflow_provider_async.testing`, and rows; what it serves stands in ``http_apis``."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from airflow_provider_async.testing.http import (
    NOT_FOUND,
    NOTHING,
    NOTHING_BUT_RESET,
    Answer,
    Handler,
    HTTPServer,
    Request,
    answer_json,
    in_turn,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

__all__ = [
    "NOTHING",
    "NOTHING_BUT_RESET",
    "NOT_FOUND",
    "Answer",
    "HTTPServer",
    "Handler",
    "Request",
    "answer_json",
    "http_server",
    "ids",
    "in_turn",
    "rows",
]


def rows(count: int, *, start: int = 0) -> list[dict[str, object]]:
    """Make rows whose ids count up."""
    return [{"id": number, "name": f"row {number}"} for number in range(start, start + count)]


def ids(items: Sequence[Mapping[str, object]]) -> list[object]:
    """Return the ids of rows."""
    return [item["id"] for item in items]


@asynccontextmanager
async def http_server() -> AsyncIterator[HTTPServer]:
    """Run a server; two of them count as two hosts."""
    async with HTTPServer().running() as server:
        yield server
