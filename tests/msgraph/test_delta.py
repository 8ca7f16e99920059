# SPDX-License-Identifier: Apache-2.0
"""A delta gives all changes, says when everything comes anew, and where the next one goes on."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.resume import resumable
from airflow_provider_async.errors import GraphError, HTTPStatusError, InvalidBody, IteratorClosed, PaginationError
from airflow_provider_async.http.requests import PageRequest
from airflow_provider_async.msgraph.change import Change
from airflow_provider_async.msgraph.delta import Delta
from tests.msgraph.model_delta import FIRST, ROOT, Directory, Replica, fetcher

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_async.http.requests import PageResponse


def directory(**options: int) -> Directory:
    made = Directory(**options)  # type: ignore[arg-type]  # a flag is a number
    for number, name in enumerate("abcde"):
        made.put(name, number)
    return made


async def read(made: Directory, link: str | None = None) -> tuple[list[Change], Delta]:
    delta = Delta(made.fetch, FIRST, link=link)
    return [change async for change in delta], delta


async def test_the_first_query_gives_everything_that_there_is() -> None:
    changes, delta = await read(directory())

    assert [change.kind for change in changes] == ["reset", *["changed"] * 5]
    assert [change.id for change in changes] == ["", *"abcde"]
    assert changes[1].item == {"id": "a", "version": 0}
    assert delta.is_full
    assert delta.progress.done == 5


async def test_the_next_query_gives_what_has_changed_and_what_was_removed() -> None:
    made = directory()
    _, delta = await read(made)
    made.put("b", 7)
    made.drop("c")
    changes, delta = await read(made, delta.link)

    assert changes == [
        Change("changed", {"id": "b", "version": 7}),
        Change("removed", {"id": "c", "@removed": {"reason": "deleted"}}, "deleted"),
    ]
    assert not delta.is_full
    assert (await read(made, delta.link))[0] == []


async def test_items_of_drives_say_otherwise_that_they_were_removed() -> None:
    rows = [
        {"id": "1", "deleted": {"state": "deleted"}},
        {"id": "2", "file": {}, "deleted": None},
        {"id": "3", "@removed": {"reason": "changed"}},
        {"id": "4", "@removed": None, "deleted": "a column of that name"},
        {"id": "5", "@removed": True},
    ]
    delta = Delta(fetcher([{"value": rows, "@odata.deltaLink": ROOT}]), FIRST, link=f"{ROOT}x")

    assert [(change.id, change.kind, change.reason) async for change in delta] == [
        ("1", "removed", "deleted"),
        ("2", "changed", None),
        ("3", "removed", "changed"),
        ("4", "changed", None),
        ("5", "removed", None),
    ]


async def test_empty_pages_end_nothing() -> None:
    changes, _ = await read(directory(empty_pages=3))
    assert len(changes) == 6


async def test_an_item_may_come_twice() -> None:
    made = directory(repeats=True)
    changes, _ = await read(made)
    replica = Replica()
    for change in changes:
        replica.apply(change)

    assert len(changes) > 6
    assert replica.items == made.items


@pytest.mark.parametrize("location", [True, False])
async def test_an_expired_link_begins_anew_and_says_so(location: bool, caplog: pytest.LogCaptureFixture) -> None:
    made = directory(location=location)
    _, delta = await read(made)
    made.drop("a")
    made.expire()
    made.asked.clear()
    changes, delta = await read(made, delta.link)

    assert [change.kind for change in changes] == ["reset", *["changed"] * 4]
    assert changes[0].reason == "resyncRequired"
    assert delta.is_full
    assert delta.resyncs == 1
    assert "is read anew, and everything comes again" in caplog.text
    assert made.asked[1] == f"{ROOT}users/delta?$select=name&$token=" if location else f"{ROOT}users/delta"


async def test_a_link_that_expires_on_the_way_begins_anew_there() -> None:
    made = directory()
    seen: list[Change] = []
    async for change in Delta(made.fetch, FIRST):
        seen.append(change)
        if change.id == "b" and made.generation == 0:
            made.expire()

    # The page that was on its way comes before.
    assert "".join(change.id or "!" for change in seen) in ("!ab!abcde", "!abcd!abcde")


async def test_what_other_services_say_is_understood_too() -> None:
    for status, code, is_expired in ((400, "Directory_ExpiredPageToken", True), (400, "BadRequest", False)):
        error = GraphError("no", status=status, url="", headers={}, code=code)
        delta = Delta(fetcher([error, {"value": [], "@odata.deltaLink": ROOT}]), FIRST, link=f"{ROOT}x")
        if is_expired:
            assert [change.kind async for change in delta] == ["reset"]
            assert delta.link == ROOT
        else:
            with pytest.raises(GraphError, match="no"):
                [change async for change in delta]


async def test_a_first_query_that_is_gone_is_an_error() -> None:
    gone = HTTPStatusError("gone", status=410, url="", headers={})
    with pytest.raises(HTTPStatusError, match="gone"):
        [change async for change in Delta(fetcher([gone]), FIRST)]
    # As is one without a place to begin at, after that.
    with pytest.raises(HTTPStatusError, match="gone"):
        [change async for change in Delta(fetcher([gone, gone]), FIRST, link=ROOT)]


async def test_a_server_that_begins_anew_again_and_again_is_an_error() -> None:
    gone = HTTPStatusError("gone", status=410, url="", headers={"Location": "/v1.0/users/delta?again"})
    with pytest.raises(PaginationError, match="begins anew again and again"):
        [change async for change in Delta(fetcher([gone] * 9), FIRST, link=ROOT)]


async def test_a_link_that_repeats_is_an_error() -> None:
    page = {"value": [], "@odata.nextLink": f"{ROOT}users/delta?$skiptoken=1"}
    with pytest.raises(PaginationError, match="asked for before"):
        [change async for change in Delta(fetcher([page, page, page]), FIRST)]


@pytest.mark.parametrize("body", [[], {"value": 5}, {"value": [5]}, {"error": {}}, None])
async def test_what_is_no_page_is_an_error(body: object) -> None:
    with pytest.raises(InvalidBody, match=r"users/delta: GET users/delta.* was answered with no page of a delta"):
        [change async for change in Delta(fetcher([body]), FIRST)]


async def test_a_page_that_leads_nowhere_is_an_error_and_no_end() -> None:
    with pytest.raises(PaginationError, match="leads neither to a next page nor to a next delta"):
        [change async for change in Delta(fetcher([{"value": []}]), FIRST)]


async def test_relative_links_are_resolved_and_headers_go_with_every_page() -> None:
    asked: list[PageRequest] = []

    async def fetch(request: PageRequest) -> PageResponse:
        asked.append(request)
        return await answers(request)

    first = PageRequest(url=f"{ROOT}users/delta", headers={"Prefer": "return=minimal"})
    answers = fetcher(
        [
            {"value": [], "@odata.nextLink": "/v1.0/users/delta?$skiptoken=1"},
            {"value": [], "@odata.deltaLink": "delta?$deltatoken=2"},
        ]
    )
    delta = Delta(fetch, first)
    assert [change.kind async for change in delta] == ["reset"]
    assert [request.url for request in asked] == [f"{ROOT}users/delta", f"{ROOT}users/delta?$skiptoken=1"]
    assert delta.link == f"{ROOT}users/delta?$deltatoken=2"
    assert {str(request.headers) for request in asked} == {"{'Prefer': 'return=minimal'}"}


async def test_a_query_that_begins_now_is_no_reset() -> None:
    first = PageRequest(url="users/delta", params=(("$deltatoken", "latest"),))
    delta = Delta(fetcher([{"value": [], "@odata.deltaLink": ROOT}]), first)
    assert [change async for change in delta] == []
    assert not delta.is_full


async def test_there_is_no_link_before_all_is_consumed() -> None:
    made = directory(page_size=99)
    delta = Delta(made.fetch, FIRST)
    async with delta:
        async for change in delta:
            assert delta.link is None
            if change.id == "e":
                break
    assert delta.link is None


async def test_pages_come_as_a_whole() -> None:
    pages = [[change.id or "!" for change in page] async for page in Delta(directory().fetch, FIRST).pages()]
    assert pages == [["!", "a", "b"], ["c", "d"], ["e"]]


async def test_it_is_iterated_over_once() -> None:
    _, delta = await read(directory())
    with pytest.raises(RuntimeError, match="iterated over once"):
        [change async for change in delta]


async def test_link_and_cursor_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="link and cursor are both given"):
        Delta(fetcher([]), FIRST, link=ROOT, cursor="users")
    with pytest.raises(ValueError, match="cursor must be a name"):
        Delta(fetcher([]), FIRST, cursor="a b")


async def test_one_that_is_closed_ends_with_an_error_and_leaves_nothing_in_flight() -> None:
    made = directory()
    begun = asyncio.Event()

    async def fetch(request: PageRequest) -> PageResponse:
        if made.asked:
            begun.set()
            await asyncio.Event().wait()
        return await made.fetch(request)

    delta = Delta(fetch, FIRST)
    changes = aiter(delta)
    for _ in range(3):
        await anext(changes)
    waiting = asyncio.ensure_future(anext(changes))
    await begun.wait()
    await delta.aclose()
    with pytest.raises(IteratorClosed, match="was closed while it was iterated over"):
        await waiting
    assert len(asyncio.all_tasks()) == 1


# What is kept.


async def test_each_run_goes_on_where_the_last_one_has_ended(tmp_path: Path) -> None:
    made = directory()
    replica = Replica()

    async def once() -> Delta:
        delta = Delta(made.fetch, FIRST, cursor="users")
        async with resumable(tmp_path):
            async for change in delta:
                replica.apply(change)
        assert replica.items == made.items
        return delta

    assert (await once()).is_full
    made.put("f", 9)
    assert not (await once()).is_full
    assert replica.resets == 1
    made.drop("a")
    made.expire()
    assert (await once()).is_full
    assert not (await once()).is_full
    assert replica.resets == 2


async def test_a_run_that_fails_leaves_the_place_as_it_was(tmp_path: Path) -> None:
    made = directory(page_size=1)

    async def fail() -> None:
        async with resumable(tmp_path):
            async for _ in Delta(made.fetch, FIRST, cursor="users"):
                pass
            raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await fail()
    async with resumable(tmp_path):
        delta = Delta(made.fetch, FIRST, cursor="users")
        assert "reset" in [change.kind async for change in delta]


async def test_the_next_try_goes_on_after_the_last_page_that_was_consumed(tmp_path: Path) -> None:
    made = directory()
    seen: list[str] = []

    async def attempt(number: int, *, fail_at: str = "") -> Delta:
        delta = Delta(made.fetch, FIRST, cursor="users", resume="users")
        async with resumable(tmp_path, attempt=number):
            async for change in delta:
                if change.id == fail_at != "":
                    raise ZeroDivisionError
                seen.append(change.id or "!")
            if fail_at == "end":
                raise ZeroDivisionError
        return delta

    with pytest.raises(ZeroDivisionError):
        await attempt(1, fail_at="d")
    assert "".join(seen) == "!abc"
    with pytest.raises(ZeroDivisionError):
        await attempt(2, fail_at="end")
    assert "".join(seen) == "!abccde"
    delta = await attempt(3)
    assert "".join(seen) == "!abccde"
    assert delta.is_full
    assert delta.progress.done == delta.progress.resumed == 5
    made.put("z", 1)
    await attempt(1)
    assert "".join(seen) == "!abccdez"


async def test_a_query_of_another_kind_under_the_same_name_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = directory()
    async with resumable(tmp_path):
        async for _ in Delta(made.fetch, FIRST, cursor="users"):
            pass
    other = PageRequest(url="users/delta", params=(("$select", "name"), ("$top", "3")))
    async with resumable(tmp_path):
        assert "reset" in [change.kind async for change in Delta(made.fetch, other, cursor="users")]
    assert "what the cursor 'users' has kept is of another query" in caplog.text


async def test_another_query_in_the_next_try_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = directory()

    async def fail() -> None:
        async with resumable(tmp_path):
            async for change in Delta(made.fetch, FIRST, resume="users"):
                if change.id == "d":
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    other = PageRequest(url="users/delta", params=(("$select", "name"), ("$top", "3")))
    async with resumable(tmp_path, attempt=2):
        assert len([change async for change in Delta(made.fetch, other, resume="users")]) == 6
    assert "an earlier try has read pages of another query" in caplog.text


async def test_outside_of_tasks_and_blocks_nothing_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        delta = Delta(directory().fetch, FIRST, cursor="users")
        assert len([change async for change in delta]) == 6
    assert "cursor='users' keeps nothing" in caplog.text
