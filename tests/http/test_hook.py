# SPDX-License-Identifier: Apache-2.0
"""The hook, and connections that need more than a host: TLS, proxies."""

from __future__ import annotations

import asyncio
import base64
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

from airflow_provider_async.errors import InvalidConnection, UnsafeURL
from airflow_provider_async.http import AsyncHTTPHook, Bearer, HTTPClientPool
from tests.http.conftest import Fields, ScriptedServer, answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


async def test_a_client_sends_what_the_connection_says_and_closes_at_the_end(server: ScriptedServer) -> None:
    server.on("/x", answer("[1]"))
    hook = AsyncHTTPHook(connection=Fields(server.url, login="me", password="pw"))
    async with hook.connect() as client:
        assert await client.get_json("x") == [1]
        assert [line async for line in client.stream("x").lines()] == ["[1]"]
    assert server.requests[0].headers["authorization"].startswith("Basic ")


async def test_a_connection_is_read_once_by_its_id(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    async def get_connection(conn_id: str) -> Fields:
        asked.append(conn_id)
        return Fields(server.url)

    connections = type(sys)("airflow_provider_async.runtime.connections")
    monkeypatch.setattr(connections, "get_connection", get_connection, raising=False)
    monkeypatch.setitem(sys.modules, connections.__name__, connections)
    hook = AsyncHTTPHook("partner")
    await hook.read()
    assert (await hook.read()).base_url == server.url
    assert asked == ["partner"]


def test_the_test_of_a_connection_works_without_an_event_loop() -> None:
    succeeded, message = AsyncHTTPHook(connection=Fields("127.0.0.1", port=1)).test_connection()
    assert not succeeded
    assert message.startswith("GET http://127.0.0.1:1")
    assert AsyncHTTPHook(connection=Fields("ftp://x")).test_connection() == (
        False,
        "Connection 'http_test': host must be a URL of http or https, not 'ftp'",
    )


async def test_the_test_of_a_connection_works_beside_an_event_loop(server: ScriptedServer) -> None:
    server.on("/", answer("ok"))
    hook = AsyncHTTPHook(connection=Fields(server.url))
    assert await asyncio.to_thread(hook.test_connection) == (True, "Connection successfully tested")


def test_importing_the_package_imports_no_library_of_the_protocol() -> None:
    code = (
        "import sys, airflow_provider_async.http as http; http.HTTPClientPool('x'); http.AsyncHTTPHook('y'); "
        "print(sorted({'aiohttp', 'airflow', 'msgspec', 'tenacity', 'asyncssh'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# TLS.


@pytest.fixture
def certificate(tmp_path: Path, require_program: Callable[[str], str]) -> tuple[str, str]:
    """The files of a certificate for 127.0.0.1 and of its key."""
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    options = [
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    files = ["-keyout", key, "-out", certificate]
    subprocess.run([require_program("openssl"), "req", *options, *files], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
async def tls_server(certificate: tuple[str, str]) -> AsyncIterator[ScriptedServer]:
    """A server that shows a certificate, and asks for one that it knows if it is shown any."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate[0])
    context.load_cert_chain(*certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    server = ScriptedServer()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        server.cut()


async def get(server: ScriptedServer, **extras: object) -> bytes:
    server.on("/", answer("ok"))
    fields = Fields(f"https://127.0.0.1:{server.port}", extra_dejson=extras)
    async with HTTPClientPool(connection=fields) as pool:
        return (await pool.request("GET", "/")).body


async def test_a_certificate_is_checked_unless_the_connection_says_otherwise(
    tls_server: ScriptedServer, certificate: tuple[str, str]
) -> None:
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await get(tls_server)
    assert await get(tls_server, verify=False) == b"ok"
    assert await get(tls_server, verify_ssl="false") == b"ok"
    assert await get(tls_server, verify=certificate[0]) == b"ok"
    assert await get(tls_server, verify=certificate[0], cert=list(certificate)) == b"ok"
    assert tls_server.requests[-1].peer_certificate


async def test_a_missing_file_is_refused_on_the_first_use_of_the_pool(tls_server: ScriptedServer) -> None:
    with pytest.raises(InvalidConnection, match=r"extra verify or cert names a file that cannot be used: .*/no/such"):
        await get(tls_server, verify="/no/such")


async def test_a_login_does_not_go_from_https_to_http(tls_server: ScriptedServer, server: ScriptedServer) -> None:
    tls_server.on("/", answer(status=302, headers={"Location": f"{server.url}/there"}))
    server.on("/there", answer("ok"))
    fields = Fields(f"https://127.0.0.1:{tls_server.port}", extra_dejson={"verify": False})
    async with HTTPClientPool(connection=fields, auth=Bearer("token")) as pool:
        with pytest.raises(UnsafeURL, match="from https to http, with a login"):
            await pool.request("GET", "/")
    assert server.requests == []
    async with HTTPClientPool(connection=fields) as pool:
        assert (await pool.request("GET", "/")).body == b"ok"


# Proxies.


async def test_a_proxy_is_asked_with_its_own_login(server: ScriptedServer) -> None:
    server.handle("http://nowhere.invalid/x", lambda _: answer("through"))
    proxy = server.url.replace("//", "//me:p%40ss@")
    fields = Fields("http://nowhere.invalid", extra_dejson={"proxies": {"http": proxy}})
    async with HTTPClientPool(connection=fields, auth=Bearer("token")) as pool:
        assert (await pool.request("GET", "x")).body == b"through"
    (request,) = server.requests
    assert request.headers["proxy-authorization"] == f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    assert request.headers["authorization"] == "Bearer token"


async def test_proxies_of_the_environment_count_unless_the_connection_says_otherwise(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.handle("http://nowhere.invalid/x", lambda _: answer("through"))
    server.on("/x", answer("direct"))
    async with HTTPClientPool(None, base_url="http://nowhere.invalid") as pool:
        assert (await pool.request("GET", "x")).body == b"through"
    async with HTTPClientPool(None, base_url=server.url) as pool:
        assert (await pool.request("GET", "x")).body == b"direct"
    async with HTTPClientPool(connection=Fields("nowhere.invalid", extra_dejson={"trust_env": False})) as pool:
        with pytest.raises(OSError, match="nowhere"):
            await pool.request("GET", "x")
