# SPDX-License-Identifier: Apache-2.0
"""azure-identity gets its tokens over TLS; a pool asks for one at a time, ahead of its end, and once when refused."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import ConnectionFailed, GraphError, InvalidConnection, PoolConnectError
from airflow_provider_async.msgraph import AsyncMSGraphHook, MSGraphClientPool
from airflow_provider_async.msgraph.credentials import GraphToken
from tests.http.conftest import until
from tests.msgraph.conftest import SOON, FakeCredential, Fields, make_pool
from tests.msgraph.server_entra import CLIENT_ID, SECRET, TENANT, Certificate, FullEntra, entra_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from airflow_provider_async.testing.msgraph import GraphServer


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return Certificate.make()


@pytest.fixture
async def entra(server: GraphServer, certificate: Certificate, tmp_path: Path) -> AsyncIterator[FullEntra]:
    async with entra_server(server.tokens, tls=certificate.context(tmp_path)) as running:
        yield running


@pytest.fixture
def trusted(certificate: Certificate, tmp_path: Path) -> str:
    """The file by which the certificate of Entra is known."""
    return certificate.write(tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """azure-core's own attempts wait for seconds."""

    async def no_wait(*_: object, **__: object) -> None:
        pass

    monkeypatch.setattr("azure.core.pipeline.policies.AsyncRetryPolicy.sleep", no_wait)


def fields(server: GraphServer, entra: FullEntra, trusted: str, **changes: Any) -> Fields:  # noqa: ANN401 - fields
    extras = {"tenant_id": TENANT, "authority": entra.authority, "verify": trusted, "disable_instance_discovery": True}
    made = Fields(host=f"127.0.0.1:{server.port}", schema="http", login=CLIENT_ID, password=SECRET)
    made.extra_dejson = extras | changes.pop("extra", {})
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@asynccontextmanager
async def opened(connection: Fields, **options: Any) -> AsyncIterator[MSGraphClientPool]:  # noqa: ANN401 - the pool's
    async with MSGraphClientPool(connection=connection, **{"retry": SOON, **options}) as pool:
        yield pool


async def test_a_client_secret_gets_one_token_for_many_requests(
    server: GraphServer, entra: FullEntra, trusted: str
) -> None:
    async with opened(fields(server, entra, trusted)) as pool:
        await asyncio.gather(*(pool.get("users") for _ in range(50)))
    (form,) = entra.asked
    assert form["client_secret"] == SECRET
    assert form["scope"] == "https://graph.microsoft.com/.default"


async def test_a_certificate_gets_a_token(
    server: GraphServer, entra: FullEntra, trusted: str, tmp_path: Path, certificate: Certificate
) -> None:
    entra.certificate = certificate
    path = {"certificate_path": trusted}
    async with opened(fields(server, entra, trusted, password=None, extra=path)) as pool:
        assert await pool.get("me")
    data = {"certificate_data": certificate.pem.decode()}
    async with opened(fields(server, entra, trusted, password=None, extra=data)) as pool:
        assert await pool.get("me")
    entra.certificate = Certificate.make(password="p4ss")
    (tmp_path / "locked.pem").write_bytes(entra.certificate.pem)
    path = {"certificate_path": str(tmp_path / "locked.pem")}
    async with opened(fields(server, entra, trusted, password="p4ss", extra=path)) as pool:
        assert await pool.get("me")
    assert all("client_assertion" in form for form in entra.asked)
    with pytest.raises(InvalidConnection, match="credential certificate cannot be used") as caught:
        async with opened(fields(server, entra, trusted, password="wr0ng", extra=path)) as pool:
            await pool.get("me")
    assert "wr0ng" not in str(caught.value)


