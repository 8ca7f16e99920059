# SPDX-License-Identifier: Apache-2.0
"""A Connection means to AsyncMSGraphHook what it means to Airflow's own hook: both ask Entra and Graph the same."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Connection

from airflow_provider_async.msgraph import AsyncMSGraphHook
from airflow_provider_async.testing.msgraph import Paging
from tests.msgraph.server import make_users
from tests.msgraph.server_entra import CLIENT_ID, SECRET, TENANT, Certificate, FullEntra, entra_server

pytest.importorskip("airflow.providers.microsoft.azure", reason="Airflow's own azure provider is not installed")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from airflow_provider_async.testing.msgraph import GraphServer

pytestmark = pytest.mark.filterwarnings("ignore")  # of the provider and of the libraries beneath

CASES: dict[str, dict[str, Any]] = {
    "a secret": {},
    "the older name of the tenant": {"extra": {"tenant_id": None, "tenantId": TENANT}},
    "beta": {"extra": {"api_version": "beta"}},
    "a base URL": {"extra": {"base_url": "ORIGIN/v1.0/myorg"}},
    "a base URL with a slash": {"extra": {"base_url": "ORIGIN/v1.0/myorg/"}},
    "scopes": {"extra": {"scopes": "https://analysis.windows.net/powerbi/api/.default"}},
    "allowed hosts": {"extra": {"allowed_hosts": "127.0.0.1,graph.example"}},
    "no verification": {"extra": {"verify": False}},
    "a certificate's file": {"certificate": "path"},
    "a certificate's text": {"certificate": "data"},
    "proxies that the hosts need none of": {"extra": {"proxies": {"http": "http://127.0.0.1:9", "no": "127.0.0.1,*"}}},
    "options of the form": {"extra": {"trust_env": False, "drive_id": "d", "disable_instance_discovery": True}},
}

CALLS: dict[str, dict[str, Any]] = {
    "a path": {"url": "users"},
    "a path with a slash": {"url": "/users"},
    "parameters": {"url": "users", "query_parameters": {"$top": 2, "$select": "id,displayName"}},
    "a parameter with blanks": {"url": "users", "query_parameters": {"$filter": "displayName eq 'User 1'"}},
    "a place for a name": {"url": "users/{user}", "path_parameters": {"user": "user1@contoso.com"}},
    "a post": {
        "url": "users",
        "method": "POST",
        "data": {"displayName": "Ada", "userPrincipalName": "ada@contoso.com"},
    },
    "nothing as an answer": {"url": "users/user0@contoso.com/sendMail", "method": "post", "data": {"message": {}}},
    "headers": {"url": "me", "headers": {"Prefer": "x", "ConsistencyLevel": "eventual"}},
    "a missing thing": {"url": "users/nobody"},
}


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return Certificate.make()


@pytest.fixture
async def entra(server: GraphServer, certificate: Certificate, tmp_path: Path) -> AsyncIterator[FullEntra]:
    async with entra_server(server.tokens, tls=certificate.context(tmp_path)) as running:
        running.certificate = certificate
        yield running


@pytest.fixture
def connect(
    server: GraphServer, entra: FullEntra, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Connection]:
    """Make a Connection, which Airflow's hook finds by its id."""

    def make(case: str) -> Connection:
        options = CASES[case]
        trusted = certificate.write(tmp_path)
        extra: dict[str, Any] = {"tenant_id": TENANT, "authority": f"127.0.0.1:{entra.port}", "verify": trusted}
        # Without it, theirs sends tokens to the authority alone.
        extra |= {"allowed_hosts": "127.0.0.1"} | options.get("extra", {})
        if options.get("certificate") == "path":
            extra |= {"certificate_path": trusted}
        elif options.get("certificate") == "data":
            extra |= {"certificate_data": certificate.pem.decode()}
        text = json.dumps({name: value for name, value in extra.items() if value is not None})
        given = Connection(
            conn_id="parity",
            conn_type="msgraph",
            host=f"127.0.0.1:{server.port}",
            schema="http",
            login=CLIENT_ID,
            password=None if "certificate" in options else SECRET,
            extra=text.replace("ORIGIN", server.origin),
        )
        monkeypatch.setenv("AIRFLOW_CONN_PARITY", given.as_json())
        return given

    return make


