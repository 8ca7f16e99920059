# SPDX-License-Identifier: Apache-2.0
"""Whatever happens to the server, the links and the reader, the reader knows what the server knows, or has an error."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_async.core.resume import resumable
from airflow_provider_async.errors import PaginationError
from airflow_provider_async.msgraph.delta import Delta
from tests.msgraph.model_delta import FIRST, Directory, Replica

NAMES = st.sampled_from("abcdefg")

EVENTS = st.one_of(
    st.tuples(st.just("put"), NAMES),
    st.tuples(st.just("drop"), NAMES),
    st.tuples(st.just("expire"), st.just("")),
    st.tuples(st.just("nothing"), st.just("")),
)


def happen(made: Directory, event: str, name: str, version: int) -> None:
    match event:
        case "put":
            made.put(name, version)
        case "drop":
            made.drop(name)
        case "expire":
            made.expire()


class Reader:
    """Reads in runs of a task, each of which may fail after some changes and is then tried again."""

    def __init__(self, made: Directory, folder: Path) -> None:
        self.replica = Replica()
        self._made = made
        self._folder = folder

    async def run(self, fail_after: int) -> None:
        try:
            await self._attempt(1, fail_after)
        except ZeroDivisionError:
            await self._attempt(2, 0)

    async def _attempt(self, number: int, fail_after: int) -> None:
        count = 0
        async with resumable(self._folder, attempt=number):
            async for change in Delta(self._made.fetch, FIRST, cursor="users", resume="users"):
                self.replica.apply(change)
                count += 1
                if count == fail_after:
                    raise ZeroDivisionError


@given(
    made=st.builds(
        Directory,
        page_size=st.integers(1, 3),
        empty_pages=st.integers(0, 2),
        repeats=st.booleans(),
        location=st.booleans(),
    ),
    runs=st.lists(st.tuples(st.lists(EVENTS, max_size=12), st.integers(0, 12)), min_size=1, max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_a_reader_knows_what_the_server_knows(made: Directory, runs: list[tuple[list[tuple[str, str]], int]]) -> None:
    """In each run, things happen between its pages."""

    async def main(folder: Path) -> None:
        reader = Reader(made, folder)
        versions = itertools.count()
        pending: list[tuple[str, str]] = []
        made.on_page = lambda: happen(made, *(pending.pop(0) if pending else ("", "")), next(versions))
        for events, fail_after in runs:
            pending[:] = events
            with suppress(PaginationError):  # it expired again and again
                await reader.run(fail_after)
        # At last nothing happens any more.
        pending.clear()
        await reader.run(0)
        assert reader.replica.items == made.items

    with TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
