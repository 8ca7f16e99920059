# SPDX-License-Identifier: Apache-2.0
"""Batches give each request its own answer, whatever Graph does with them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import GraphError, InvalidBody, UnsafeURL
from airflow_provider_async.msgraph import BatchRequest
from airflow_provider_async.testing.msgraph import RESET, GraphAnswer, GraphRequest, error, throttled
from tests.msgraph.conftest import make_pool
from tests.msgraph.server import make_users

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from airflow_provider_async.core.amap import AsyncMap, Outcome
    from airflow_provider_async.http.response import Response
    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.msgraph.targets import Target
    from airflow_provider_async.testing.msgraph import GraphServer


def urls(count: int) -> list[str]:
    return [f"users/user{number}@contoso.com" for number in range(count)]


async def names(answers: AsyncMap[Any, Response]) -> list[str]:
    return [answer.json()["displayName"] async for answer in answers]


async def outcomes(answers: AsyncMap[Any, Response]) -> list[Outcome[Any, Response]]:
    return [outcome async for outcome in answers.outcomes()]


def sizes(server: GraphServer) -> list[int]:
    return [len(batch) for batch in server.batches]


@pytest.fixture(autouse=True)
def users(server: GraphServer) -> None:
    server.collection("users", make_users(1000))


async def test_any_number_of_requests_goes_in_batches_of_twenty(server: GraphServer, pool: MSGraphClientPool) -> None:
    found = await names(pool.batch(urls(105), ordered=True))

    assert found == [f"User {number}" for number in range(105)]
    assert sorted(sizes(server)) == [5, 20, 20, 20, 20, 20]
    assert {request.path for request in server.seen if not request.is_inner} == {"/$batch"}


async def test_several_batches_are_in_flight_at_once_and_no_more_than_asked_for(server: GraphServer) -> None:
    server.rtt_seconds = 0.02
    async with make_pool(server) as pool:
        await names(pool.batch(urls(200), limit=3))
    assert server.most_in_flight == 3
    assert sizes(server) == [20] * 10


async def test_no_request_is_no_batch(server: GraphServer, pool: MSGraphClientPool) -> None:
    assert await names(pool.batch([])) == []
    assert server.seen == []


async def test_each_request_fails_for_itself(server: GraphServer, pool: MSGraphClientPool) -> None:
    found = await outcomes(pool.batch(["users/nobody", *urls(2)], ordered=True))

    assert [outcome.item for outcome in found] == ["users/nobody", *urls(2)]
    assert [outcome.error is None for outcome in found] == [False, True, True]
    failure = found[0].error
    assert isinstance(failure, GraphError)
    assert (failure.status, failure.code) == (404, "Request_ResourceNotFound")
    assert failure.request_id
    assert str(failure).startswith(f"GET {server.url}/users/nobody was answered with 404 Request_ResourceNotFound")


async def test_the_first_error_ends_a_plain_iteration(pool: MSGraphClientPool) -> None:
    with pytest.raises(GraphError, match="users/nobody"):
        await names(pool.batch(["users/nobody"]))


async def test_requests_write_and_send_what_they_are_given(server: GraphServer, pool: MSGraphClientPool) -> None:
    requests = [
        BatchRequest("post", "users", json={"userPrincipalName": "new@contoso.com"}),
        BatchRequest("PATCH", "users/user1@contoso.com", json={"jobTitle": "Boss"}),
        BatchRequest("DELETE", "/users/user2@contoso.com"),
        BatchRequest("GET", "users", params={"$search": '"displayName:User 3"'}),
        BatchRequest("GET", f"{server.url}/users/user3@contoso.com", params={"$select": ["id", "mail"]}),
        BatchRequest("PUT", "users/1/photo/$value", data=b"\x89PNG"),
    ]
    found = {outcome.item: outcome for outcome in await outcomes(pool.batch(requests))}

    answers = [found[request].value for request in requests]
    assert [None if answer is None else answer.status for answer in answers] == [201, 204, 204, 200, 200, None]
    assert answers[1] is not None
    assert answers[1].body == b""
    assert answers[4] is not None
    assert set(answers[4].json()) == {"@odata.context", "id", "mail"}
    (parts,) = server.batches
    by_method = {part["method"]: part for part in parts}
    assert by_method["POST"]["headers"] == {"Content-Type": "application/json"}
    assert by_method["PUT"]["body"] == "iVBORw=="
    assert by_method["PUT"]["headers"] == {"Content-Type": "application/octet-stream"}
    searches = [part for part in parts if "search" in part["url"]]
    assert searches[0]["headers"] == {"ConsistencyLevel": "eventual"}
    assert "$count=true" in searches[0]["url"]


async def test_answers_that_are_no_json_are_what_they_are(server: GraphServer, pool: MSGraphClientPool) -> None:
    server.fail("/users/1/photo/$value", GraphAnswer(body=b"\x89PNG", headers={"Content-Type": "image/png"}))
    server.fail("/text", GraphAnswer(body=b"7", headers={"Content-Type": "text/plain"}))
    answers = pool.batch(["users/1/photo/$value", "text"], ordered=True)
    assert [answer.body async for answer in answers] == [b"\x89PNG", b"7"]


async def test_what_leads_elsewhere_is_in_no_batch(server: GraphServer, pool: MSGraphClientPool) -> None:
    elsewhere = f"{server.origin}/beta/users"
    (found,) = await outcomes(pool.batch([elsewhere]))
    assert isinstance(found.error, UnsafeURL)
    assert "a batch leads nowhere else" in str(found.error)
    assert server.seen == []


# What Graph refuses for now.


async def test_a_part_that_is_throttled_is_sent_again_alone_after_its_own_time(
    server: GraphServer, pool: MSGraphClientPool
) -> None:
    server.fail("/users/user3@contoso.com", throttled("1"))
    work = pool.batch(urls(20), ordered=True)
    assert await names(work) == [f"User {number}" for number in range(20)]

    assert sizes(server) == [20, 1]
    first, second = server.requests("/users/user3@contoso.com")
    assert second.at - first.at >= 1
    assert work.progress.retries == 1


async def test_the_whole_pool_pauses_when_a_part_is_throttled(server: GraphServer, pool: MSGraphClientPool) -> None:
    server.fail("/users/user0@contoso.com", throttled("1"))
    work = asyncio.ensure_future(names(pool.batch(urls(1))))
    while not pool.sender.pause.is_on:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.005)
    await pool.get("me")
    await work

    (me,) = server.requests("/me")
    assert me.at - server.requests("/users/user0@contoso.com")[0].at >= 1


async def test_parts_that_are_throttled_together_go_together_again(
    server: GraphServer, pool: MSGraphClientPool
) -> None:
    for url in urls(30):
        server.fail(f"/{url}", throttled("0.2"))
    assert len(await names(pool.batch(urls(60)))) == 60

    assert len(server.batches) <= 3 + 3
    assert sum(sizes(server)) == 90


async def test_throttling_ends_with_the_budget_and_not_with_the_attempts(server: GraphServer) -> None:
    server.fail("/users/user0@contoso.com", *[throttled(None)] * 8)
    async with make_pool(server) as pool:
        assert await names(pool.batch(urls(1))) == ["User 0"]
        server.fail("/users/user0@contoso.com", throttled("100"))
        with pytest.raises(GraphError, match="429") as caught:
            await names(pool.batch(urls(1), retry=Retry(budget_seconds=5)))
    assert any("not tried again: that would take 100.0 s" in note for note in caught.value.__notes__)
    # What nobody waits for does not hold up the others.
    assert not pool.sender.pause.is_on


async def test_a_refusal_in_a_batch_counts_as_one_of_the_server(server: GraphServer, pool: MSGraphClientPool) -> None:
    server.fail("/users/user0@contoso.com", throttled("0"))
    assert await names(pool.batch(urls(1))) == ["User 0"]
    # By which max_concurrency="auto" goes.
    assert pool.sender.load().refused == 1


async def test_a_malformed_time_is_no_error(server: GraphServer, pool: MSGraphClientPool) -> None:
    server.fail("/users/user0@contoso.com", throttled("soon"))
    assert await names(pool.batch(urls(1))) == ["User 0"]


async def test_reads_are_sent_again_after_other_failures_and_writes_are_not(
    server: GraphServer, pool: MSGraphClientPool
) -> None:
    failure = error(503, "ServiceUnavailable")
    server.fail("/users/user0@contoso.com", failure, error(504, "GatewayTimeout"))
    assert await names(pool.batch(urls(1))) == ["User 0"]

    post = BatchRequest("POST", "users", json={"userPrincipalName": "a"})
    server.fail("/users", failure)
    with pytest.raises(GraphError, match="503"):
        await outcomes_of_one(pool, post)
    server.fail("/users", throttled())
    assert (await outcomes_of_one(pool, post)).status == 201
    server.fail("/users", failure)
    twice = BatchRequest("POST", "users", json={"userPrincipalName": "b"}, idempotent=True)
    assert (await outcomes_of_one(pool, twice)).status == 201


async def outcomes_of_one(pool: MSGraphClientPool, request: BatchRequest) -> Response:
    return await anext(aiter(pool.batch([request])))


async def test_a_read_that_fails_again_and_again_is_an_error(server: GraphServer, pool: MSGraphClientPool) -> None:
    server.fail("/users/user0@contoso.com", *[error(500, "generalException")] * 9)
    (found,) = await outcomes(pool.batch(urls(1)))
    assert isinstance(found.error, GraphError)
    assert len(server.requests("/users/user0@contoso.com")) == 5


async def test_a_batch_that_is_lost_is_sent_again_if_all_in_it_may_be(
    server: GraphServer, pool: MSGraphClientPool
) -> None:
    server.fail("/$batch", RESET, throttled(), error(502, "BadGateway"))
    assert len(await names(pool.batch(urls(20)))) == 20

    server.fail("/$batch", RESET)
    requests: list[BatchRequest | Target] = [BatchRequest("POST", "users", json={"userPrincipalName": "a"}), *urls(2)]
    found = await outcomes(pool.batch(requests))
    assert len({id(outcome.error) for outcome in found}) == 1
    assert "POST" in str(found[0].error)
    assert "$batch" in str(found[0].error)


async def test_an_answer_that_lacks_one_is_an_error_of_that_one(server: GraphServer, pool: MSGraphClientPool) -> None:
    part = {"id": "1", "status": 200, "body": {"displayName": "x"}}
    server.fail("/$batch", GraphAnswer(body={"responses": [part]}))
    found = await outcomes(pool.batch(urls(2), ordered=True))
    assert found[0].error is None
    assert isinstance(found[1].error, InvalidBody)
    assert "the answer to its batch has nothing for it" in str(found[1].error)


async def test_an_answer_that_is_none_is_an_error_of_all(server: GraphServer, pool: MSGraphClientPool) -> None:
    server.fail("/$batch", GraphAnswer(body={"responses": "?"}))
    found = await outcomes(pool.batch(urls(2)))
    assert all(isinstance(outcome.error, InvalidBody) for outcome in found)


# What a batch is made of, and when it is sent.


async def test_batches_are_not_larger_than_graph_takes(server: GraphServer, pool: MSGraphClientPool) -> None:
    text = "x" * 1_000_000
    requests = [BatchRequest("POST", "users", json={"userPrincipalName": f"{n}", "text": text}) for n in range(7)]
    assert len(await outcomes(pool.batch(requests))) == 7
    assert sorted(sizes(server)) == [1, 3, 3]


async def test_a_slow_source_is_not_waited_for(server: GraphServer, pool: MSGraphClientPool) -> None:
    answered = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield urls(1)[0]
        await answered.wait()
        yield urls(2)[1]

    found = []
    async for answer in pool.batch(source()):
        found.append(answer.json()["displayName"])
        answered.set()
    assert found == ["User 0", "User 1"]
    assert sizes(server) == [1, 1]


async def test_an_endless_source_is_read_as_it_is_consumed(server: GraphServer, pool: MSGraphClientPool) -> None:
    taken = 0

    def source() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield urls(5)[taken % 5]

    async with pool.batch(source(), limit=2) as answers:
        count = 0
        async for _ in answers:
            count += 1
            if count == 100:
                break
    assert taken <= 100 + 4 * 20


async def test_leaving_early_ends_what_is_in_flight(server: GraphServer, pool: MSGraphClientPool) -> None:
    server.fail("/$batch", None, GraphAnswer(delay_seconds=30), GraphAnswer(delay_seconds=30))
    async with asyncio.timeout(5):
        async with pool.batch(urls(60), limit=3) as answers:
            await anext(aiter(answers))
        while pool.statistics().leased:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def test_the_next_try_leaves_out_what_is_done(
    server: GraphServer, pool: MSGraphClientPool, tmp_path: Path
) -> None:
    from airflow_provider_async import resumable

    async def attempt(number: int, *, fail: bool) -> None:
        async with resumable(tmp_path, attempt=number):
            async for count in _counted(pool.batch(urls(30), resume="users", ordered=True)):
                if fail and count == 25:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await attempt(1, fail=True)
    server.batches.clear()
    await attempt(2, fail=False)
    assert sizes(server) == [6]


async def test_writes_are_resumed_by_what_they_send(
    server: GraphServer, pool: MSGraphClientPool, tmp_path: Path
) -> None:
    from airflow_provider_async import resumable

    def requests() -> list[BatchRequest]:
        return [BatchRequest("PATCH", "users/user1@contoso.com", json={"jobTitle": title}) for title in "abc"]

    async def fail() -> None:
        async with resumable(tmp_path):
            async for count in _counted(pool.batch(requests(), resume="titles", ordered=True)):
                if count == 3:
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    server.batches.clear()
    async with resumable(tmp_path, attempt=2):
        assert len([answer async for answer in pool.batch(requests(), resume="titles")]) == 1
    assert server.batches[0][0]["body"] == {"jobTitle": "c"}
    assert BatchRequest("GET", "a").resume_key != BatchRequest("GET", "a", params={"b": "c"}).resume_key


async def test_requests_of_the_sdks_builders_go_in_batches_too(server: GraphServer, pool: MSGraphClientPool) -> None:
    from kiota_abstractions.method import Method
    from kiota_abstractions.request_information import RequestInformation

    look = RequestInformation(Method.GET, "{+baseurl}/users/{user%2Did}", {"user%2Did": "user1@contoso.com"})
    remove = RequestInformation(Method.DELETE, "{+baseurl}/users/{user%2Did}", {"user%2Did": "user2@contoso.com"})
    answers = [answer async for answer in pool.batch([look, remove], ordered=True)]
    assert [answer.status for answer in answers] == [200, 204]
    found = [answer async for answer in pool.get_many([look], batch=True)]
    assert found[0].json()["displayName"] == "User 1"
    assert str(BatchRequest.of(remove)) == "DELETE {+baseurl}/users/{user%2Did}"


async def _counted(answers: AsyncMap[Any, Response]) -> AsyncIterator[int]:
    count = 0
    async for _ in answers:
        count += 1
        yield count


async def test_a_quota_that_is_nearly_used_up_slows_down_the_pool(server: GraphServer, pool: MSGraphClientPool) -> None:
    used = {"/users/user1@contoso.com": 0.95}
    server.quota_used = lambda request: used.get(request.path) if request.is_inner else None
    await names(pool.batch(urls(3)))
    assert pool.sender._pacing.is_on


async def test_a_batch_is_json_as_graph_wants_it(server: GraphServer, pool: MSGraphClientPool) -> None:
    await names(pool.batch(urls(1)))
    (request,) = server.requests("/$batch")
    assert isinstance(request, GraphRequest)
    assert json.loads(request.body) == {"requests": [{"id": "1", "method": "GET", "url": "/users/user0@contoso.com"}]}
    assert request.headers["content-type"] == "application/json"
