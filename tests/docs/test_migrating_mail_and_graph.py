# SPDX-License-Identifier: Apache-2.0
"""The guide to moving from Airflow's async hooks for Microsoft Graph and for mail."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async import resumable
from airflow_provider_async.msgraph import AsyncMSGraphHook
from airflow_provider_async.msgraph.credentials import GraphToken
from airflow_provider_async.runtime import connections
from tests.docs.pages import examples, execute
from tests.msgraph.conftest import FakeCredential
from tests.msgraph.conftest import connection as graph_connection
from tests.msgraph.server import graph_server, make_users
from tests.servers.mailbox import running_mailbox
from tests.smtp.reading import Fields

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_async.msgraph.connection import MSGraphOptions
    from tests.servers.mailbox import Mailbox

RECIPIENTS = [f"customer{number}@example.com" for number in range(20)]


def decorated(example: str, name: str, names: dict[str, Any]) -> Any:  # noqa: ANN401 - a function
    execute(example, "migrating-async-hooks", names)
    return names[name].function


async def test_all_users_are_read_page_by_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, after, _, _ = examples("migrating-async-hooks")
    inserted: list[Any] = []

    async def insert(rows: list[Any]) -> None:
        inserted.extend(rows)

    async with graph_server() as server, resumable(tmp_path):

        async def get_connection(_: str) -> object:
            return graph_connection(server)

        def get_token(_: AsyncMSGraphHook, options: MSGraphOptions, *, name: str) -> GraphToken:
            return GraphToken(options.scopes, credential=FakeCredential(server.tokens), identity=None, name=name)

        monkeypatch.setattr(connections, "get_connection", get_connection)
        monkeypatch.setattr(AsyncMSGraphHook, "token", get_token)
        await decorated(after, "load_users", {"insert": insert})("users")

    assert inserted == make_users(5)


def test_the_hook_of_airflow_is_called_as_it_is_made() -> None:
    *_, before, _, _, _ = examples("migrating-async-hooks")
    assert "hook_params=" in before
    assert "query_parameters=" in before
    module = pytest.importorskip(
        "airflow.providers.microsoft.azure.hooks.msgraph", reason="Airflow's own provider for Azure is not installed"
    )

    inspect.signature(module.KiotaRequestAdapterHook.get_hook).bind(conn_id="", hook_params={})
    inspect.signature(module.KiotaRequestAdapterHook.paginated_run).bind(None, url="", query_parameters={})


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with running_mailbox() as running:
        yield running


async def test_everybody_gets_their_mail_before_and_after(
    mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = "Airflow's own SMTP provider is not installed"
    module = pytest.importorskip("airflow.providers.smtp.hooks.smtp", reason=missing)
    if not hasattr(module.SmtpHook, "asend_email_smtp"):
        pytest.skip("Airflow's own SMTP provider is older than its async half")
    *_, before, after = examples("migrating-async-hooks")
    received = []
    fields = Fields(mailbox.port)

    async def get_connection(_: str) -> Fields:
        return fields

    monkeypatch.setattr(connections, "get_connection", get_connection)
    described = {"conn_type": "smtp", "host": fields.host, "port": fields.port, "extra": fields.extra_dejson}
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(described))
    for example in (before, after):
        mailbox.envelopes.clear()
        async with resumable(tmp_path):
            await decorated(example, "send_mails", {})(RECIPIENTS, "Hello", "<p>Hello</p>")
        received.append((sorted(mailbox.recipients), {mail["Subject"] for mail in mailbox.mails}))

    assert received == [(sorted(RECIPIENTS), {"Hello"})] * 2
