# SPDX-License-Identifier: Apache-2.0
"""What proves who asks, and above all tokens that expire, against a server that gives and checks them."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from airflow_provider_async.errors import HTTPStatusError, InvalidBody
from airflow_provider_async.http import ApiKey, Auth, Basic, Bearer, HTTPClientPool, OAuth2ClientCredentials
from tests.http.conftest import SOON, Fields, answer, until

if TYPE_CHECKING:
    from tests.http.conftest import Request, ScriptedServer


class Tokens:
    """Gives tokens one after the other, and takes the newest alone."""

    def __init__(self, server: ScriptedServer, *, expires_in: object = 3600) -> None:
        self.expires_in = expires_in
        self.given = 0
        self.asked: list[Request] = []
        self.served = 0
        self.gate: asyncio.Event | None = None
        server.handle("/token", self.token)
        server.handle("/api", self.api)

    async def token(self, request: Request) -> bytes:
        self.asked.append(request)
        if self.gate is not None:
            await self.gate.wait()
        self.given += 1
        expires = "" if self.expires_in is None else f', "expires_in": {self.expires_in}'
        return answer(f'{{"access_token": "token-{self.given}", "token_type": "Bearer"{expires}}}')

    async def api(self, request: Request) -> bytes:
        if request.headers.get("authorization") != f"Bearer token-{self.given}":
            return answer("no", status=401)
        self.served += 1
        return answer("{}")


def credentials(server: ScriptedServer, **options: object) -> OAuth2ClientCredentials:
    options = {"client_id": "me", "client_secret": "topsecret", **options}
    return OAuth2ClientCredentials(f"{server.url}/token", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (Basic("me", "p:w"), "authorization", f"Basic {base64.b64encode(b'me:p:w').decode()}"),
        (Basic("mé", "pw"), "authorization", f"Basic {base64.b64encode('mé:pw'.encode('latin-1')).decode()}"),
        (Basic("m€", "pw"), "authorization", f"Basic {base64.b64encode('m€:pw'.encode()).decode()}"),
        (Bearer("abc"), "authorization", "Bearer abc"),
        (ApiKey("abc", header="X-API-Key"), "x-api-key", "abc"),
        (Basic(), "authorization", f"Basic {base64.b64encode(b'conn-login:conn-secret').decode()}"),
        (Bearer(), "authorization", "Bearer conn-secret"),
        (ApiKey(header="X-API-Key"), "x-api-key", "conn-secret"),
        (None, "authorization", f"Basic {base64.b64encode(b'conn-login:conn-secret').decode()}"),
    ],
)
async def test_a_login_stands_in_a_header(server: ScriptedServer, auth: Auth | None, header: str, value: str) -> None:
    server.on("/", answer())
    fields = Fields(server.url, login="conn-login", password="conn-secret")
    async with HTTPClientPool(connection=fields, auth=auth) as pool:
        await pool.request("GET", "/")
    assert server.requests[0].headers[header] == value
    assert "secret" not in repr(auth)


async def test_a_key_stands_in_the_query_once_and_in_no_url_that_is_told(server: ScriptedServer) -> None:
    server.on("/x", answer())
    async with HTTPClientPool(None, base_url=server.url, auth=ApiKey("a/b", query="key")) as pool:
        response = await pool.request("GET", "x?page=2&key=old")
    assert server.paths() == ["/x?page=2&key=a/b"]
    assert response.url == f"{server.url}/x?page=2"


async def test_a_function_makes_headers_for_each_request(server: ScriptedServer) -> None:
    server.on("/", answer())
    numbers = iter(range(10))

    async def make() -> dict[str, str]:
        return {"X-Signed": f"signature-{next(numbers)}"}

    async with HTTPClientPool(None, base_url=server.url, auth=make) as pool:
        for _ in range(2):
            await pool.request("GET", "/")
    async with HTTPClientPool(None, base_url=server.url, auth=lambda: {"X-Signed": "at once"}) as pool:
        await pool.request("GET", "/")
    assert [request.headers["x-signed"] for request in server.requests] == ["signature-0", "signature-1", "at once"]


def test_a_key_goes_to_one_place() -> None:
    for options in ({}, {"header": "a", "query": "b"}):
        with pytest.raises(ValueError, match="either header"):
            ApiKey("x", **options)
    with pytest.raises(ValueError, match="credentials_in"):
        OAuth2ClientCredentials("https://x", credentials_in="cookie")


@pytest.mark.parametrize("auth", [Bearer(), ApiKey(query="k"), OAuth2ClientCredentials("https://x")])
async def test_what_neither_code_nor_connection_gives_is_missed_early(auth: Auth) -> None:
    with pytest.raises(ValueError, match=r"give it, or a (login|password) in the Connection"):
        async with HTTPClientPool(connection=Fields("h"), auth=auth):
            pytest.fail("entered")


# Tokens.


async def test_a_token_is_asked_for_once_however_many_need_it(server: ScriptedServer) -> None:
    tokens = Tokens(server)
    auth = credentials(server, scope="a b", parameters={"audience": "x"})
    async with HTTPClientPool(None, base_url=server.url, auth=auth) as pool:
        await asyncio.gather(*(pool.get_json("api") for _ in range(50)))
    (asked,) = tokens.asked
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["client_credentials"],
        "scope": ["a b"],
        "audience": ["x"],
    }
    assert asked.headers["authorization"] == f"Basic {base64.b64encode(b'me:topsecret').decode()}"
    assert tokens.served == 50


async def test_id_and_secret_are_sent_in_the_body_where_that_is_asked_for(server: ScriptedServer) -> None:
    tokens = Tokens(server)
    fields = Fields(server.url, login="conn-id", password="conn-secret", extra_dejson={"X-A": "1"})
    auth = OAuth2ClientCredentials(f"{server.url}/token", credentials_in="body")
    async with HTTPClientPool(connection=fields, auth=auth) as pool:
        await pool.get_json("api")
    form = parse_qs(tokens.asked[0].body.decode())
    assert (form["client_id"], form["client_secret"]) == (["conn-id"], ["conn-secret"])
    assert not {"authorization", "x-a"} & set(tokens.asked[0].headers)


async def test_a_token_is_replaced_ahead_of_its_end_by_one_alone_while_others_go_on(server: ScriptedServer) -> None:
    now = [0.0]
    tokens = Tokens(server, expires_in="100")
    async with HTTPClientPool(None, base_url=server.url, auth=credentials(server, clock=lambda: now[0])) as pool:
        await pool.get_json("api")
        now[0] = 89
        await pool.get_json("api")
        assert tokens.given == 1
        now[0] = 91
        tokens.gate = asyncio.Event()
        first = asyncio.create_task(pool.get_json("api"))
        await until(lambda: len(tokens.asked) == 2)
        # The server still takes the old one.
        await asyncio.gather(*(pool.get_json("api") for _ in range(10)))
        assert len(tokens.asked) == 2
        tokens.gate.set()
        await first
        now[0] = 91 + 50
        await pool.get_json("api")
    assert tokens.given == 2
    assert tokens.served == 2 + 10 + 2


async def test_an_old_token_serves_while_no_new_one_can_be_had(server: ScriptedServer) -> None:
    now = [0.0]
    tokens = Tokens(server, expires_in=100)
    async with HTTPClientPool(
        None, base_url=server.url, auth=credentials(server, clock=lambda: now[0]), retry=SOON
    ) as pool:
        await pool.get_json("api")
        server.on("/token", answer("down", status=400))
        now[0] = 95
        for _ in range(3):
            await pool.get_json("api")
        now[0] = 101
        with pytest.raises(HTTPStatusError, match=r"POST .*/token was answered with 400"):
            await pool.get_json("api")
    assert tokens.served == 4
    assert server.paths().count("/token") == 3


async def test_a_token_that_is_refused_is_replaced_once(server: ScriptedServer) -> None:
    tokens = Tokens(server, expires_in=None)
    async with HTTPClientPool(None, base_url=server.url, auth=credentials(server)) as pool:
        await pool.get_json("api")
        tokens.given = 10  # the one that was given is not valid any more
        await asyncio.gather(*(pool.request("POST", "api") for _ in range(10)))
        assert len(tokens.asked) == 2
        server.on("/api", answer("never", status=401))
        with pytest.raises(HTTPStatusError, match="401"):
            await pool.get_json("api")
    assert len(tokens.asked) == 3


async def test_a_caller_that_is_cancelled_while_it_asks_leaves_the_asking_to_the_next(server: ScriptedServer) -> None:
    tokens = Tokens(server)
    tokens.gate = asyncio.Event()
    async with HTTPClientPool(None, base_url=server.url, auth=credentials(server)) as pool:
        first, second = (asyncio.create_task(pool.get_json("api")) for _ in range(2))
        await until(lambda: tokens.asked)
        first.cancel()
        tokens.gate.set()
        assert await second == {}


async def test_a_busy_token_server_is_asked_again(server: ScriptedServer) -> None:
    Tokens(server)
    server.on("/token", answer(status=503), answer('{"access_token": "token-0"}'))
    async with HTTPClientPool(None, base_url=server.url, auth=credentials(server), retry=SOON) as pool:
        assert await pool.get_json("api") == {}


@pytest.mark.parametrize(
    "body", ["<html>topsecret</html>", "[]", '{"token": "topsecret"}', '{"access_token": 5}', b"\xff"]
)
async def test_an_answer_without_a_token_is_an_error_that_does_not_quote_it(
    server: ScriptedServer, body: str | bytes
) -> None:
    server.on("/token", answer(body))
    async with HTTPClientPool(None, base_url=server.url, auth=credentials(server)) as pool:
        with pytest.raises(InvalidBody, match=r"/token (was )?answered with") as caught:
            await pool.get_json("api")
    assert "topsecret" not in str(caught.value)


async def test_a_refusal_by_the_token_server_does_not_tell_the_secret(server: ScriptedServer) -> None:
    server.handle("/token", lambda request: answer(request.body + request.headers["x-echo"].encode(), status=400))
    server.handle("/token", lambda request: answer(b"no: topsecret " + request.body, status=400))
    auth = credentials(server, credentials_in="body")
    async with HTTPClientPool(None, base_url=server.url, auth=auth) as pool:
        with pytest.raises(HTTPStatusError, match=r"400 Reason: no: \*\*\*") as caught:
            await pool.get_json("api")
    assert "topsecret" not in f"{caught.value} {caught.value.body} {auth!r}"
