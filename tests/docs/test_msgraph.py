# SPDX-License-Identifier: Apache-2.0
"""Every example of the guide to Microsoft Graph runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_async import resumable
from airflow_provider_async.runtime import connections
from tests.docs.pages import run
from tests.msgraph.conftest import FakeCredential, Fields
from tests.msgraph.server import graph_server, make_groups, make_users
from tests.msgraph.server_entra import CLIENT_ID, SECRET, TENANT, Certificate, entra_server

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def test_microsoft_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inserted: list[Any] = []

    async def insert(rows: list[Any]) -> None:
        inserted.extend(rows)

    tls = Certificate.make().context(tmp_path)
    async with graph_server() as server, entra_server(server.tokens, tls=tls) as entra, resumable(tmp_path / "kept"):
        extra = {
            "tenant_id": TENANT,
            "authority": entra.authority,
            "verify": str(tmp_path / "certificate.pem"),
            "disable_instance_discovery": True,
        }

        async def get_connection(_: str) -> Fields:
            return Fields("127.0.0.1", "http", server.port, CLIENT_ID, SECRET, extra)

        monkeypatch.setattr(connections, "get_connection", get_connection)
        names: dict[str, Any] = {"insert": insert, "credential": FakeCredential(server.tokens)}
        title, count, found, pages, models, name = await run("msgraph", names)

    assert title == "Countess"
    assert count == 5
    assert inserted == make_users(5)
    assert found == ["User 1"]
    assert [group for page in pages for group in page["value"]] == make_groups(3)
    assert models == [f"User {number}" for number in range(5)]
    assert name == "User 0"
