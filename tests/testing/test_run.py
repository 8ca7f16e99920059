# SPDX-License-Identifier: Apache-2.0
"""Tasks without Airflow's processes, with servers that fail on demand."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async import Shard, amap, shards
from airflow_provider_async.errors import HTTPStatusError, InvalidConnection
from airflow_provider_async.http import HTTPClientPool
from airflow_provider_async.sftp import SFTPClientPool
from airflow_provider_async.testing import Connection, in_task, run_task
from airflow_provider_async.testing.http import NOTHING, Answer, HTTPServer, answer_json

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_async.testing.sftp import SFTPServer

pytest_plugins = ["airflow_provider_async.testing.fixtures"]


async def load(folder: str) -> dict[str, bytes]:
    async with SFTPClientPool("partner") as pool:
        files = pool.read_many(await pool.glob(f"{folder}/*.xml"), resume="load", limit=1)
        return {file.path: file.data async for file in files}


def fill(server: SFTPServer, count: int = 3) -> list[str]:
    for number in range(count):
        (server.root / f"{number}.xml").write_text(f"<{number}/>")
    return [f"/{number}.xml" for number in range(count)]


def test_a_task_finds_the_connections_that_it_is_given(sftp_server: SFTPServer) -> None:
    paths = fill(sftp_server)
    read = run_task(load, "/", connections={"partner": sftp_server.connection()})
    assert sorted(read) == ["//0.xml", "//1.xml", "//2.xml"] or sorted(read) == paths
    assert (sftp_server.logins, sftp_server.most_connections) == (1, 1)
    assert len(sftp_server.opened) == 3


def test_a_connection_that_was_not_given_is_an_error_that_names_it() -> None:
    with pytest.raises(InvalidConnection, match=r"'partner' is not among those that were given: \['other'\]"):
        run_task(load, "/", connections={"other": Connection()})


def test_the_next_try_goes_on_where_the_last_one_failed(sftp_server: SFTPServer, tmp_path: Path) -> None:
    fill(sftp_server)
    connections = {"partner": sftp_server.connection()}
    sftp_server.fail("/1.xml")
    with pytest.raises(asyncssh.SFTPFailure, match="failing on demand"):
        run_task(load, "", connections=connections, resume_folder=tmp_path / "kept")

    read = run_task(load, "", connections=connections, resume_folder=tmp_path / "kept", attempt=2)

    assert read == {"/1.xml": b"<1/>", "/2.xml": b"<2/>"}
    assert sftp_server.opened == ["/0.xml", "/1.xml", "/2.xml"]
    assert len(run_task(load, "", connections=connections, resume_folder=tmp_path / "kept")) == 3


def test_a_lost_connection_and_refused_ones_are_borne(sftp_server: SFTPServer) -> None:
    fill(sftp_server)
    sftp_server.lose_connection_at("/1.xml")
    sftp_server.refuse_connections(1)
    assert len(run_task(load, "", connections={"partner": sftp_server.connection()})) == 3
    assert sftp_server.logins == 2


async def test_an_async_test_is_in_a_task_too(sftp_server: SFTPServer) -> None:
    fill(sftp_server)
    async with in_task(connections={"partner": sftp_server.connection()}), SFTPClientPool("partner") as pool:
        assert len(await pool.listdir("/")) == 3
        sftp_server.lose_all_connections()
        files = [file async for file in pool.read_many(await pool.glob("/*.xml"))]
        assert len(files) == 3
    with pytest.raises(RuntimeError, match="in others, use 'async with in_task"):
        run_task(load, "")


def test_shards_share_a_limit(sftp_server: SFTPServer) -> None:
    async def load_part(shard: Shard[str]) -> int:
        async with SFTPClientPool("partner", shard=shard) as pool:
            return len([file async for file in pool.read_many(shard)])

    connections = {"partner": sftp_server.connection(max_connections=2)}
    assert [run_task(load_part, part, connections=connections) for part in shards(fill(sftp_server), 2)] == [1, 2]
    assert sftp_server.most_connections == 1


def test_an_http_server_answers_in_turn_and_fails_on_demand(http_server: HTTPServer) -> None:
    async def ask(path: str) -> object:
        async with HTTPClientPool("api") as pool:
            return (await pool.request("GET", path)).json()

    connections = {"api": http_server.connection(Authorization="Bearer x")}
    http_server.on("/orders", Answer(status=503), NOTHING, answer_json([1, 2]))
    assert run_task(ask, "orders", connections=connections) == [1, 2]
    assert [request.authorization for request in http_server.requests("/orders")] == ["Bearer x"] * 3
    with pytest.raises(HTTPStatusError, match="404"):
        run_task(ask, "customers", connections=connections)


def test_what_airflow_has_made_of_a_function_runs_too() -> None:
    from airflow.sdk import DAG, task

    @task.async_python
    async def double(number: int) -> int:
        return sum([value async for value in amap(twice, [number], limit=1)])

    async def twice(number: int) -> int:
        return 2 * number

    with DAG("doubling", schedule=None) as doubling:
        double(3)

    assert run_task(double, 4) == 8
    assert run_task(doubling.get_task("double"), number=5) == 10


def test_a_function_that_is_not_async_is_refused() -> None:
    with pytest.raises(TypeError, match="is no async function"):
        run_task(len, "abc")


def test_a_dag_file_imports_nothing_that_is_for_tests() -> None:
    """Nothing of the package may, says import-linter; this is what is there at the end."""
    examples = "example_http, example_msgraph, example_msgraph_delta, example_msgraph_files, example_sftp, example_smtp"
    code = (
        f"import sys\nfrom airflow_provider_async.example_dags import {examples}\n"
        "print([name for name in sys.modules if name.startswith('airflow_provider_async.testing')])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_neither_pytest_nor_a_protocols_library_is_imported_unasked() -> None:
    libraries = {"pytest", "asyncssh", "aiohttp", "aiosmtplib", "airflow", "cryptography"}
    code = f"import sys, airflow_provider_async.testing; print({libraries} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
