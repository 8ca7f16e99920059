# SPDX-License-Identifier: Apache-2.0
"""What is read of a Connection, and what is refused with a sentence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.errors import InvalidConnection
from airflow_provider_async.http.options import bypasses
from airflow_provider_async.msgraph import AsyncMSGraphHook, MSGraphClientPool
from airflow_provider_async.msgraph.credentials import make_credential
from tests.http.conftest import scripted_server
from tests.msgraph.conftest import Fields, connection, make_pool

if TYPE_CHECKING:
    from airflow_provider_async.msgraph.connection import MSGraphOptions
    from airflow_provider_async.testing.msgraph import GraphServer


async def read(made: Fields | None = None, **extra: object) -> MSGraphOptions:
    made = made or Fields(login="id", password="pw")
    made.extra_dejson = {"tenant_id": "t", **extra}
    return await AsyncMSGraphHook(connection=made).read()


@pytest.mark.parametrize(
    ("made", "extra", "url"),
    [
        (Fields(), {}, "https://graph.microsoft.com/v1.0"),
        (Fields(host="graph.microsoft.us", schema="https"), {}, "https://graph.microsoft.us/v1.0"),
        (Fields(host="graph.microsoft.us"), {}, "https://graph.microsoft.us/v1.0"),
        (
            Fields(host="https://graph.microsoft.com", schema="https", port=443),
            {},
            "https://graph.microsoft.com:443/v1.0",
        ),
        (Fields(host="localhost", schema="http", port=8080), {}, "http://localhost:8080/v1.0"),
        (Fields(host="localhost:8080", schema="http", port=443), {}, "http://localhost:8080/v1.0"),
        (Fields(), {"api_version": "beta"}, "https://graph.microsoft.com/beta"),
        (Fields(), {"base_url": "https://api.powerbi.com/v1.0/myorg/"}, "https://api.powerbi.com/v1.0/myorg/"),
    ],
)
async def test_where_requests_go(made: Fields, extra: dict[str, object], url: str) -> None:
    made.login, made.password = "id", "pw"
    assert (await read(made, **extra)).http.base_url == url


async def test_code_wins_over_extras() -> None:
    made = Fields(host="x.example", login="id", password="pw")
    made.extra_dejson = {"tenant_id": "t", "api_version": "beta", "scopes": "a", "proxies": {"http": "http://p:1"}}
    hook = AsyncMSGraphHook(
        connection=made, api_version="v1.0", scopes=["b"], host="http://y.example", proxies={}, timeout=5
    )
    options = await hook.read()
    assert (options.http.base_url, options.scopes, options.http.proxies) == ("http://y.example/v1.0", ("b",), {})
    assert (options.http.connect_seconds, options.http.read_seconds) == (5, 5)


async def test_limits_and_lists_stand_in_extras() -> None:
    options = await read(
        allowed_hosts="a.example, b.example:8443", scopes=["x/.default"], max_concurrency="7", rate=3, drive_id="d"
    )
    assert options.http.allowed_hosts == ("a.example", "b.example:8443")
    assert options.scopes == ("x/.default",)
    assert (options.http.max_concurrency, options.http.rate) == (7, 3)


@pytest.mark.parametrize(
    "proxies",
    ['{"http": "http://p:1", "no": "a"}', "{'http': 'http://p:1', 'no': 'a'}", {"http": "http://p:1", "no": "a"}],
)
async def test_proxies_are_an_object_or_a_text_of_one(proxies: object) -> None:
    assert (await read(proxies=proxies)).http.proxies == {"http": "http://p:1", "no": "a"}


@pytest.mark.parametrize(
    ("host", "is_direct"),
    [("a.example", True), ("x.a.example:80", True), ("b.c.example", True), ("c.example", True), ("d.example", False)],
)
def test_hosts_without_a_proxy(host: str, is_direct: bool) -> None:
    assert bypasses({"no": "a.example, *.c.example", "http": "http://p:1"}, host) is is_direct
    assert not bypasses({"http": "http://p:1"}, host)


async def test_a_proxy_is_asked_unless_the_host_needs_none(server: GraphServer) -> None:
    async with scripted_server() as proxy:
        for no, number in (("other.example", 1), ("127.0.0.1", 0)):
            proxy.requests.clear()
            made = connection(server)
            made.extra_dejson = {"proxies": {"http": proxy.url, "no": no}}
            async with make_pool(server, connection=made) as pool:
                # The proxy knows no path.
                await asyncio.gather(pool.get("me"), return_exceptions=True)
            assert len(proxy.requests) == number
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("made", "extra", "sentence"),
    [
        (Fields(password="pw"), {}, "login is missing: it is the client id"),
        (Fields(login="id"), {}, "password is missing: it is the client secret; without one, give certificate_path"),
        (Fields(login="id", password="pw"), {"tenant_id": None}, "extra tenant_id is missing"),
        (Fields(login="id"), {"credential": "certificate"}, "extra certificate_path is missing"),
        (Fields(), {"credential": "password"}, "extra credential must be one of client_secret, certificate"),
        (Fields(host="ftp://x"), {}, "host must be a URL of http or https, not 'ftp'"),
        (Fields(host="https://me:topsecret@x"), {}, "host has a login in it"),
        (Fields(), {"base_url": "nowhere"}, "extra base_url must be a URL of http or https"),
        (Fields(), {"proxies": "http://me:topsecret@p"}, "extra proxies must be an object"),
        (
            Fields(),
            {"proxies": {"http": "socks5://me:topsecret@p"}},
            "extra proxies must give an http:// URL for 'http'",
        ),
        (Fields(), {"authority": "http://login.example"}, "extra authority must be a host, or a URL of https"),
        (Fields(), {"verify": 3}, "extra verify must be true or false, not 3"),
        (Fields(), {"scopes": 3}, "extra scopes must be a list of names"),
    ],
)
async def test_what_cannot_be_used_is_refused_early(made: Fields, extra: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidConnection, match=r"Connection 'msgraph_test': ") as caught:
        await read(made, **extra)
    assert sentence in str(caught.value)
    assert "topsecret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_concurrency": 0}, "max_concurrency must be at least 1, or 'auto', not 0"),
        ({"max_body_bytes": 0}, "max_body_bytes must be at least 1, not 0"),
        ({"timeout": 0}, "timeout must be above zero, not 0"),
        ({"total_timeout": -1}, "total_timeout must be above zero, not -1"),
        ({"rate": (10, 0)}, "rate must be above zero, not 0"),
        ({"allowed_hosts": "host"}, "allowed_hosts is one text"),
    ],
)
def test_an_impossible_argument_is_refused_at_once(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        MSGraphClientPool(**options)


async def test_no_secret_is_shown(server: GraphServer) -> None:
    options = await read(Fields(login="id", password="topsecret"), certificate_data="topsecret too")
    assert "topsecret" not in repr(options)
    pool = make_pool(server)
    assert repr(pool) == "<MSGraphClientPool('msgraph_default'): not open>"


async def test_a_file_without_a_certificate_is_refused(tmp_path: Any) -> None:  # noqa: ANN401 - a path
    (tmp_path / "empty.pem").write_text("nothing")
    for path in ("empty.pem", "missing.pem"):
        options = await read(Fields(login="id"), certificate_path=str(tmp_path / path))
        with pytest.raises(InvalidConnection, match="credential certificate cannot be used: "):
            make_credential(options.identity)
