# SPDX-License-Identifier: Apache-2.0
"""get_many takes batches where they save time, and gives the same answers either way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import GraphError
from airflow_provider_async.testing.msgraph import GraphAnswer
from tests.msgraph.conftest import make_pool
from tests.msgraph.server import make_users

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_async.core.amap import AsyncMap
    from airflow_provider_async.http.response import Response
    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.testing.msgraph import GraphServer


def urls(count: int) -> list[str]:
    return [f"users/user{number}@contoso.com" for number in range(count)]


@pytest.fixture(autouse=True)
def users(server: GraphServer) -> None:
    server.collection("users", make_users(200))


async def names(answers: AsyncMap[Any, Response]) -> list[str]:
    return [answer.json()["displayName"] async for answer in answers]


def batches(server: GraphServer) -> int:
    return len(server.batches)


async def test_many_urls_go_in_batches_and_few_do_not(server: GraphServer, pool: MSGraphClientPool) -> None:
    assert await names(pool.get_many(urls(16), ordered=True)) == [f"User {number}" for number in range(16)]
    assert batches(server) == 0
    assert await names(pool.get_many(urls(60), ordered=True)) == [f"User {number}" for number in range(60)]
    assert batches(server) == 3


async def test_the_caller_may_know_better(server: GraphServer, pool: MSGraphClientPool) -> None:
    assert len(await names(pool.get_many(urls(60), batch=False))) == 60
    assert batches(server) == 0
    assert len(await names(pool.get_many(urls(10), batch=True))) == 10
    assert batches(server) == 1


async def test_a_source_of_unknown_length_goes_in_batches(server: GraphServer, pool: MSGraphClientPool) -> None:
    async def source() -> AsyncIterator[str]:
        for url in urls(45):
            yield url

    assert len(await names(pool.get_many(source()))) == 45
    assert batches(server) == 3


async def test_contents_come_alone(server: GraphServer, pool: MSGraphClientPool) -> None:
    for number in range(20):
        server.drive.add(f"{number}.txt", b"x" * number)
    contents = [f"me/drive/root:/{number}.txt:/content" for number in range(20)]
    answers = pool.get_many([*contents, *urls(20)], ordered=True)
    sizes = [len(answer.body) async for answer in answers]
    assert sizes[:20] == list(range(20))
    assert batches(server) == 1
    assert len(server.batches[0]) == 20


async def test_large_answers_come_alone_after_the_first(server: GraphServer) -> None:
    def large(number: int) -> GraphAnswer:
        return GraphAnswer(body={"displayName": f"User {number}", "text": "x" * 600_000})

    for number, url in enumerate(urls(100)):
        server.fail(f"/{url}", large(number))
    async with make_pool(server, max_concurrency=1) as pool:
        assert len(await names(pool.get_many(urls(100)))) == 100
    assert 1 <= batches(server) <= 3


async def test_an_absolute_url_elsewhere_comes_alone(server: GraphServer, pool: MSGraphClientPool) -> None:
    beta = f"{server.origin}/beta/users/user1@contoso.com"
    assert len(await names(pool.get_many([*urls(20), beta]))) == 21
    (asked,) = [request for request in server.seen if request.version == "beta"]
    assert not asked.is_inner


@pytest.mark.parametrize("batch", [True, False])
async def test_errors_are_the_same_either_way(server: GraphServer, pool: MSGraphClientPool, batch: bool) -> None:
    work = pool.get_many(["users/nobody", *urls(2)], batch=batch, ordered=True, retry=Retry(attempts=1))
    found = [outcome async for outcome in work.outcomes()]
    assert [outcome.error is None for outcome in found] == [False, True, True]
    failure = found[0].error
    assert isinstance(failure, GraphError)
    assert (failure.status, failure.code, failure.url) == (
        404,
        "Request_ResourceNotFound",
        f"{server.url}/users/nobody",
    )
    assert work.progress.failed == 1
    assert work.progress.bytes > 0


async def test_a_limit_below_one_is_refused(pool: MSGraphClientPool) -> None:
    with pytest.raises(ValueError, match="limit must be at least 1"):
        pool.batch(urls(1), limit=0)
