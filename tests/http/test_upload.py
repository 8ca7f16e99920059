# SPDX-License-Identifier: Apache-2.0
"""Files as the bodies of requests, over real sockets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.errors import FileChanged, HTTPStatusError
from tests.http.conftest import answer

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_async.http import HTTPClientPool
    from tests.http.conftest import Request, ScriptedServer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(os.urandom(1_000_000))
    return path


async def test_a_file_is_sent_with_its_length(server: ScriptedServer, pool: HTTPClientPool, file: Path) -> None:
    server.on("/up", answer("stored", status=201))
    response = await pool.upload("up", file, params={"a": "1"}, headers={"X-A": "b", "content-type": "text/csv"})

    (request,) = server.requests
    assert (response.status, response.text()) == (201, "stored")
    assert (request.method, request.target, request.body) == ("PUT", "/up?a=1", file.read_bytes())  # noqa: ASYNC240
    assert request.headers["content-length"] == "1000000"
    assert (request.headers["x-a"], request.headers["content-type"]) == ("b", "text/csv")


async def test_each_attempt_and_each_redirect_sends_the_whole_file(
    server: ScriptedServer, pool: HTTPClientPool, file: Path
) -> None:
    server.on("/up", answer(status=503), answer(status=307, headers={"Location": "/there"}))
    server.on("/there", answer("ok"))
    await pool.upload("up", file)
    assert [request.body == file.read_bytes() for request in server.requests] == [True, True, True]  # noqa: ASYNC240


async def test_a_connection_that_is_lost_while_it_is_sent_costs_nothing_of_it(
    server: ScriptedServer, pool: HTTPClientPool, file: Path
) -> None:
    # aiohttp itself sends it again: the connection was kept, and may have been closed before.
    server.on("/up", answer(), b"", answer("stored"))
    await pool.upload("up", file)
    assert (await pool.upload("up", file)).text() == "stored"
    assert [request.body == file.read_bytes() for request in server.requests] == [True, True, True]  # noqa: ASYNC240


async def test_a_post_is_tried_again_only_where_nothing_was_done(
    server: ScriptedServer, pool: HTTPClientPool, file: Path
) -> None:
    server.on("/up", answer(status=503), answer(status=500))
    with pytest.raises(HTTPStatusError, match=r"POST .*/up was answered with 500"):
        await pool.upload("up", file, method="POST")
    assert len(server.requests) == 2


async def test_an_empty_file_is_sent_and_a_missing_one_is_an_error(
    server: ScriptedServer, pool: HTTPClientPool, tmp_path: Path
) -> None:
    server.on("/up", answer())
    (tmp_path / "empty").touch()
    await pool.upload("up", str(tmp_path / "empty"))
    assert server.requests[0].headers["content-length"] == "0"
    with pytest.raises(FileNotFoundError):
        await pool.upload("up", tmp_path / "missing")


async def test_a_file_that_changes_meanwhile_is_an_error(
    server: ScriptedServer, pool: HTTPClientPool, file: Path
) -> None:
    def grow(_: Request) -> bytes:
        with file.open("ab") as opened:
            opened.write(b"more")
        return answer()

    server.handle("/up", grow)
    with pytest.raises(FileChanged, match=r"data\.bin"):
        await pool.upload("up", file)
