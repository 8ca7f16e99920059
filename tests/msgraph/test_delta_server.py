# SPDX-License-Identifier: Apache-2.0
"""Deltas of a pool, over HTTP: the server's own state, whatever happens on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async import resumable
from airflow_provider_async.errors import GraphError, IteratorClosed, UnsafeURL
from airflow_provider_async.testing.msgraph import RESET, Deltas, GraphAnswer, error, throttled
from tests.msgraph.conftest import make_pool
from tests.msgraph.server import make_users

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.msgraph.delta import Delta
    from airflow_provider_async.testing.msgraph import GraphServer


@pytest.fixture
def deltas(server: GraphServer) -> Deltas:
    server.collection("users", make_users(35))
    return server.deltas


class Table:
    """What a task would keep elsewhere."""

    def __init__(self) -> None:
        self.rows: dict[str, Any] = {}
        self.resets = 0

    async def take(self, delta: Delta) -> Delta:
        async for change in delta:
            if change.kind == "reset":
                self.rows.clear()
                self.resets += 1
            elif change.kind == "removed":
                self.rows.pop(change.id, None)
            else:
                self.rows[change.id] = change.item
        return delta

    def is_like(self, server: GraphServer) -> bool:
        return self.rows == {user["id"]: user for user in server.collections["users"]}


async def test_a_table_follows_a_directory(
    server: GraphServer, deltas: Deltas, pool: MSGraphClientPool, tmp_path: Path
) -> None:
    table = Table()

    async def run() -> Delta:
        async with resumable(tmp_path):
            return await table.take(pool.delta("users/delta", cursor="users", resume="users"))

    assert (await run()).is_full
    assert table.is_like(server)
    await pool.patch("users/user3@contoso.com", {"jobTitle": "Boss"})
    await pool.delete("users/user4@contoso.com")
    await pool.post("users", {"userPrincipalName": "new@contoso.com"})
    server.fail("/users/delta", throttled("0.1"), RESET, error(503, "serviceNotAvailable"))
    delta = await run()
    assert delta.progress.done == 3
    assert table.is_like(server)
    assert table.resets == 1

    deltas.expire()
    assert (await run()).resyncs == 1
    assert table.is_like(server)
    assert table.resets == 2


@pytest.mark.parametrize("gives_location", [True, False])
async def test_a_link_works_without_a_task_until_it_expires(
    server: GraphServer, deltas: Deltas, pool: MSGraphClientPool, gives_location: bool
) -> None:
    deltas.gives_location = gives_location
    table = Table()
    link = (await table.take(pool.delta("users/delta"))).link
    assert link is not None
    await pool.delete("users/user4@contoso.com")
    link = (await table.take(pool.delta("users/delta", link=link))).link
    assert table.is_like(server)
    deltas.expire()
    await pool.delete("users/user5@contoso.com")
    await table.take(pool.delta("users/delta", link=link))
    assert table.is_like(server)


async def test_a_link_that_expires_between_two_pages_begins_anew(
    server: GraphServer, deltas: Deltas, pool: MSGraphClientPool
) -> None:
    table = Table()
    delta = pool.delta("users/delta")
    count = 0
    async for change in delta:
        if change.kind == "reset":
            table.rows.clear()
        else:
            table.rows[change.id] = change.item
        count += 1
        if count == 5:
            deltas.expire()
    assert delta.resyncs == 1
    assert table.is_like(server)


async def test_headers_and_parameters_go_with_every_page(
    server: GraphServer, deltas: Deltas, pool: MSGraphClientPool
) -> None:
    headers = {"Prefer": "return=minimal"}
    delta = pool.delta("users/delta", params={"$select": ["id", "mail"]}, headers=headers)
    assert len([change async for change in delta]) == 36
    asked = server.requests("/users/delta")
    assert len(asked) == 4
    assert {request.headers["prefer"] for request in asked} == {"return=minimal"}
    assert {request.query["$select"] for request in asked} == {"id,mail"}


async def test_from_now_on_is_no_reset(deltas: Deltas, pool: MSGraphClientPool) -> None:
    delta = pool.delta("users/delta", params={"$deltatoken": "latest"})
    assert [change async for change in delta] == []
    await pool.delete("users/user4@contoso.com")
    (change,) = [change async for change in pool.delta("users/delta", link=delta.link)]
    assert (change.kind, change.reason) == ("removed", "deleted")


async def test_drives_have_deltas_too(server: GraphServer, pool: MSGraphClientPool) -> None:
    drive = server.drive
    for name in "abc":
        drive.add(name, b"x")
    link = (await Table().take(pool.delta("me/drive/root/delta"))).link
    del drive.files["item2"]
    drive.add("d", b"y")
    changes = {change.id: change async for change in pool.delta("me/drive/root/delta", link=link)}
    assert {id_: change.kind for id_, change in changes.items()} == {"item2": "removed", "item4": "changed"}


async def test_a_link_to_another_host_is_not_followed(
    server: GraphServer, deltas: Deltas, pool: MSGraphClientPool
) -> None:
    page = {"value": [], "@odata.nextLink": "https://elsewhere.test/v1.0/users/delta?$skiptoken=1"}
    server.fail("/users/delta", GraphAnswer(body=page))
    with pytest.raises(UnsafeURL, match=r"elsewhere\.test"):
        [change async for change in pool.delta("users/delta")]


async def test_other_errors_are_errors(server: GraphServer, deltas: Deltas, pool: MSGraphClientPool) -> None:
    server.fail("/users/delta", None, error(403, "Authorization_RequestDenied"))
    with pytest.raises(GraphError, match="Authorization_RequestDenied"):
        [change async for change in pool.delta("users/delta")]


async def test_a_pool_that_closes_ends_its_deltas(server: GraphServer, deltas: Deltas) -> None:
    async with make_pool(server) as pool:
        changes = aiter(pool.delta("users/delta"))
        await anext(changes)
    # The page that it has is given to its end.
    for _ in range(10):
        await anext(changes)
    with pytest.raises(IteratorClosed):
        await anext(changes)
