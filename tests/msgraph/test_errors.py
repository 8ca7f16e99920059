# SPDX-License-Identifier: Apache-2.0
"""What Graph says of an error, and what Microsoft's support asks for."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.errors import GraphError, HTTPStatusError
from airflow_provider_async.testing.msgraph import GraphAnswer, error

if TYPE_CHECKING:
    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.testing.msgraph import GraphServer


async def caught(pool: MSGraphClientPool, url: str = "users/nobody") -> GraphError:
    with pytest.raises(GraphError) as raised:
        await pool.get(url, headers={"client-request-id": "mine"})
    return raised.value


async def test_an_error_has_all_that_support_asks_for(pool: MSGraphClientPool, server: GraphServer) -> None:
    inner = {"date": "2026-01-02T03:04:05", "request-id": "r1", "client-request-id": "mine", "code": "deep"}
    server.fail("/users/nobody", error(403, "Authorization_RequestDenied", "Not you.", inner=inner))
    failure = await caught(pool)
    assert (failure.status, failure.code, failure.message) == (403, "Authorization_RequestDenied", "Not you.")
    assert str(uuid.UUID(failure.request_id)) == failure.request_id
    assert (failure.client_request_id, failure.date) == ("mine", "2026-01-02T03:04:05")
    assert failure.inner_error == inner
    assert failure.url == f"{server.url}/users/nobody"
    assert isinstance(failure, HTTPStatusError)
    assert str(failure) == (
        f"GET {server.url}/users/nobody was answered with 403 Authorization_RequestDenied: Not you. "
        f"(request-id {failure.request_id}, client-request-id mine, date 2026-01-02T03:04:05)"
    )


@pytest.mark.parametrize(
    "body", [None, b"<html>", b"\xff", {"error": "text"}, {"error": None}, [], {"error": {"innererror": 7, "code": 1}}]
)
async def test_an_answer_without_an_error_of_graph_is_one_all_the_same(
    pool: MSGraphClientPool, server: GraphServer, body: object
) -> None:
    server.fail("/users/nobody", GraphAnswer(status=404, body=body))
    failure = await caught(pool)
    assert (failure.status, failure.code, failure.inner_error) == (404, "", {})
    assert failure.request_id is not None
    assert failure.date is not None
    assert failure.date.endswith("GMT")


async def test_no_error_tells_the_token(pool: MSGraphClientPool, server: GraphServer) -> None:
    await pool.get("me")
    token = pool.sender._auth.ready()["Authorization"].removeprefix("Bearer ")  # type: ignore[index]
    server.fail("/users/nobody", error(400, "Bad", f"Your token {token} is bad."))
    failure = await caught(pool)
    assert token not in f"{failure!r} {failure.message} {failure.body}"
    assert failure.message == "Your token *** is bad."
