# SPDX-License-Identifier: Apache-2.0
"""Requests to Graph, one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.errors import GraphError, PoolClosed
from tests.msgraph.conftest import make_pool

if TYPE_CHECKING:
    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.testing.msgraph import GraphServer


async def test_users_are_made_read_changed_and_removed(pool: MSGraphClientPool, server: GraphServer) -> None:
    made = await pool.post("users", {"displayName": "Ada", "userPrincipalName": "ada@contoso.com"})
    assert await pool.get("users/ada@contoso.com", params={"$select": ["id", "displayName"]}) == {
        "@odata.context": f"{server.url}/$metadata#users/$entity",
        "id": made["id"],
        "displayName": "Ada",
    }
    assert await pool.patch(f"users/{made['id']}", {"jobTitle": "Countess"}) is None
    assert (await pool.get(f"/users/{made['id']}"))["jobTitle"] == "Countess"
    assert (await pool.patch("users/ada@contoso.com", {}, headers={"Prefer": "return=representation"}))["id"]
    await pool.delete(f"{server.url}/users/{made['id']}")
    with pytest.raises(GraphError, match="Request_ResourceNotFound"):
        await pool.get("users/ada@contoso.com")


async def test_what_is_no_json_comes_as_bytes_and_a_number_as_a_number(pool: MSGraphClientPool) -> None:
    assert await pool.get("users/$count") == 5
    assert await pool.post("users/user0@contoso.com/sendMail", {"message": {}}) is None


async def test_a_pool_that_is_not_open_says_so(server: GraphServer) -> None:
    with pytest.raises(PoolClosed, match=r"MSGraphClientPool\('msgraph_default'\) is not open; use 'async with'"):
        await make_pool(server).get("users")
