# SPDX-License-Identifier: Apache-2.0
"""Requests that depend on each other stay in their order and in one batch, and fail together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import GraphError
from airflow_provider_async.msgraph import BatchRequest
from airflow_provider_async.msgraph.batch_request import LARGEST_BATCH, arrange
from airflow_provider_async.testing.msgraph import error, throttled

if TYPE_CHECKING:
    from airflow_provider_async.core.amap import Outcome
    from airflow_provider_async.http.response import Response
    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.msgraph.targets import Target
    from airflow_provider_async.testing.msgraph import GraphServer


def create(name: str, *needed: BatchRequest) -> BatchRequest:
    return BatchRequest("POST", "users", json={"userPrincipalName": name}, depends_on=needed)


def look(name: str, *needed: BatchRequest) -> BatchRequest:
    return BatchRequest("GET", f"users/{name}", depends_on=needed)


async def run(
    pool: MSGraphClientPool, requests: list[BatchRequest | Target]
) -> dict[BatchRequest | Target, Outcome[BatchRequest | Target, Response]]:
    async with asyncio.timeout(20):
        return {outcome.item: outcome async for outcome in pool.batch(requests).outcomes()}


async def test_one_runs_after_what_it_depends_on(server: GraphServer, pool: MSGraphClientPool) -> None:
    made = create("a")
    seen = look("a", made)
    found = await run(pool, [made, seen])

    answer = found[seen].value
    assert answer is not None
    assert answer.json()["userPrincipalName"] == "a"
    (parts,) = server.batches
    assert [part.get("dependsOn") for part in parts] == [None, ["1"]]


async def test_those_that_belong_together_are_in_one_batch_wherever_they_stand(
    server: GraphServer, pool: MSGraphClientPool
) -> None:
    made = create("a")
    seen = look("a", made)
    others: list[BatchRequest | Target] = [f"users/user{number}@contoso.com" for number in range(90)]
    found = await run(pool, [made, *others, seen])

    assert found[seen].error is None
    assert len(found) == 92
    parts = next(batch for batch in server.batches if any(part["method"] == "POST" for part in batch))
    assert [part["method"] for part in parts if part["url"] in ("/users", "/users/a")] == ["POST", "GET"]


async def test_what_depends_on_a_failure_says_so(server: GraphServer, pool: MSGraphClientPool) -> None:
    server.fail("/users", error(403, "Authorization_RequestDenied", "no"))
    made = create("a")
    seen, again = look("a", made), look("b")
    last = look("a", seen)
    found = await run(pool, [made, seen, again, last])

    failure = found[seen].error
    assert isinstance(failure, GraphError)
    assert failure.status == 424
    assert str(failure) == "GET users/a was not run, for it depends on POST users, which has failed"
    assert failure.__cause__ is found[made].error
    assert "it depends on GET users/a, which has failed" in str(found[last].error)


async def test_what_depends_on_one_that_is_throttled_goes_with_it(server: GraphServer, pool: MSGraphClientPool) -> None:
    server.fail("/users", throttled())
    made = create("a")
    seen = look("a", made)
    found = await run(pool, [made, seen])

    assert found[seen].error is None
    assert [[part["method"] for part in batch] for batch in server.batches] == [["POST", "GET"]] * 2


async def test_what_has_succeeded_is_not_run_again(server: GraphServer, pool: MSGraphClientPool) -> None:
    server.fail("/users/a", throttled())
    made = create("a")
    seen = look("a", made)
    found = await run(pool, [made, seen])

    assert found[seen].error is None
    first, second = server.batches
    assert [part["method"] for part in first] == ["POST", "GET"]
    # Without the one that it depended on, which is not there any more.
    assert second == [{"id": "1", "method": "GET", "url": "/users/a"}]


async def test_a_batch_that_is_lost_fails_all_that_belong_together(
    server: GraphServer, pool: MSGraphClientPool
) -> None:
    server.fail("/$batch", error(500, "generalException"))
    made = create("a")
    found = await run(pool, [made, look("a", made)])
    assert all(isinstance(outcome.error, GraphError) for outcome in found.values())
    assert server.requests("/users") == []


async def test_groups_as_large_as_a_batch_fill_one_each(server: GraphServer, pool: MSGraphClientPool) -> None:
    groups: list[list[BatchRequest]] = []
    for number in range(3):
        first = create(f"{number}")
        groups.append([first, *(look(f"{number}", first) for _ in range(LARGEST_BATCH - 1))])
    # One of each in turn, so that none is complete before the others.
    mixed: list[BatchRequest | Target] = [request for together in zip(*groups, strict=True) for request in together]
    found = [outcome async for outcome in pool.batch(mixed, limit=1, ordered=True).outcomes()]

    assert [outcome.item for outcome in found] == [request for group in groups for request in group]
    assert all(outcome.error is None for outcome in found)
    assert [len(batch) for batch in server.batches] == [20, 20, 20]


async def test_too_many_that_belong_together_are_refused_before_anything_is_sent(
    server: GraphServer, pool: MSGraphClientPool
) -> None:
    first = create("a")
    with pytest.raises(ValueError, match="GET users/a is the 21th of requests that depend on each other"):
        pool.batch([first, *(look("a", first) for _ in range(LARGEST_BATCH))])
    assert server.seen == []


async def test_what_comes_later_or_not_at_all_cannot_be_depended_on(pool: MSGraphClientPool) -> None:
    made = create("a")
    with pytest.raises(ValueError, match=r"request 0 \(GET users/a\) depends on POST users, which does not stand"):
        pool.batch([look("a", made), made])
    with pytest.raises(ValueError, match="the requests 0 and 2 are the same object"):
        pool.batch([made, "users/b", made])


async def test_what_depends_on_others_has_to_be_in_a_list(server: GraphServer, pool: MSGraphClientPool) -> None:
    made = create("a")
    requests = [made, look("a", made)]
    with pytest.raises(ValueError, match="give them all in one list"):
        [answer async for answer in pool.batch(iter(requests), ordered=True, retry=Retry(attempts=1))]


async def test_what_depends_on_others_is_not_resumed_one_by_one(pool: MSGraphClientPool) -> None:
    made = create("a")
    with pytest.raises(ValueError, match="leave out resume"):
        pool.batch([made, look("a", made)], resume="users")


@given(st.lists(st.lists(st.integers(0, 30), max_size=2), max_size=40))
def test_an_arrangement_keeps_all_and_their_order(needs: list[list[int]]) -> None:
    requests: list[BatchRequest] = []
    for needed in needs:
        earlier = [requests[number % len(requests)] for number in needed if requests]
        requests.append(look(str(len(requests)), *earlier))
    try:
        arranged, groups = arrange(requests)
    except ValueError as refused:
        assert "a batch has room for 20" in str(refused)  # noqa: PT017 - whether there is one depends
        return
    assert set(arranged) == set(requests)
    assert len(arranged) == len(requests)
    place = {request: number for number, request in enumerate(arranged)}
    for request in requests:
        for needed_one in request.depends_on:
            assert place[needed_one] < place[request]
            assert groups[needed_one] is groups[request]
    for group in groups.values():
        assert len(group.members) <= LARGEST_BATCH
        begin = place[group.members[0]]
        assert arranged[begin : begin + len(group.members)] == group.members