async def test_a_workload_shows_the_token_of_its_platform(
    server: GraphServer, entra: FullEntra, trusted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entra.assertion = "token of the platform"
    (tmp_path / "token").write_text(entra.assertion)
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    extra = {"credential": "workload_identity"}
    async with opened(fields(server, entra, trusted, password=None, extra=extra)) as pool:
        assert await pool.get("me")
    # DefaultAzureCredential looks for a workload's authority here alone.
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", entra.authority)
    monkeypatch.setenv("AZURE_TENANT_ID", TENANT)
    monkeypatch.setenv("AZURE_CLIENT_ID", CLIENT_ID)
    extra = {"credential": "default", "tenant_id": ""}
    async with opened(fields(server, entra, trusted, login=None, password=None, extra=extra)) as pool:
        assert await pool.get("me")
    assert [form["client_assertion"] for form in entra.asked] == [entra.assertion] * 2


async def test_a_machine_has_an_identity(server: GraphServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with entra_server(server.tokens) as machine:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{machine.authority}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", machine.identity_header)
        made = Fields(host=f"127.0.0.1:{server.port}", schema="http", login=CLIENT_ID)
        made.extra_dejson = {"credential": "managed_identity"}
        async with opened(made) as pool:
            assert await pool.get("me")
    (query,) = machine.asked
    assert (query["resource"], query["client_id"]) == ("https://graph.microsoft.com", CLIENT_ID)


async def test_any_credential_may_be_given_and_is_left_open(server: GraphServer) -> None:
    credential = FakeCredential(server.tokens)
    async with make_pool(server, credential=credential, scopes="https://example.com/.default") as pool:
        await pool.get("me")
    assert (credential.asked, credential.closed) == (1, False)
    for wrong in ("token", object()):
        with pytest.raises(TypeError, match="get_token"):
            make_pool(server, credential=wrong)

    class Blocking:
        def get_token(self, *scopes: str) -> AccessToken:
            return AccessToken("token", 0)

    async with make_pool(server, credential=Blocking()) as pool:
        with pytest.raises(TypeError, match=r"Blocking is not async; take it from azure\.identity\.aio"):
            await pool.get("me")


async def test_a_token_is_replaced_ahead_of_its_end_by_one_request_alone(
    server: GraphServer, entra: FullEntra, trusted: str
) -> None:
    options = await AsyncMSGraphHook(connection=fields(server, entra, trusted)).read()
    now = 0.0
    token = GraphToken(options.scopes, identity=options.identity, clock=lambda: now)

    async def post(*_: object) -> dict[str, object]:
        raise AssertionError

    first = await token.fetch(post)
    assert token.ready() is first
    # Entra's tokens live for an hour here; the pool asks five minutes before the end.
    now = 3298.0
    assert token.ready() is first
    now = 3302.0
    assert token.ready() is None
    server.tokens.lifetime_seconds = 7200.0
    # azure-identity would give the one that it keeps: by its own clock no time has passed.
    token._was_refused = True
    entra.gate = asyncio.Event()
    renewal = asyncio.create_task(token.fetch(post))
    await until(lambda: len(entra.asked) == 2)
    # Meanwhile, the others go on with the old one.
    assert token.ready() is first
    entra.gate.set()
    assert await renewal != first
    assert token.ready() == await renewal
    await token.close()


async def test_a_token_that_graph_refuses_is_replaced_once(server: GraphServer, entra: FullEntra, trusted: str) -> None:
    async with opened(fields(server, entra, trusted), max_concurrency=8) as pool:
        await pool.get("me")
        server.tokens.revoke()
        await asyncio.gather(*(pool.get("me") for _ in range(8)))
        assert len(entra.asked) == 2
        server.tokens.is_good = lambda _: False  # type: ignore[assignment, method-assign]
        server.seen.clear()
        with pytest.raises(GraphError, match="401 InvalidAuthenticationToken"):
            await pool.get("me")
        assert len(server.seen) == 2


async def test_a_refused_login_is_told_without_the_secret_and_not_tried_again(
    server: GraphServer, entra: FullEntra, trusted: str
) -> None:
    async with opened(fields(server, entra, trusted, password="wr0ng~secret")) as pool:
        errors = await asyncio.gather(*(pool.get("me") for _ in range(3)), return_exceptions=True)
        errors += await asyncio.gather(pool.get("me"), return_exceptions=True)
    for error in errors:
        assert isinstance(error, PoolConnectError)
        assert str(error).startswith("MSGraphClientPool('msgraph_default'): no token was given: ")
        assert "AADSTS7000215" in str(error)
        assert "wr0ng" not in f"{error!r} {error.__cause__!r}"
    assert len(entra.asked) == 1
    assert server.seen == []


@pytest.mark.usefixtures("impatient")
async def test_entra_that_fails_for_now_is_asked_again(server: GraphServer, entra: FullEntra, trusted: str) -> None:
    entra.faults = [503] * 5
    async with opened(fields(server, entra, trusted)) as pool:
        assert await pool.get("me")
        entra.faults = [503] * 100
        pool.sender._auth.refused(pool.sender._auth.ready())  # type: ignore[arg-type]
        with pytest.raises(ConnectionFailed, match=r"asking for a token failed: .*AADSTS90033"):
            await pool.request("GET", "me", retry=Retry(attempts=1))


@pytest.mark.usefixtures("impatient")
async def test_an_authority_that_proves_nothing_is_not_trusted(
    server: GraphServer, entra: FullEntra, trusted: str
) -> None:
    made = fields(server, entra, trusted, extra={"verify": True})
    async with opened(made, retry=Retry(attempts=1)) as pool:
        with pytest.raises(ConnectionFailed, match=r"(?i)certificate"):
            await pool.get("me")
    assert entra.asked == []
    async with opened(fields(server, entra, trusted, extra={"verify": False})) as pool:
        assert await pool.get("me")


async def test_the_token_is_of_the_national_cloud_that_the_host_is_of() -> None:
    made = Fields(host="graph.microsoft.us", login="id", password="pw", extra_dejson={"tenant_id": "t"})
    options = await AsyncMSGraphHook(connection=made).read()
    assert options.scopes == ("https://graph.microsoft.us/.default",)
    assert options.identity.authority == "login.microsoftonline.us"
    made.extra_dejson = {"tenant_id": "t", "scopes": "a/.default, b/.default", "authority": "login.example"}
    options = await AsyncMSGraphHook(connection=made).read()
    assert (options.scopes, options.identity.authority) == (("a/.default", "b/.default"), "login.example")


@pytest.mark.skipif(aiohttp.__version__.startswith("3.10."), reason="this aiohttp leaves a socket of TLS unclosed")
async def test_entra_is_found_by_the_synchronous_client_too(entra: FullEntra, trusted: str) -> None:
    """The server is not merely our own reading: msal looks up the authority before it asks."""
    from azure.identity import ClientSecretCredential

    def ask() -> str:
        with ClientSecretCredential(
            TENANT,
            CLIENT_ID,
            SECRET,
            authority=entra.authority,
            disable_instance_discovery=True,
            connection_verify=trusted,
        ) as credential:
            return credential.get_token("https://graph.microsoft.com/.default").token

    assert entra.tokens.is_good(await asyncio.to_thread(ask))
    assert len(entra.asked) == 1
    assert entra.discovered == [f"/{TENANT}/v2.0/.well-known/openid-configuration"]


async def test_an_answer_that_is_none_of_entras_refuses_nothing(server: GraphServer) -> None:
    class BehindAProxy(FakeCredential):
        async def get_token(self, *scopes: str, **options: Any) -> AccessToken:  # noqa: ANN401 - of azure-core
            self.asked += 1
            if self.asked == 1:
                raise ClientAuthenticationError("Unexpected response from Microsoft Entra ID: <html>")
            return await super().get_token(*scopes, **options)

    async with make_pool(server, credential=BehindAProxy(server.tokens)) as pool:
        with pytest.raises(ConnectionFailed, match="asking for a token failed: Unexpected response"):
            await pool.request("GET", "me", retry=Retry(attempts=1))
        assert await pool.get("me")
