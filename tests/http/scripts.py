# SPDX-License-Identifier: Apache-2.0
"""Answers to the requests for pages as a test wants them, and what was read of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from airflow_provider_async.http.requests import PageRequest, PageResponse

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.pagination import Pagination
    from tests.http.model_server import ModelServer


def numbers(rows: list[JSON]) -> list[JSON]:
    return [row["id"] if isinstance(row, dict) else row for row in rows]


async def read(pagination: Pagination[JSON]) -> list[JSON]:
    return numbers([row async for row in pagination])


async def collect(pagination: Pagination[JSON], got: list[JSON]) -> None:
    async for row in pagination:
        got.append(row)  # noqa: PERF401 - what came before an error counts


async def turns(count: int) -> None:
    """Give the event loop so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


class Script:
    """Answers what it is told, one request after the other."""

    def __init__(self, *answers: JSON | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[PageRequest] = []

    async def fetch(self, request: PageRequest) -> PageResponse:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return PageResponse(url=request.url, status=200, headers={}, body=answer)


class Gate:
    """A server whose answers wait until they are let go."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server
        self.waiting: list[tuple[str | None, asyncio.Event]] = []
        self.cancelled = 0

    async def fetch(self, request: PageRequest) -> PageResponse:
        event = asyncio.Event()
        self.waiting.append((request.param("offset") or request.param("page"), event))
        try:
            await event.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.server.answer(request)

    async def let_go(self, *which: str) -> None:
        await turns(10)
        for name, event in self.waiting:
            if name in which:
                event.set()
        await turns(10)
