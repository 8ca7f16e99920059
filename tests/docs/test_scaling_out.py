# SPDX-License-Identifier: Apache-2.0
"""Every example of the guides to more than one worker and to testing runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from airflow_provider_async.testing import in_task, run_task
from tests.docs.pages import examples, execute

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_async.testing.http import HTTPServer
    from airflow_provider_async.testing.msgraph import GraphServer
    from airflow_provider_async.testing.sftp import SFTPServer
    from airflow_provider_async.testing.smtp import SMTPServer

pytest_plugins = ["airflow_provider_async.testing.fixtures"]


async def test_more_than_one_worker(sftp_server: SFTPServer) -> None:
    inserted: list[bytes] = []

    async def insert(rows: list[bytes]) -> None:
        inserted.extend(rows)

    names: dict[str, Any] = {"insert": insert, "paths": [f"/out/{number}.xml" for number in range(9)]}
    (sftp_server.root / "out").mkdir()
    for path in names["paths"]:
        (sftp_server.root / path[1:]).write_text(path)
    shared, limited, in_a_pool, found_out = examples("scaling-out")
    connections = {"sftp_default": sftp_server.connection(max_connections=5)}
    async with in_task(connections=connections):
        execute(shared, "scaling-out", names)
        dag = names["nightly"]()
        parts = await dag.get_task("plan").python_callable("/out")
        function = dag.get_task("load").python_callable
        assert [await function(part) for part in parts] == [3, 2, 2, 2]
        assert sorted(inserted) == [path.encode() for path in names["paths"]]

        execute(limited, "scaling-out", names)
        assert await names["main"]() == 9
        execute(in_a_pool, "scaling-out", names)
        assert await names["load"].function(parts[0]) == 3
        execute(found_out, "scaling-out", names)
        assert await names["main"]() == 9


@pytest.fixture
def guide_to_testing() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for example in examples("testing"):
        execute(example, "testing", names)
    return names


def test_the_guide_to_testing_names_the_plugin(guide_to_testing: dict[str, Any]) -> None:
    assert guide_to_testing["pytest_plugins"] == pytest_plugins
    assert guide_to_testing["run_task"] is run_task


SFTP_TESTS = ["every_file_is_loaded", "a_lost_connection_does_no_harm", "the_parts_are_all_of_it"]


@pytest.mark.parametrize("name", SFTP_TESTS)
def test_an_example_of_a_test_passes(name: str, guide_to_testing: dict[str, Any], sftp_server: SFTPServer) -> None:
    guide_to_testing[f"test_{name}"](sftp_server)


def test_the_example_of_a_retry_passes(
    guide_to_testing: dict[str, Any], sftp_server: SFTPServer, tmp_path: Path
) -> None:
    guide_to_testing["test_a_retry_goes_on_where_it_was"](sftp_server, tmp_path)


async def test_the_example_of_an_async_test_passes(guide_to_testing: dict[str, Any], sftp_server: SFTPServer) -> None:
    await guide_to_testing["test_the_folder_is_listed"](sftp_server)


def test_the_example_of_an_api_passes(guide_to_testing: dict[str, Any], http_server: HTTPServer) -> None:
    guide_to_testing["test_a_busy_server_is_asked_again"](http_server)


def test_the_examples_of_mail_pass(guide_to_testing: dict[str, Any], smtp_server: SMTPServer, tmp_path: Path) -> None:
    guide_to_testing["test_everyone_who_can_be_reached_is_reminded"](smtp_server)
    smtp_server.received.clear()
    guide_to_testing["test_nobody_is_reminded_twice"](smtp_server, tmp_path)
    guide_to_testing["test_a_refused_login_is_borne"]()


GRAPH_TESTS = ["all_pages_are_read", "what_was_removed_is_told"]


@pytest.mark.skipif(aiohttp.__version__.startswith("3.10."), reason="this aiohttp leaves sockets of TLS unclosed")
@pytest.mark.parametrize("name", GRAPH_TESTS)
def test_an_example_of_graph_passes(name: str, guide_to_testing: dict[str, Any], graph_server: GraphServer) -> None:
    guide_to_testing[f"test_{name}"](graph_server)


def test_all_examples_of_tests_are_run(guide_to_testing: dict[str, Callable[..., Any]]) -> None:
    others = {"a_retry_goes_on_where_it_was", "the_folder_is_listed", "a_busy_server_is_asked_again"}
    others |= {"everyone_who_can_be_reached_is_reminded", "nobody_is_reminded_twice", "a_refused_login_is_borne"}
    there = {name.removeprefix("test_") for name in guide_to_testing if name.startswith("test_")}
    assert there == others | {*SFTP_TESTS, *GRAPH_TESTS}
