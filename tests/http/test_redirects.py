# SPDX-License-Identifier: Apache-2.0
"""Redirects over real sockets, and who gets a login."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import (
    HTTPStatusError,
    UnsafeURL,
)
from airflow_provider_async.http import ApiKey, Basic, Bearer, HTTPClientPool
from tests.http.conftest import SOON, Fields, answer

if TYPE_CHECKING:
    from tests.http.conftest import ScriptedServer

ONCE = Retry(attempts=1)


# Redirects.


async def test_redirects_are_followed_with_the_method_that_they_ask_for(
    server: ScriptedServer, pool: HTTPClientPool
) -> None:
    server.on("/end", answer("end"))
    for status in (301, 302, 303, 307, 308):
        server.on(f"/{status}", answer(status=status, headers={"Location": "/end?x=%2F"}))
        response = await pool.request("POST", str(status), data=b"body")
        assert (response.body, response.url) == (b"end", f"{server.url}/end?x=%2F")
        last = server.requests[-1]
        assert (last.method, last.body) == (("GET", b"") if status < 304 else ("POST", b"body"))
        assert last.target == "/end?x=%2F"


async def test_redirects_that_never_end_are_an_error(server: ScriptedServer, pool: HTTPClientPool) -> None:
    server.on("/", answer(status=302, headers={"Location": "/"}))
    with pytest.raises(UnsafeURL, match="more than 10 redirects"):
        await pool.request("GET", "/")


async def test_redirects_are_left_alone_where_the_connection_says_so(server: ScriptedServer) -> None:
    server.on("/", answer(status=302, headers={"Location": "/other"}))
    async with HTTPClientPool(connection=Fields(server.url, extra_dejson={"allow_redirects": False})) as pool:
        assert (await pool.request("GET", "/")).status == 302


@pytest.mark.parametrize(
    "auth",
    [
        Basic("me", "topsecret"),
        Bearer("topsecret"),
        ApiKey("topsecret", header="X-Key"),
        ApiKey("topsecret", query="k"),
    ],
)
async def test_a_login_never_leaves_its_origin(
    server: ScriptedServer,
    other_server: ScriptedServer,
    auth: Any,  # noqa: ANN401 - of several types
) -> None:
    server.on("/", answer(status=307, headers={"Location": f"{other_server.url}/there"}))
    other_server.on("/there", answer(status=307, headers={"Location": f"{server.url}/back"}))
    server.on("/back", answer("ok"))
    fields = Fields(server.url, extra_dejson={"X-Tenant": "topsecret"})
    async with HTTPClientPool(connection=fields, auth=auth) as pool:
        await pool.request("GET", "/", headers={"X-Mine": "topsecret", "Accept": "x/y", "Cookie": "topsecret"})
        await pool.request("GET", f"{other_server.url}/there")

    told = [f"{request.target} {sorted(request.headers.items())}" for request in other_server.requests]
    assert len(told) == 2
    assert "topsecret" not in str(told)
    assert "x/y" in told[0]
    # Nor does whoever was led to lead back with it.
    assert "topsecret" not in str([server.requests[1].target, server.requests[1].headers])


async def test_a_login_goes_to_hosts_that_are_allowed_by_name(
    server: ScriptedServer, other_server: ScriptedServer
) -> None:
    server.on("/", answer(status=307, headers={"Location": f"{other_server.url}/there"}))
    other_server.on("/there", answer("ok"))
    allowed = [f"127.0.0.1:{other_server.port}"]
    async with HTTPClientPool(None, base_url=server.url, auth=Bearer("token"), allowed_hosts=allowed) as pool:
        await pool.request("GET", "/")
        await pool.request("GET", f"{other_server.url}/there")
    assert [request.headers.get("authorization") for request in other_server.requests] == ["Bearer token"] * 2


async def test_a_refusal_after_a_redirect_says_that_the_login_was_left_behind(
    server: ScriptedServer, other_server: ScriptedServer
) -> None:
    server.on("/", answer(status=302, headers={"Location": f"{other_server.url}/there"}))
    other_server.on("/there", answer(status=403))
    async with HTTPClientPool(None, base_url=server.url, auth=Bearer("token")) as pool:
        with pytest.raises(
            HTTPStatusError, match=r"403 Reason after a redirect to http://127.0.0.1, which gets no login"
        ):
            await pool.request("GET", "/")


@pytest.mark.parametrize("location", ["ftp://host/x", "http://", "http://[bad"])
async def test_a_redirect_to_nowhere_is_an_error(server: ScriptedServer, pool: HTTPClientPool, location: str) -> None:
    server.on("/", answer(status=302, headers={"Location": location}))
    with pytest.raises(UnsafeURL, match="a redirect leads to"):
        await pool.request("GET", "/")


# Nothing that is secret is told.


async def test_no_error_and_no_log_tells_a_secret(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    secrets = ("k/e+y=topsecret", "hdr-topsecret", "sig-topsecret")
    echo = json.dumps({"you sent": secrets, "padding": "x" * 1000})
    server.handle("/fail", lambda request: answer(f"{request.target} {dict(request.headers)} {echo}", status=400))
    server.on("/cut", answer("x", length=2))
    server.on("/json", answer(echo[:-1]))
    server.on("/loop", answer(status=302, headers={"Location": "/loop?token=sig-topsecret"}))
    fields = Fields(server.url, extra_dejson={"X-Auth": secrets[1]})
    with caplog.at_level(logging.DEBUG):
        async with HTTPClientPool(connection=fields, auth=ApiKey(secrets[0], query="api_key"), retry=SOON) as pool:
            for path in ("fail", "cut", "json", "loop"):
                with pytest.raises(Exception) as caught:  # noqa: PT011 - of several types
                    await pool.get_json(f"{path}?sig=sig-topsecret&page=2")
                error: BaseException | None = caught.value
                text = f"{error!r} {error} {getattr(error, 'body', '')} {getattr(error, 'url', '')}"
                # What the server echoes of a value that it alone calls secret is not known here.
                assert "k%2Fe" not in text
                for secret in secrets[:2]:
                    assert secret not in text
                assert "page=2" in text
                assert error is not None
                assert error.__cause__ is None
                assert error.__suppress_context__ or error.__context__ is None
            assert "topsecret" not in repr(pool)
    assert "topsecret" not in caplog.text