async def theirs(method: str, /, **call: Any) -> Any:  # noqa: ANN401 - of their hook
    from airflow.providers.microsoft.azure.hooks.msgraph import KiotaRequestAdapterHook

    hook = KiotaRequestAdapterHook(conn_id="parity")
    try:
        return await getattr(hook, method)(**call)
    except Exception as error:  # noqa: BLE001 - each library has errors of its own
        return type(error).__name__ if "ResourceNotFound" not in str(error) else "missing"
    finally:
        client = hook.cached_request_adapters.get("parity", (None, None))[1]
        await hook.close()
        if client is not None:
            transport = client._http_client._transport  # type: ignore[attr-defined]
            await transport.transport.aclose()


async def ours(connection: Connection, method: str, /, **call: Any) -> Any:  # noqa: ANN401 - as theirs
    try:
        return await getattr(AsyncMSGraphHook(connection=connection), method)(**call)
    except Exception as error:  # noqa: BLE001 - each library has errors of its own
        return type(error).__name__ if "ResourceNotFound" not in str(error) else "missing"


def told(server: GraphServer, entra: FullEntra) -> list[Any]:
    """Return what Entra and Graph were asked, and forget it."""
    forms = [{name: form.get(name) for name in ("client_id", "client_secret", "scope")} for form in entra.asked]
    names = ("content-type", "prefer", "consistencylevel")
    asked = [
        (one.method, one.version, one.path, one.query, {name: one.headers.get(name) for name in names}, one.body)
        for one in server.seen
    ]
    entra.asked.clear()
    server.seen.clear()
    return [forms, [(*one[:5], json.loads(one[5] or b"null")) for one in asked]]


@pytest.mark.parametrize("case", CASES)
async def test_both_ask_entra_and_graph_the_same(
    server: GraphServer, entra: FullEntra, connect: Callable[[str], Connection], case: str
) -> None:
    connection = connect(case)
    results = [await theirs("run", url="users")]
    expected = told(server, entra)
    results.append(await ours(connection, "run", url="users"))
    assert told(server, entra) == expected
    assert results[0] == results[1]
    assert expected[0]
    assert expected[1]


@pytest.mark.parametrize("call", CALLS)
async def test_both_send_the_same_request(
    server: GraphServer, entra: FullEntra, connect: Callable[[str], Connection], call: str
) -> None:
    connection = connect("a secret")
    results = [await theirs("run", **CALLS[call])]
    expected = told(server, entra)
    server.collection("users", make_users(5))
    results.append(await ours(connection, "run", **CALLS[call]))
    assert told(server, entra) == expected
    for result in results:
        for name in ("request-id", "date", "Date", "id"):
            if isinstance(result, dict):
                result.pop(name, None)
    if call == "nothing as an answer":
        results = [{name.lower(): value for name, value in result.items()} for result in results]
    assert results[0] == results[1]


async def test_both_return_the_same_pages(
    server: GraphServer, entra: FullEntra, connect: Callable[[str], Connection]
) -> None:
    connection = connect("a secret")
    server.collection("users", make_users(25))
    server.paging = Paging(10)
    call = {"url": "users", "query_parameters": {"$select": "id"}}
    expected = await theirs("paginated_run", **call)
    assert [len(page["value"]) for page in expected] == [10, 10, 5]
    assert await ours(connection, "paginated_run", **call) == expected


async def test_their_hook_goes_on_for_ever_where_a_link_is_relative(
    server: GraphServer, entra: FullEntra, connect: Callable[[str], Connection]
) -> None:
    """The reason for being of this one: what is known of theirs still holds."""
    connection = connect("a secret")
    server.collection("users", make_users(25))
    server.paging = Paging(10, link="from root")
    call = {"url": "users"}
    pages = await ours(connection, "paginated_run", **call)
    assert [row for page in pages for row in page["value"]] == make_users(25)
    server.seen.clear()
    running = asyncio.create_task(theirs("paginated_run", **call))
    async with asyncio.timeout(30):
        while len(server.seen) < 6 and not running.done():  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert len(server.seen) != 3
