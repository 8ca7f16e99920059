# SPDX-License-Identifier: Apache-2.0
"""Advanced queries get what Graph insists on, and others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.errors import GraphError
from airflow_provider_async.msgraph.advanced import advanced_params
from tests.msgraph.conftest import make_pool
from tests.msgraph.server import make_users

if TYPE_CHECKING:
    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.testing.msgraph import GraphServer

COUNT = {"$count": "true"}


@pytest.mark.parametrize(
    ("url", "needed"),
    [
        ("users", None),
        ("users?$filter=displayName eq 'ne not endsWith('", None),
        ("users?$filter=displayName eq 'it''s ne'", None),
        ("users?$filter=startswith(displayName,'A')", None),
        ("users?$filter=accountEnabled ne true", COUNT),
        ("users?%24filter=accountEnabled%20ne%20true", COUNT),
        ("users?$filter=NOT(startsWith(displayName,'A'))", COUNT),
        ("users?$filter=endsWith(mail,'@contoso.com')", COUNT),
        ("users?$filter=assignedLicenses/$count eq 0", COUNT),
        ("users?$filter=startswith(displayName,'A')&$orderby=displayName", COUNT),
        ("users?$orderby=displayName", None),
        ('users?$search="displayName:al"', COUNT),
        ("users?$count=true", {}),
        ("users/$count", {}),
        ("groups/1/members?$search=x", COUNT),
        ("groups/1/members/microsoft.graph.user?$count=true", {}),
        ("groups/1/transitiveMembers/$count", {}),
        ("https://graph.microsoft.com/beta/groups?$search=x", COUNT),
        ("me/memberOf?$search=x", COUNT),
        ("me?$search=x", None),
        ("me/messages?$search=x", None),
        ("directory/administrativeUnits?$search=x", COUNT),
        ("directory/deletedItems/microsoft.graph.group?$count=true", {}),
        ("users/1/messages?$search=x", None),
        ("users/1/messages?$count=true", None),
        ("users/1/contacts?$count=true", None),
        ("users/1?$search=x", None),
        ("teams/1/members?$filter=x ne 1", None),
        ("sites?$search=x", None),
        ("users?$filter=accountEnabled ne true&$skiptoken=x", None),
        ("", None),
    ],
)
def test_what_a_query_needs_beside_the_header(url: str, needed: dict[str, str] | None) -> None:
    assert advanced_params(url) == needed


async def test_they_are_set_together(pool: MSGraphClientPool, server: GraphServer) -> None:
    server.collection("users", make_users(20))
    body = await pool.get("users", params={"$search": '"displayName:user 1"'})
    assert (body["@odata.count"], len(body["value"])) == (11, 11)
    body = await pool.get("users?$filter=endsWith(mail,'1@contoso.com')")
    assert [user["displayName"] for user in body["value"]] == ["User 1", "User 11"]
    assert await pool.get(f"{server.url}/users/$count") == 20
    assert all(one.headers["consistencylevel"] == "eventual" for one in server.seen)
    await pool.get("users")
    assert "consistencylevel" not in server.seen[-1].headers


async def test_a_level_that_is_given_is_left_as_it_is(server: GraphServer) -> None:
    async with make_pool(server) as pool:
        with pytest.raises(GraphError, match="Missing ConsistencyLevel"):
            await pool.get("users?$filter=mail ne null", headers={"consistencylevel": "session"})
    assert server.seen[0].raw_query == "$filter=mail%20ne%20null"
