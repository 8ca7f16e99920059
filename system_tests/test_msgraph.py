# SPDX-License-Identifier: Apache-2.0
"""The example DAGs for Microsoft Graph, on real Airflow processes, with tokens from an Entra server."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.testing.msgraph import Paging, error, throttled
from system_tests.support.graph import run, serving_graph
from tests.msgraph.server import make_groups, make_users

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_async.testing.msgraph import GraphServer
    from system_tests.support.airflow import Airflow

# Airflow's start is part of the first one's time.
pytestmark = pytest.mark.timeout(900)

USERS = 2345
GROUPS = 345
PAGE_SIZE = 100


@pytest.fixture(scope="module")
def server(airflow: Airflow) -> Iterator[GraphServer]:
    with serving_graph(airflow) as running:
        running.collection("users", make_users(USERS))
        running.collection("groups", make_groups(GROUPS))
        airflow.wait_for_dags("load_users", "read_groups")
        yield running


def test_all_users_are_loaded_and_the_next_try_goes_on(airflow: Airflow, server: GraphServer, tmp_path: Path) -> None:
    expected = [user for user in make_users(USERS) if user["accountEnabled"]]
    server.paging = Paging(PAGE_SIZE, link="from root", empty=frozenset({3}))
    # The twelfth page is refused, for good; before, the server wants a moment, and forgets the token.
    server.fail("/users", *[None] * 4, throttled("1"), error(401, "InvalidAuthenticationToken"), *[None] * 6)
    server.fail("/users", error(403, "Authorization_RequestDenied"))

    task = run(airflow, "load_users", {"database": str(tmp_path / "users.db")})

    assert task.try_number == 2
    assert airflow.client.returned(task) == len(expected)
    with closing(sqlite3.connect(tmp_path / "users.db")) as connection:
        rows = [json.loads(row) for (row,) in connection.execute("SELECT document FROM users ORDER BY id")]
    assert rows == [{name: user[name] for name in ("id", "displayName", "mail")} for user in expected]
    asked = server.requests("/users")
    pages = -(-len(expected) // PAGE_SIZE) + 1
    # What was refused in each way, and perhaps a page that was fetched ahead of one that was not written.
    assert pages + 3 <= len(asked) <= pages + 4
    assert all(one.headers["consistencylevel"] == "eventual" for one in asked)


def test_the_example_of_the_proposal_returns_all_pages(airflow: Airflow, server: GraphServer) -> None:
    server.paging = Paging(PAGE_SIZE)

    task = run(airflow, "read_groups", {"url": "groups"})

    pages = airflow.client.returned(task)
    assert [group for page in pages for group in page["value"]] == make_groups(GROUPS)
    assert {one.version for one in server.requests("/groups")} == {"beta"}
