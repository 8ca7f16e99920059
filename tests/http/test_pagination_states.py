# SPDX-License-Identifier: Apache-2.0
"""Whatever a server does, the rows come once and in order, or there is an error."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from airflow_provider_async.core.resume import Checkpoints
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.pages import Offset
from airflow_provider_async.http.paginate import paginate
from tests.core.memory_store import MemoryStore
from tests.http.model_server import FAMILIES, PAGINATORS, REQUEST, ModelServer, StatusError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.pages import Paginator
    from airflow_provider_async.http.pagination import Pagination
    from airflow_provider_async.http.requests import PageRequest, PageResponse

#: A page that fails less often comes all the same.
ATTEMPTS = 3


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("airflow_provider_async")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


@st.composite
def servers(draw: st.DrawFn, *, is_honest: bool = False) -> ModelServer:
    family = draw(st.sampled_from(FAMILIES))
    rows = draw(st.integers(0, 14))
    sizes = tuple(draw(st.lists(st.integers(0, 5), min_size=1, max_size=4).filter(any)))
    server = ModelServer(
        family,
        rows,
        sizes=sizes,
        total=draw(st.sampled_from([None, rows])),
        gaps=draw(st.frozensets(st.integers(0, 5), max_size=2)),
        is_relative=draw(st.booleans()),
        turns=tuple(draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))),
    )
    if family == "page":
        server.page_count = draw(st.sampled_from([None, len(server.numbered_pages)]))
        if server.page_count is None:
            server.gaps = frozenset()
    server.renames = draw(st.booleans()) and family != "body cursor"
    if not is_honest:
        server.total = draw(st.none() | st.just(rows) | st.integers(0, 30))
        if family == "page":
            server.page_count = draw(st.none() | st.integers(0, 8))
        # An empty page in the middle is the end if nothing that is true says that there are more.
        if server.total != rows and (server.page_count or 0) < len(server.numbered_pages):
            server.gaps = frozenset()
        server.refuses_past_end = draw(st.booleans())
        server.loop = draw(st.none() | st.tuples(st.integers(0, 4), st.integers(0, 4)))
        server.renames = draw(st.booleans())
        server.ignores = draw(st.booleans()) and draw(st.booleans())
        server.faults = draw(st.dictionaries(st.integers(0, 6), st.integers(1, ATTEMPTS + 1), max_size=2))
    return server


def paginators(server: ModelServer) -> st.SearchStrategy[Paginator | None]:
    given: Paginator = PAGINATORS[server.family]
    options: list[Paginator | None] = [given]
    if server.family == "offset":
        options += [Offset(2), Offset(100), None]
    elif server.family != "body cursor":
        options.append(None)
    return st.sampled_from(options)


def pages_of(
    server: ModelServer, paginator: Paginator | None, prefetch: int, resume: str | None = None
) -> Pagination[JSON]:
    retry = Retry(attempts=ATTEMPTS, initial_seconds=0, is_transient=lambda error: getattr(error, "status", 0) == 503)

    async def fetch(request: PageRequest) -> PageResponse:
        return await retry.call(lambda: server.fetch(request))

    return paginate(
        fetch, REQUEST, paginator=paginator or "auto", prefetch=prefetch, resume=resume, label="run", max_empty_pages=20
    )


async def read(pagination: Pagination[JSON]) -> tuple[list[JSON], Exception | None]:
    got: list[JSON] = []
    try:
        async for row in pagination:
            got.append(row)  # noqa: PERF401 - what came before an error counts
    except (PaginationError, StatusError) as error:
        return got, error
    return got, None


@settings(max_examples=200, deadline=None)
@given(data=st.data(), prefetch=st.sampled_from([0, 1, 2, 5, 16]))
def test_of_an_honest_server_every_row_comes_once_and_in_order(data: st.DataObject, prefetch: int) -> None:
    server = data.draw(servers(is_honest=True))
    paginator = data.draw(paginators(server))

    got, error = asyncio.run(read(pages_of(server, paginator, prefetch)))

    assert error is None
    assert got == server.truth
    assert server.in_flight == 0
    assert server.most_in_flight <= max(1, prefetch)


@settings(max_examples=400, deadline=None)
@given(data=st.data(), prefetch=st.sampled_from([0, 1, 2, 5, 16]))
def test_of_any_server_they_do_or_there_is_an_error(data: st.DataObject, prefetch: int) -> None:
    server = data.draw(servers())
    paginator = data.draw(paginators(server))
    truth = server.truth

    got, error = asyncio.run(read(pages_of(server, paginator, prefetch)))

    event("error" if error else "complete")
    assert got == truth[: len(got)]
    if error is None and got != truth:
        # A server that says that this is all, once more than by ending there, is believed. So is one that has so many
        # empty pages as it says: nobody can see that it always sends the first one.
        event("believed")
        pages = server.numbered_pages
        says_fewer = server.page_count is not None and server.page_count < len(pages)
        assert server.total == len(got) or says_fewer or (server.ignores and pages[0] == [])
    assert server.in_flight == 0
    assert server.most_in_flight <= max(1, prefetch)
    assert len(server.requests) < 200


@settings(max_examples=200, deadline=None)
@given(data=st.data(), prefetch=st.sampled_from([0, 1, 2, 5]))
def test_prefetch_changes_nothing_but_the_time(data: st.DataObject, prefetch: int) -> None:
    server = data.draw(servers())
    paginator = data.draw(paginators(server))

    def run(ahead: int) -> tuple[list[JSON], str]:
        server._names = 0
        # A page that fails always does: a wrong guess uses up no failure.
        server.faults = dict.fromkeys(server.faults, 1_000)
        got, error = asyncio.run(read(pages_of(server, paginator, ahead)))
        return got, type(error).__name__

    assert run(prefetch) == run(0)


@settings(max_examples=200, deadline=None)
@given(
    data=st.data(),
    prefetch=st.sampled_from([0, 1, 3]),
    stops=st.lists(st.tuples(st.integers(0, 15), st.booleans()), max_size=5),
)
def test_a_consumer_that_stops_anywhere_goes_on_after_its_last_page(
    data: st.DataObject, prefetch: int, stops: list[tuple[int, bool]]
) -> None:
    server = data.draw(servers(is_honest=True))
    paginator = data.draw(paginators(server))

    async def run() -> None:
        store = MemoryStore()
        consumed: list[JSON] = []
        acknowledged = 0
        for attempt, (stop, crashes) in enumerate([*stops, (999, False)], 1):
            rows = 0
            at = acknowledged
            try:
                async with (
                    Checkpoints(store, identity="task", attempt=attempt, save_seconds=1e6),
                    pages_of(server, paginator, prefetch, resume="load") as pagination,
                    aclosing(pagination.pages()) as pages,
                ):
                    async for page in pages:
                        # Whoever comes back has consumed the page before.
                        acknowledged = at
                        assert page.rows_before == at
                        at += len(page.items)
                        for row in page.items:
                            rows += 1
                            if row not in consumed:
                                consumed.append(row)
                        if rows >= stop:
                            if crashes:
                                fail()
                            break
                    else:
                        acknowledged = at
            except ConsumerError:
                pass
        assert consumed == server.truth
        assert acknowledged == server.rows

    asyncio.run(run())


@settings(max_examples=200, deadline=None)
@given(
    data=st.data(),
    prefetch=st.sampled_from([0, 1, 3]),
    stops=st.lists(st.integers(0, 15), max_size=5),
)
def test_nor_does_stopping_let_any_server_give_a_row_twice(
    data: st.DataObject, prefetch: int, stops: list[int]
) -> None:
    server = data.draw(servers())
    paginator = data.draw(paginators(server))
    truth = server.truth

    async def run() -> None:
        store = MemoryStore()
        # Where the next try may begin: behind the last page, or before it.
        places = {0}
        for attempt, stop in enumerate([*stops, 999], 1):
            with suppress(PaginationError, StatusError):
                async with (
                    Checkpoints(store, identity="task", attempt=attempt, save_seconds=1e6),
                    pages_of(server, paginator, prefetch, resume="load") as pagination,
                    aclosing(pagination.pages()) as pages,
                ):
                    async for page in pages:
                        assert page.rows_before in places
                        assert page.items == truth[page.rows_before : page.rows]
                        places = {page.rows_before, page.rows}
                        if page.rows >= stop:
                            places = {page.rows_before}
                            break
                    else:
                        places = set()

    asyncio.run(run())


def fail() -> None:
    raise ConsumerError


class ConsumerError(Exception):
    """Whoever consumes the rows has failed."""
