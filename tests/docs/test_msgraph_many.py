# SPDX-License-Identifier: Apache-2.0
"""Every example of the guide to Graph's changes, batches and files runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_async import resumable
from airflow_provider_async.msgraph import AsyncMSGraphHook
from airflow_provider_async.msgraph.credentials import GraphToken
from airflow_provider_async.runtime import connections
from tests.docs.pages import run
from tests.msgraph.conftest import FakeCredential, connection
from tests.msgraph.server import graph_server

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from airflow_provider_async.msgraph.connection import MSGraphOptions
    from tests.msgraph.conftest import Fields


async def test_changes_batches_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "may.csv"
    report.write_text("1;2\n")
    report.with_suffix(".txt").write_text("12\n")
    async with graph_server() as server, resumable(tmp_path / "kept"):

        async def get_connection(_: str) -> Fields:
            return replace(connection(server), login="id", password="secret", extra_dejson={"tenant_id": "contoso"})

        def get_token(_: AsyncMSGraphHook, options: MSGraphOptions, *, name: str) -> GraphToken:
            return GraphToken(options.scopes, credential=FakeCredential(server.tokens), identity=None, name=name)

        monkeypatch.setattr(connections, "get_connection", get_connection)
        monkeypatch.setattr(AsyncMSGraphHook, "token", get_token)
        table: dict[str, Any] = {"gone": {}}
        titles = {"user1@contoso.com": "Boss", "nobody": "Nobody"}
        names: dict[str, Any] = {"table": table, "titles": titles, "report": report, "folder": tmp_path / "here"}
        results = await run("msgraph-many", names | {"people": ["user1@contoso.com"]})
    changed, uploaded, statuses, grouped, users, moved = results

    assert changed == len(table) == 5
    assert uploaded == ["may.csv"]
    assert statuses == {"users/user1@contoso.com": 204, "users/nobody": 404}
    assert grouped == [201, 200]
    assert users == ["User 1"]
    assert moved == ["may.csv", "may.txt", "may.csv: quickXorHash", "may.txt: quickXorHash"]
