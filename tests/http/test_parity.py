# SPDX-License-Identifier: Apache-2.0
"""A Connection means to AsyncHTTPHook what it means to Airflow's HttpHook: both send the same request."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from airflow.sdk import Connection

from airflow_provider_async.http import AsyncHTTPHook
from tests.http.conftest import answer

pytest.importorskip("airflow.providers.http", reason="Airflow's own HTTP provider is not installed")

if TYPE_CHECKING:
    from tests.http.conftest import ScriptedServer

pytestmark = pytest.mark.filterwarnings("ignore")  # of requests and of the provider

#: Headers of the libraries' own.
_OWN = {"accept", "accept-encoding", "connection", "user-agent", "host"}

CASES: dict[str, dict[str, Any]] = {
    "host and port": {},
    "a whole URL": {"whole": True},
    "a path": {"path": "/api"},
    "a path with a slash": {"path": "/api/"},
    "a login": {"login": "alice", "password": "secret"},
    "a login without a password": {"login": "alice", "password": ""},
    "a login in the URL": {"whole": True, "user": "me:p%40ss"},
    "a password alone": {"password": "secret"},
    "headers": {"extra": {"X-A": "1", "Authorization": "Bearer x"}},
    "headers and a login": {"login": "alice", "password": "pw", "extra": {"X-A": "1"}},
    "options that are no headers": {
        "extra": {"timeout": 5, "verify": False, "max_redirects": 3, "trust_env": False, "X-A": "1", "stream": False}
    },
    "no redirects": {"extra": {"allow_redirects": False}, "status": 302},
    "redirects": {"status": 302},
    "an unchecked status": {"extra": {"check_response": False}, "status": 404},
    "a status": {"status": 404},
}


def connection(server: ScriptedServer, case: dict[str, Any]) -> Connection:
    path, user = case.get("path", ""), case.get("user")
    host = f"127.0.0.1{path}"
    fields: dict[str, Any] = {"host": "127.0.0.1", "port": server.port}
    if case.get("whole"):
        fields = {"host": f"http://{user + '@' if user else ''}127.0.0.1:{server.port}"}
    elif path:
        # HttpHook appends the port to the path.
        fields = {"host": f"http://127.0.0.1:{server.port}{path}"}
    assert host
    return Connection(
        conn_id="parity",
        conn_type="http",
        login=case.get("login"),
        password=case.get("password"),
        extra=json.dumps(case.get("extra", {})),
        **fields,
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("endpoint", ["v1/items", "v1/it%2Fems"])
async def test_both_send_the_same_request(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, case: str, endpoint: str
) -> None:
    from airflow.providers.http.hooks.http import HttpHook

    options = CASES[case]
    given = connection(server, options)
    monkeypatch.setenv("AIRFLOW_CONN_PARITY", given.as_json())
    path = options.get("path", "").rstrip("/")
    server.on(f"{path}/{endpoint}", answer("body", status=options.get("status", 200), headers={"Location": "/end"}))
    server.on("/end", answer("end"))

    def theirs() -> object:
        try:
            response = HttpHook("GET", "parity").run(endpoint, data={"a": "x y"})
        except Exception as error:  # noqa: BLE001 - each library has errors of its own
            return "404" in str(error)
        return response.status_code, response.text

    async def ours() -> object:
        try:
            async with AsyncHTTPHook(connection=given).connect() as client:
                response = await client.request("GET", endpoint, params={"a": "x y"})
        except Exception as error:  # noqa: BLE001 - each library has errors of its own
            return "404" in str(error)
        return response.status, response.text()

    results = [await asyncio.to_thread(theirs)]
    theirs_sent = [_told(request) for request in server.requests]
    server.requests.clear()
    results.append(await ours())

    assert results[0] == results[1]
    assert [_told(request) for request in server.requests] == theirs_sent
    assert quote(endpoint, safe="/%") in str(theirs_sent)


def _told(request: Any) -> tuple[str, str, dict[str, str]]:  # noqa: ANN401 - of the fixture's module
    headers = {name: value for name, value in request.headers.items() if name not in _OWN}
    return request.method, request.target, headers
