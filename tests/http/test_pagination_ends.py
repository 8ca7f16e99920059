# SPDX-License-Identifier: Apache-2.0
"""Runs of pages that end early, and what is told of runs."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async import amap
from airflow_provider_async.core.monitor import Monitor
from airflow_provider_async.core.work import working_on
from airflow_provider_async.errors import CallCancelled, IteratorClosed, PaginationError
from airflow_provider_async.http.pages import (
    LinkHeader,
    Offset,
    Page,
    PageNumber,
    SinglePage,
)
from airflow_provider_async.http.paginate import paginate
from airflow_provider_async.http.requests import PageRequest, PageResponse
from tests.http.model_server import REQUEST, URL, ModelServer, StatusError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_async.core.values import JSON


from tests.http.scripts import Gate, Script, read

# The end of it.


async def test_leaving_early_cancels_what_is_in_flight() -> None:
    gate = Gate(ModelServer("page", 30, total=30))
    async with paginate(gate.fetch, REQUEST, paginator=PageNumber(), prefetch=3) as pagination:
        rows = aiter(pagination)
        first = asyncio.ensure_future(anext(rows))
        await gate.let_go("1")
        assert await first == {"id": 0}
    assert gate.cancelled == 3
    with pytest.raises(IteratorClosed, match="/api/items was closed while it was iterated over"):
        _ = [row async for row in rows]


async def test_who_waits_while_it_is_closed_gets_an_error() -> None:
    gate = Gate(ModelServer("page", 30, total=30))
    pagination = paginate(gate.fetch, REQUEST, paginator=PageNumber(), label="load")
    consumer = asyncio.create_task(read(pagination))
    await gate.let_go()
    await pagination.aclose()
    with pytest.raises(IteratorClosed, match="load was closed"):
        await consumer


async def test_what_was_closed_cannot_begin() -> None:
    pagination = paginate(Script().fetch, REQUEST)
    await pagination.aclose()
    await pagination.aclose()
    with pytest.raises(IteratorClosed):
        await read(pagination)


async def test_a_consumer_that_is_cancelled_leaves_nothing_behind() -> None:
    gate = Gate(ModelServer("page", 30, total=30))
    consumer = asyncio.create_task(read(paginate(gate.fetch, REQUEST, paginator=PageNumber(), prefetch=3)))
    await gate.let_go("1")
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert gate.cancelled == 3
    assert len(asyncio.all_tasks()) == 1


async def test_a_request_that_cancels_itself_is_an_error() -> None:
    async def fetch(request: PageRequest) -> PageResponse:
        raise asyncio.CancelledError

    with pytest.raises(CallCancelled, match="load: the request for a page was cancelled"):
        await read(paginate(fetch, REQUEST, label="load"))


async def test_it_is_iterated_over_once() -> None:
    pagination = paginate(Script([1]).fetch, REQUEST, label="load")
    assert await read(pagination) == [1]
    with pytest.raises(RuntimeError, match="load is iterated over twice"):
        await read(pagination)


async def test_a_paginator_is_shared_by_runs_that_know_nothing_of_each_other() -> None:
    paginator = Offset(3)
    one, other = (ModelServer("offset", rows, total=rows) for rows in (7, 11))

    results = await asyncio.gather(
        *(read(paginate(server.fetch, REQUEST, paginator=paginator, prefetch=2)) for server in (one, other, one))
    )

    assert results == [[*range(7)], [*range(11)], [*range(7)]]


# What it counts.


async def test_it_is_counted_like_other_work() -> None:
    seen: list[object] = []

    async def fetch(request: PageRequest) -> PageResponse:
        seen.append(working_on.get())
        return server.answer(request)

    server = ModelServer("offset", 9, total=9)
    with Monitor() as monitor:
        pagination = paginate(fetch, REQUEST, paginator=Offset(), label="load")
        assert pagination.progress.total is None
        assert await read(pagination) == [*range(9)]
    assert [stage.label for stage in monitor.stages] == ["load"]
    assert len({id(work) for work in seen}) == 1
    assert seen[0] is not None
    assert working_on.get() is None


async def test_failures_and_slow_pages_are_noted() -> None:
    now = [0.0]

    async def fetch(request: PageRequest) -> PageResponse:
        now[0] += 5
        return server.answer(request)

    server = ModelServer("page", 9, faults={1: 1})
    with Monitor(clock=lambda: now[0]) as monitor:
        pagination = paginate(fetch, REQUEST, paginator=PageNumber(), label="load")
        with pytest.raises(StatusError):
            await read(pagination)
    assert pagination.progress.failed == 1
    assert [failure.error for failure in monitor.failures] == ["StatusError: status 503"]
    assert pagination._work.slowest[0].item == f"<PageRequest GET {URL}?page=1>"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: paginate(Script().fetch, REQUEST, prefetch=-1), "prefetch must be at least 0, not -1"),
        (lambda: paginate(Script().fetch, REQUEST, max_pages=0), "max_pages must be at least 1, not 0"),
        (lambda: paginate(Script().fetch, REQUEST, max_empty_pages=0), "max_empty_pages must be at least 1, not 0"),
        (lambda: paginate(Script().fetch, REQUEST, resume="a b"), "resume must be a name of letters"),
        (lambda: paginate(Script().fetch, REQUEST, paginator="offset"), "paginator must be 'auto' or a Paginator"),  # type: ignore[call-overload]
    ],
)
def test_wrong_arguments_are_refused_at_once(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_run_is_called_by_its_path() -> None:
    for url, label in (
        ("https://example.com/a/b?c=d", "/a/b"),
        ("items", "items"),
        ("https://example.com", "https://e"),
    ):
        pagination = paginate(Script().fetch, PageRequest(url=url), paginator=SinglePage())
        assert pagination.progress.label.startswith(label)


async def test_a_header_may_lead_on_where_the_body_is_a_list() -> None:
    async def fetch(request: PageRequest) -> PageResponse:
        page = int(request.param("page") or 1)
        headers = {"Link": f'<?page={page + 1}>; rel="next"'} if page < 3 else {}
        return PageResponse(url=URL, status=200, headers=headers, body=[page])

    assert await read(paginate(fetch, REQUEST, paginator=LinkHeader())) == [1, 2, 3]


def test_a_page_shows_neither_rows_nor_body() -> None:
    response = PageResponse(url=URL, status=200, headers={}, body="hidden")
    page = Page(number=1, request=REQUEST, response=response, items=["hidden"], rows_before=0, largest=1)
    assert "hidden" not in repr(page)


async def test_the_server_is_quoted_when_it_gives_an_error_instead_of_rows() -> None:
    async def fetch(request: PageRequest) -> PageResponse:
        body: JSON = {"errors": [{"message": "Rate limited"}]}
        return PageResponse(url=URL, status=200, headers={}, body=body, excerpt=lambda: "the beginning of the body")

    with pytest.raises(PaginationError, match=r"nothing at items='data'.*; the server says: the beginning of the body"):
        await read(paginate(fetch, REQUEST, items="data"))


async def test_the_pages_of_many_parents_are_shown_as_one_and_what_they_have_in_common_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    labels: set[str] = set()

    async def children(parent: int) -> int:
        server = ModelServer("cursor", parent)
        pages = paginate(server.fetch, PageRequest(url=f"{URL}/{parent}/children"))
        labels.add(pages.progress.label)
        return len(await read(pages))

    assert [count async for count in amap(children, range(20), limit=4, ordered=True, label="orders")] == [*range(20)]

    assert labels == {"orders: pages"}
    assert len([one for one in caplog.messages if "the rows are" in one]) == 1
    # The last page has nothing at next_cursor, if it is the first one, too.
    assert len([one for one in caplog.messages if "the pages are read by" in one]) == 2


async def test_a_second_iteration_is_an_error_and_leaves_the_first_one_alone() -> None:
    pagination = paginate(ModelServer("cursor", 10).fetch, REQUEST)
    pages = pagination.pages()
    await anext(pages)

    with pytest.raises(RuntimeError, match="is iterated over twice"):
        await anext(pagination.batches(2))

    assert sum([len(page.items) async for page in pages]) == 7
