# SPDX-License-Identifier: Apache-2.0
"""Rows in lists of one size, over the ends of pages."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.core.resume import Checkpoints
from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.paginate import paginate
from tests.core.memory_store import MemoryStore
from tests.http.model_server import FAMILIES, PAGINATORS, REQUEST, Family, ModelServer, StatusError

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON
    from airflow_provider_async.http.pagination import Pagination


class Stop(Exception):
    """The consumer has failed."""


def numbers(rows: list[JSON]) -> list[JSON]:
    return [row["id"] if isinstance(row, dict) else None for row in rows]


async def collect(pagination: Pagination[JSON], size: int, got: list[list[JSON]]) -> None:
    async for batch in pagination.batches(size):
        got.append(numbers(batch))  # noqa: PERF401 - what came before an error counts


async def read(pagination: Pagination[JSON], size: int) -> list[list[JSON]]:
    got: list[list[JSON]] = []
    await collect(pagination, size, got)
    return got


@pytest.mark.parametrize("family", FAMILIES)
async def test_batches_have_the_size_asked_for_whatever_the_pages(family: Family) -> None:
    server = ModelServer(family, 10)

    assert await read(paginate(server.fetch, REQUEST, paginator=PAGINATORS[family]), 4) == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9],
    ]


async def test_what_came_before_an_error_is_delivered_first() -> None:
    server = ModelServer("cursor", 10, faults={2: 1})
    got: list[list[JSON]] = []

    with pytest.raises(StatusError):
        await collect(paginate(server.fetch, REQUEST), 4, got)

    assert got == [[0, 1, 2, 3], [4, 5]]


async def test_a_page_that_leads_nowhere_is_delivered_before_its_error() -> None:
    server = ModelServer("cursor", 10, total=99)
    got: list[list[JSON]] = []

    with pytest.raises(PaginationError, match="99 rows"):
        await collect(paginate(server.fetch, REQUEST), 4, got)

    assert got[-1] == [8, 9]


async def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        await read(paginate(ModelServer("cursor", 1).fetch, REQUEST), 0)


async def try_once(
    server: ModelServer, store: MemoryStore, *, attempt: int, size: int, stop_after: int | None, family: Family
) -> list[JSON]:
    """Read in batches, and return the rows of those that were consumed: the consumer came back for the next one."""
    consumed: list[JSON] = []
    taken: list[JSON] = []
    count = 0
    with suppress(Stop):
        async with Checkpoints(store, identity="task", attempt=attempt, save_seconds=1e6):
            pages = paginate(server.fetch, REQUEST, paginator=PAGINATORS[family], resume="load")
            async with pages:
                async for batch in pages.batches(size):
                    consumed.extend(taken)
                    taken = numbers(batch)
                    if count == stop_after:
                        raise Stop
                    count += 1
                consumed.extend(taken)
    return consumed


async def test_the_next_try_reads_a_page_again_that_was_consumed_in_part() -> None:
    server, store = ModelServer("cursor", 10), MemoryStore()

    assert await try_once(server, store, attempt=1, size=4, stop_after=1, family="cursor") == [0, 1, 2, 3]
    # Row 3 is of the second page, of which 4 and 5 were not consumed.
    assert await try_once(server, store, attempt=2, size=4, stop_after=None, family="cursor") == [3, 4, 5, 6, 7, 8, 9]
    assert await try_once(server, store, attempt=3, size=4, stop_after=None, family="cursor") == []


@given(
    family=st.sampled_from(FAMILIES),
    rows=st.integers(0, 30),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    size=st.integers(1, 7),
    stops=st.lists(st.integers(0, 4), max_size=4),
)
async def test_over_any_number_of_tries_no_row_is_lost_and_only_pages_consumed_in_part_come_twice(
    family: Family, rows: int, sizes: tuple[int, ...], size: int, stops: list[int]
) -> None:
    server, store = ModelServer(family, rows, sizes), MemoryStore()
    consumed: list[JSON] = []

    for attempt, stop_after in enumerate([*stops, None], start=1):
        of_try = await try_once(server, store, attempt=attempt, size=size, stop_after=stop_after, family=family)
        assert len([row for row in of_try if row in consumed]) < max(sizes)
        consumed.extend(of_try)

    assert sorted(set(consumed), key=str) == sorted(range(rows), key=str)
