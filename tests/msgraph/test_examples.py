# SPDX-License-Identifier: Apache-2.0
"""The example DAGs do what they say, without Airflow's processes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_async import resumable
from airflow_provider_async.errors import GraphError
from airflow_provider_async.example_dags import example_msgraph
from airflow_provider_async.msgraph import AsyncMSGraphHook
from airflow_provider_async.msgraph.credentials import GraphToken
from airflow_provider_async.runtime import connections
from airflow_provider_async.testing.msgraph import Paging, error
from tests.msgraph.conftest import FakeCredential, Fields, connection
from tests.msgraph.server import make_groups, make_users

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from airflow_provider_async.msgraph.connection import MSGraphOptions
    from airflow_provider_async.testing.msgraph import GraphServer


def serve(server: GraphServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have any Connection lead to the server, with a token of its own."""

    async def get_connection(_: str) -> Fields:
        return replace(connection(server), login="id", password="secret", extra_dejson={"tenant_id": "contoso"})

    def get_token(_: AsyncMSGraphHook, options: MSGraphOptions, *, name: str) -> GraphToken:
        return GraphToken(options.scopes, credential=FakeCredential(server.tokens), name=name)

    monkeypatch.setattr(connections, "get_connection", get_connection)
    monkeypatch.setattr(AsyncMSGraphHook, "token", get_token)


def function_of(dag: Any, task_id: str) -> Any:  # noqa: ANN401 - Airflow's
    return dag.get_task(task_id).python_callable


async def test_users_are_loaded_and_the_next_try_goes_on(
    server: GraphServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(server, monkeypatch)
    server.collection("users", make_users(95))
    server.paging = Paging(10)
    server.fail("/users", *[None] * 4, error(403, "Authorization_RequestDenied"))
    load = function_of(example_msgraph.load_users(), "load")
    database = str(tmp_path / "users.db")
    done = 0
    for attempt in (1, 2):
        with suppress(GraphError):
            async with resumable(tmp_path / "kept", attempt=attempt):
                done = await load(database)
    expected = [user for user in make_users(95) if user["accountEnabled"]]
    assert done == len(expected)
    with closing(sqlite3.connect(database)) as opened:
        rows = [json.loads(row) for (row,) in opened.execute("SELECT document FROM users ORDER BY id")]
    assert rows == [{name: user[name] for name in ("id", "displayName", "mail")} for user in expected]
    assert len(server.requests("/users")) <= 11


async def test_groups_are_read_as_with_airflows_own_hook(server: GraphServer, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(server, monkeypatch)
    server.collection("groups", make_groups(25))
    server.paging = Paging(10)
    pages = await function_of(example_msgraph.read_groups(), "get_json_data")("groups")
    assert [group for page in pages for group in page["value"]] == make_groups(25)
