# SPDX-License-Identifier: Apache-2.0
"""Pages that go on where the last try stopped."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.resume import Checkpoints
from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.bookmark import Bookmark, run_key
from airflow_provider_async.http.pages import BodyCursor, Cursor, LinkHeader, Offset, Page, PageNumber, Paginator
from airflow_provider_async.http.paginate import paginate
from airflow_provider_async.http.requests import PageRequest
from tests.core.memory_store import MemoryStore
from tests.http.model_server import FAMILIES, PAGINATORS, REQUEST, URL, Family, ModelServer, StatusError

if TYPE_CHECKING:
    from airflow_provider_async.core.progress import Progress
    from airflow_provider_async.core.values import JSON


class Stop(Exception):
    """The consumer has failed."""


class Task:
    """Tries of one task, each of which reads until it has seen a number of rows."""

    def __init__(self, server: ModelServer, request: PageRequest = REQUEST) -> None:
        self.server = server
        self.request = request
        self.store = MemoryStore()
        self.attempt = 0
        self.progress: Progress | None = None

    async def run(
        self, stop_at: int | None = None, paginator: Paginator | None = None, *, max_pages: int | None = None
    ) -> list[JSON]:
        self.attempt += 1
        got: list[JSON] = []
        with suppress(Stop):
            async with Checkpoints(self.store, identity="task", attempt=self.attempt, save_seconds=1e6):
                pagination = paginate(
                    self.server.fetch,
                    self.request,
                    paginator=paginator or "auto",
                    resume="load",
                    label="load",
                    max_pages=max_pages,
                )
                async with pagination:
                    try:
                        async for row in pagination:
                            got.append(row["id"] if isinstance(row, dict) else None)
                            if len(got) == stop_at:
                                raise Stop
                    finally:
                        self.progress = pagination.progress
        return got

    @property
    def kept(self) -> str:
        return json.dumps(self.store.values)


@pytest.mark.parametrize("family", FAMILIES)
async def test_the_next_try_goes_on_at_the_page_after_the_last_one_consumed(family: Family) -> None:
    task = Task(ModelServer(family, 10, total=10))
    paginator = PAGINATORS[family]

    assert await task.run(7, paginator) == [0, 1, 2, 3, 4, 5, 6]
    assert await task.run(2, paginator) == [6, 7]
    assert await task.run(None, paginator) == [6, 7, 8, 9]
    assert task.progress is not None
    assert (task.progress.done, task.progress.resumed, task.progress.total) == (10, 6, 10)
    # All of it is consumed.
    assert await task.run(None, paginator) == []
    assert task.progress.done == 10


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "body cursor"])
async def test_what_was_found_out_is_kept_too(family: Family, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    task = Task(ModelServer(family, 10, total=10))

    assert await task.run(7) == [*range(7)]
    caplog.clear()
    assert await task.run() == [6, 7, 8, 9]
    assert "load goes on at page 3, after 6 rows" in caplog.text
    assert "the pages are read by" not in caplog.text
    assert "the rows are at" not in caplog.text
    await task.run()
    assert "load: an earlier try has read all 4 pages" in caplog.text


async def test_a_total_is_checked_over_all_tries(caplog: pytest.LogCaptureFixture) -> None:
    task = Task(ModelServer("offset", 10, total=10))
    await task.run(7, Offset())
    task.server.total = None
    # The server says no more how many there are, but it did.
    task.server.rows = 9
    with pytest.raises(Exception, match="after 9 rows: the pages end here, but the server said that there are 10 rows"):
        await task.run(None, Offset())


async def test_max_pages_are_counted_over_all_tries() -> None:
    task = Task(ModelServer("cursor", 30))

    assert await task.run(4, max_pages=3) == [0, 1, 2, 3]
    assert await task.run(max_pages=3) == [3, 4, 5, 6, 7, 8]
    assert await task.run(max_pages=3) == []
    assert await task.run(max_pages=4) == [9, 10, 11]


async def test_a_server_that_goes_round_in_circles_is_known_by_the_next_try() -> None:
    task = Task(ModelServer("link", 30, loop=(4, 1)))
    assert await task.run(13) == [*range(13)]
    assert await task.run(2) == [12, 13]
    with pytest.raises(PaginationError, match=r"page 5, .* after 15 rows: it leads to .*, which was asked for before"):
        await task.run()
    task.server.renames = True
    with pytest.raises(PaginationError, match=r"page 6, .* after 15 rows: its 3 rows are those of an earlier page"):
        await task.run()


async def test_what_is_kept_is_small() -> None:
    task = Task(ModelServer("link", 900))
    await task.run(899)
    assert 3_000 < len(task.kept) < 8_000


async def test_an_expired_cursor_begins_anew_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    task = Task(ModelServer("cursor", 10))
    await task.run(7)
    task.server.forgets = True
    with pytest.raises(StatusError):
        # It forgets at once, so that the second page fails again: that is an error, as in any run.
        await task.run()
    assert "load begins anew: the server does not know its place any more: status 404" in caplog.text
    task.server.forgets = False
    assert await task.run() == [*range(3, 10)]
    assert task.progress is not None
    assert (task.progress.done, task.progress.resumed) == (10, 3)


async def test_a_page_number_does_not_expire() -> None:
    task = Task(ModelServer("page", 10))
    await task.run(7, PageNumber())
    task.server.forgets = True
    task.server.rows = 5
    with pytest.raises(StatusError, match="status 404"):
        await task.run(None, PageNumber())


async def test_an_error_of_another_kind_does_not() -> None:
    task = Task(ModelServer("cursor", 10))
    await task.run(7)
    task.server.faults = {2: 1}
    with pytest.raises(StatusError, match="status 503"):
        await task.run()
    assert await task.run() == [6, 7, 8, 9]


async def test_another_request_or_paginator_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    task = Task(ModelServer("page", 10))
    await task.run(7, PageNumber())
    task.request = REQUEST.with_params({"since": "2026-01-01"})
    assert await task.run(7, PageNumber()) == [*range(7)]
    assert await task.run(7, PageNumber()) == [6, 7, 8, 9]
    assert caplog.text.count("load begins anew: an earlier try has read pages of another request") == 1
    assert await task.run(7, PageNumber(total=None)) == [*range(7)]


async def test_what_cannot_be_read_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    task = Task(ModelServer("page", 10))
    async with Checkpoints(task.store, identity="task", attempt=1) as checkpoints:
        cursor = await checkpoints.open_cursor("load")
        cursor.set({"run": run_key(REQUEST, PageNumber(), None), "request": {}})
    assert await task.run(None, PageNumber()) == [*range(10)]
    assert "load begins anew: what was kept of it cannot be read (KeyError(" in caplog.text


async def test_what_the_caller_gives_is_not_kept() -> None:
    server = ModelServer("body cursor", 10)
    request = PageRequest(
        method="POST", url=URL, params=(("key", "hidden"),), json={"query": "hidden"}, headers={"X-Key": "hidden"}
    )
    task = Task(server, request)
    paginator = BodyCursor(into="variables.after")

    await task.run(7, paginator)
    assert "hidden" not in task.kept
    assert await task.run(None, paginator) == [6, 7, 8, 9]
    assert {one.param("key") for one in server.requests} == {"hidden"}
    assert all(one.json["query"] == "hidden" for one in server.requests if isinstance(one.json, dict))
    assert {one.method for one in server.requests} == {"POST"}


class Custom(Paginator):
    def next(self, page: Page[object]) -> PageRequest | None:
        return Offset().next(page)


async def test_a_paginator_of_ones_own_resumes_too() -> None:
    task = Task(ModelServer("offset", 10))
    assert await task.run(7, Custom()) == [*range(7)]
    assert await task.run(None, Custom()) == [6, 7, 8, 9]


@pytest.mark.parametrize(
    "bookmark",
    [
        Bookmark(request=None, pages=3, rows=9, largest=5, total=9, recent="00ff"),
        Bookmark(request=PageRequest(url="https://other.example/?page=2"), pages=1),
        Bookmark(
            request=PageRequest(
                url=URL, params=(("b", "2"), ("page", "3")), json={"a": 1, "after": "x"}, past_end=frozenset({404, 410})
            ),
            paginator=PageNumber(past_end=(404,), base=0),
            items="data.results",
        ),
        Bookmark(request=PageRequest(url=URL, json=[1]), paginator=LinkHeader(keep_params=("a",))),
        Bookmark(request=PageRequest(url=URL, json={"a": 1}), paginator=Cursor("x", "y", more="z", total=None)),
    ],
)
def test_a_bookmark_is_read_as_it_was_written(bookmark: Bookmark) -> None:
    first = PageRequest(url=URL, params=(("a", "1"), ("b", "2")), json={"a": 1})

    written = json.loads(json.dumps(bookmark.write(first, "run")))

    found = Bookmark.read(written, first, "run")
    assert found is not None
    assert run_key(first, found.paginator, None) == run_key(first, bookmark.paginator, None)
    assert replace(found, paginator=None) == replace(bookmark, paginator=None)
    assert Bookmark.read(written, first, "another run") is None


def test_runs_are_told_apart() -> None:
    runs = {
        run_key(REQUEST, None, None),
        run_key(PageRequest(url="/other"), None, None),
        run_key(REQUEST, None, "items"),
        run_key(REQUEST, Offset(), None),
        run_key(REQUEST, Offset(3), None),
        run_key(REQUEST, PageNumber(past_end={404, 410}), None),
        run_key(REQUEST, Custom(), None),
    }
    assert len(runs) == 7
    assert run_key(REQUEST, Offset(3), len) == run_key(REQUEST, Offset(3), None)
    assert run_key(REQUEST, PageNumber(past_end={404, 410}), None) in runs


async def test_no_page_is_read_while_it_cannot_be_kept_how_far_the_run_has_come() -> None:
    server = ModelServer("offset", 10, total=10)
    task = Task(server)
    got: list[JSON] = []
    async with Checkpoints(task.store, identity="task", attempt=1, save_seconds=1e6) as checkpoints:
        pages = paginate(server.fetch, REQUEST, paginator=Offset(), resume="load", prefetch=1).pages()
        got.append((await anext(pages)).number)
        got.append((await anext(pages)).number)
        task.store.error = OSError("away")
        await checkpoints.save()
        third = asyncio.ensure_future(anext(pages))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not third.done()

        task.store.error = None
        await checkpoints.save()
        got.append((await third).number)
        await pages.aclose()
    assert got == [1, 2, 3]
