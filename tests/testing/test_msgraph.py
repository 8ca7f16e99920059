# SPDX-License-Identifier: Apache-2.0
"""The Graph server for tests: what it knows, how it fails, and what the pool of this package makes of that."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import GraphError, PoolConnectError
from airflow_provider_async.msgraph import AsyncMSGraphHook, MSGraphClientPool
from airflow_provider_async.testing import run_task
from airflow_provider_async.testing.msgraph import RESET, GraphAnswer, GraphRequest, GraphServer, error, throttled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytest_plugins = ["airflow_provider_async.testing.fixtures"]

pytestmark = pytest.mark.skipif(
    aiohttp.__version__.startswith("3.10."), reason="this aiohttp leaves sockets of TLS unclosed"
)

#: Waits that nobody notices.
SOON = Retry(attempts=5, initial_seconds=0.01, max_seconds=0.02, budget_seconds=20)

USERS: list[dict[str, object]] = [
    {"id": "a", "userPrincipalName": "ann@example.com", "displayName": "Ann", "age": 30},
    {"id": "b", "userPrincipalName": "bob@example.com", "displayName": "Bob and Bill", "age": 40},
    {"id": "c", "userPrincipalName": "cleo@example.com", "displayName": "Cleo", "age": None},
]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell says about proxies must not matter."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[GraphServer, MSGraphClientPool]]:
    async with GraphServer().running() as server, MSGraphClientPool(connection=server.connection(), retry=SOON) as pool:
        server.collection("users", [{**user} for user in USERS])
        yield server, pool


async def ids(pool: MSGraphClientPool, target: str, **options: Any) -> list[str]:  # noqa: ANN401 - of paginate
    return [row["id"] async for row in pool.paginate(target, **options)]


async def test_a_login_gets_a_token_and_a_new_one_when_that_is_taken_no_more() -> None:
    async with serving() as (server, pool):
        assert (await pool.get("users/a"))["displayName"] == "Ann"
        server.tokens.revoke()
        assert (await pool.get("me"))["displayName"] == "Ann"
        assert len(server.entra.asked) == 2
        assert "s3cret" not in f"{server.connection()!r} {server.entra!r}"
        server.tokens.revoke()
        server.entra.faults += [401]
        with pytest.raises(PoolConnectError, match=r"no token was given: .*AADSTS90033"):
            await pool.get("me")


async def test_a_connection_can_be_tried_from_code_that_is_not_async(graph_server: GraphServer) -> None:
    assert AsyncMSGraphHook(connection=graph_server.connection()).test_connection()[0]
    works, why = AsyncMSGraphHook(connection=graph_server.connection(tenant_id="elsewhere")).test_connection()
    assert not works
    assert "AADSTS90002" in why


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["a", "b", "c"]),
        ({"$filter": "displayName eq 'Bob and Bill'"}, ["b"]),
        ({"$filter": "startswith(displayName,'c') and age eq null"}, ["c"]),
        ({"$filter": "age ge 30 and age lt 40"}, ["a"]),
        ({"$orderby": "age desc"}, ["b", "a", "c"]),
    ],
)
async def test_rows_are_filtered_and_sorted(query: dict[str, str], expected: list[str]) -> None:
    async with serving() as (server, pool):
        server.paging.size = 2
        assert await ids(pool, "users", params=query) == expected


async def test_a_condition_that_the_server_does_not_know_is_the_tests_mistake() -> None:
    async def ask() -> None:
        async with serving() as (_, pool):
            with pytest.raises(GraphError, match="500"):
                await pool.get("users", params={"$filter": "phones/any(p:p eq 'x')"}, retry=Retry(attempts=1))

    with pytest.raises(ExceptionGroup) as caught:
        await ask()
    assert "the server knows no condition \"phones/any(p:p eq 'x')\"" in str(caught.value.exceptions[0])


async def test_the_directory_is_stricter_than_the_rest() -> None:
    async with serving() as (server, pool):
        server.collection("me/messages", [{"id": f"m{number}"} for number in range(3)])
        assert await ids(pool, "users/ann@example.com/messages", params={"$skip": "1"}) == ["m1", "m2"]
        assert (await pool.get("me/messages", params={"$count": "true", "$select": "id"}))["@odata.count"] == 3
        with pytest.raises(GraphError, match=r"'\$skip' is not supported"):
            await pool.get("users", params={"$skip": "1"})
        with pytest.raises(GraphError, match="404"):
            await pool.get("users/b/messages")
        assert await pool.get("users/$count", headers={"ConsistencyLevel": "eventual"}) == 3


async def test_rows_are_made_changed_and_removed() -> None:
    async with serving() as (server, pool):
        server.collection("sites/s/lists/l/items", [])
        made = await pool.post("sites/s/lists/l/items", {"title": "one"})
        await pool.patch(f"sites/s/lists/l/items/{made['id']}", {"title": "two"})
        assert server.collection("sites/s/lists/l/items") == [{"id": made["id"], "title": "two"}]
        await pool.delete(f"sites/s/lists/l/items/{made['id']}")
        assert server.collection("sites/s/lists/l/items") == []
        with pytest.raises(GraphError, match="Another object with the same value"):
            await pool.post("users", {"userPrincipalName": "ann@example.com"})
        await pool.post("me/sendMail", {"message": {"subject": "Hello"}})
        assert server.sent == [{"message": {"subject": "Hello"}}]


async def test_faults_come_in_turn_alone_and_in_batches() -> None:
    async with serving() as (server, pool):
        server.fail("/users", throttled("0"), error(503, "serviceNotAvailable"), RESET, None, throttled("0"))
        assert await ids(pool, "users") == ["a", "b", "c"]
        assert len(server.requests("users", "GET")) == 4
        server.fail("/users/b", throttled("0"))
        answers = [answer async for answer in pool.get_many([f"users/{name}" for name in "abc"], batch=True)]
        assert sorted(answer.json()["id"] for answer in answers) == ["a", "b", "c"]
        assert [len(batch) for batch in server.batches] == [3, 1]


async def test_other_paths_have_answers_of_ones_own() -> None:
    def usage(request: GraphRequest) -> GraphAnswer:
        return GraphAnswer(body={"value": [{"id": request.query["period"]}]})

    async with serving() as (server, pool):
        server.on("/reports/usage", error(503, "serviceNotAvailable"), usage)
        assert await ids(pool, "reports/usage", params={"period": "D7"}) == ["D7"]
        server.on("/reports", GraphAnswer(status=202), method="POST")
        assert await pool.post("reports", {}) is None


async def test_a_delta_tells_of_changes_and_removals_and_comes_anew_after_a_410() -> None:
    async with serving() as (server, pool):
        server.deltas.page_size = 2
        first = pool.delta("users/delta")
        assert [change.id async for change in first] == ["", "a", "b", "c"]
        del server.collection("users")[0]
        server.collection("users")[0]["displayName"] = "Bobby"
        second = pool.delta("users/delta", link=first.link)
        assert [(change.kind, change.id) async for change in second] == [("changed", "b"), ("removed", "a")]
        server.deltas.expire()
        third = pool.delta("users/delta", link=second.link)
        assert [(change.kind, change.id) async for change in third] == [
            ("reset", ""),
            ("changed", "b"),
            ("changed", "c"),
        ]


async def test_files_go_up_and_come_down(tmp_path: Path) -> None:
    async with serving() as (server, pool):
        server.drive.add("a.txt", b"a" * 1000)
        (tmp_path / "b.bin").write_bytes(b"b" * 5_000_000)
        server.fail("/public/content/key1", RESET)
        uploads = pool.upload_many([tmp_path / "b.bin"], "me/drive/root:/new")
        assert [file.item.name async for file in uploads] == ["b.bin"]
        rows = [row async for row in pool.paginate("me/drive/root/children")]
        rows += [row async for row in pool.paginate("users/a/drive/root:/new:/children")]
        files = {file.path.name: file async for file in pool.download_many(rows, tmp_path / "down")}
    assert server.drive.finished == 1
    assert {name: file.verified for name, file in files.items()} == {"a.txt": "quickXorHash", "b.bin": "quickXorHash"}
    assert files["b.bin"].path.read_bytes() == b"b" * 5_000_000


def test_a_task_that_pages_through_graph_is_tested(monkeypatch: pytest.MonkeyPatch, graph_server: GraphServer) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")

    async def names() -> list[str]:
        async with MSGraphClientPool("graph") as pool:
            rows: list[Any] = [row async for row in pool.paginate("users", params={"$select": "displayName"})]
            return [row["displayName"] for row in rows]

    graph_server.collection("users", [{"id": str(number), "displayName": f"User {number}"} for number in range(25)])
    graph_server.paging.size = 10
    graph_server.fail("/users", None, throttled("0"))
    found = run_task(names, connections={"graph": graph_server.connection()})
    assert found == [f"User {number}" for number in range(25)]
    assert len(graph_server.requests("/users")) == 4
