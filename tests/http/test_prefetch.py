# SPDX-License-Identifier: Apache-2.0
"""Whose task sends the request for a page, and who may end it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.work import Work, working_on
from airflow_provider_async.errors import IteratorClosed
from airflow_provider_async.http.pages import PageNumber
from airflow_provider_async.http.paginate import paginate
from tests.http.model_server import REQUEST, ModelServer
from tests.http.scripts import Gate, read, turns

if TYPE_CHECKING:
    from airflow_provider_async.http.requests import PageRequest, PageResponse


class Observed:
    """A server that notes whose task asks it, and for what work."""

    def __init__(self) -> None:
        self.server = ModelServer("link", 9)
        self.tasks: list[asyncio.Task[object] | None] = []
        self.works: list[Work | None] = []

    async def fetch(self, request: PageRequest) -> PageResponse:
        self.tasks.append(asyncio.current_task())
        self.works.append(working_on.get())
        return self.server.answer(request)


async def test_a_consumer_that_comes_back_at_once_asks_itself() -> None:
    observed = Observed()
    assert await read(paginate(observed.fetch, REQUEST)) == [*range(9)]
    assert observed.tasks == [asyncio.current_task()] * 3


async def test_one_that_waits_for_something_else_finds_the_next_page_under_way() -> None:
    observed = Observed()
    async with paginate(observed.fetch, REQUEST) as pagination:
        async for _ in pagination.pages():
            await turns(2)
    assert observed.tasks[0] is asyncio.current_task()
    assert asyncio.current_task() not in observed.tasks[1:]


async def test_one_that_leaves_at_once_has_asked_for_nothing_more() -> None:
    observed = Observed()
    async with paginate(observed.fetch, REQUEST) as pagination:
        async for _ in pagination.pages():
            break
    await turns(2)
    assert len(observed.tasks) == 1


async def test_whoever_asks_does_so_for_the_work_that_the_pages_are() -> None:
    observed, mine = Observed(), Work("mine")
    token = working_on.set(mine)
    async with paginate(observed.fetch, REQUEST, label="pages") as pagination:
        async for page in pagination.pages():
            assert working_on.get() is mine
            if page.number == 1:
                await turns(2)
    working_on.reset(token)
    assert len({id(work) for work in observed.works}) == 1
    assert observed.works[0] is not mine


async def test_closing_ends_what_the_consumer_asks_for_and_not_the_consumer() -> None:
    gate = Gate(ModelServer("link", 9))
    pagination = paginate(gate.fetch, REQUEST, label="load")
    went_on = []

    async def consume() -> None:
        with pytest.raises(IteratorClosed, match="load was closed"):
            await read(pagination)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)
        went_on.append(True)

    consumer = asyncio.create_task(consume())
    await gate.let_go()
    await asyncio.gather(pagination.aclose(), pagination.aclose())
    assert gate.cancelled == 1
    await consumer
    assert went_on


async def test_a_consumer_that_is_cancelled_while_it_is_closed_is_cancelled() -> None:
    gate = Gate(ModelServer("link", 9))
    pagination = paginate(gate.fetch, REQUEST)
    consumer = asyncio.create_task(read(pagination))
    await gate.let_go()
    closing = asyncio.create_task(pagination.aclose())
    await asyncio.sleep(0)
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    await closing


async def test_who_closes_and_is_cancelled_meanwhile_leaves_it_closed() -> None:
    release = asyncio.Event()

    async def fetch(request: PageRequest) -> PageResponse:
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()
        raise AssertionError(request)

    pagination = paginate(fetch, REQUEST)
    consumer = asyncio.create_task(read(pagination))
    await turns(3)
    closing = asyncio.create_task(pagination.aclose())
    await turns(3)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    release.set()
    with pytest.raises(IteratorClosed):
        await consumer


async def test_a_request_that_was_cancelled_before_it_began_wakes_the_consumer() -> None:
    gate = Gate(ModelServer("page", 30, total=30))
    pagination = paginate(gate.fetch, REQUEST, paginator=PageNumber(), prefetch=2)
    consumer = asyncio.create_task(read(pagination))
    await turns(3)
    # In one turn the consumer goes on and waits for the next page, and then this closes.
    gate.waiting[0][1].set()
    await asyncio.create_task(pagination.aclose())
    assert len(gate.waiting) == 1
    with pytest.raises(IteratorClosed):
        await consumer
