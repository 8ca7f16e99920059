# SPDX-License-Identifier: Apache-2.0
"""
Load listings of REST APIs into a database: a DAG for each way in which such APIs give their pages.

Each task inserts a page before it comes back for the next one. Its next try goes on at the page that was not inserted.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import dag, task

from airflow_provider_async.http import (
    BodyCursor,
    Cursor,
    HTTPClientPool,
    JSONLink,
    LinkHeader,
    Offset,
    PageNumber,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

RETRY_DELAY = timedelta(seconds=10)

QUERY = """
query($first: Int, $after: String) {
  orders(first: $first, after: $after) { nodes { id name } pageInfo { endCursor hasNextPage } }
}
"""


def insert(database: str, rows: Sequence[object]) -> None:
    """
    Insert rows, all of them or none.

    Those that are there already are replaced: inserting a page twice does no harm.

    :param database: the path of the SQLite file; made if it is missing.
    :param rows: objects of JSON that have an id.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS orders (id PRIMARY KEY, document TEXT)")
        connection.executemany(
            "INSERT OR REPLACE INTO orders VALUES (json_extract(?1, '$.id'), ?1)", ((json.dumps(row),) for row in rows)
        )


@dag(schedule=None, params={"path": "orders", "database": "orders.db"}, tags=["example", "http"])
def load_by_link_header() -> None:
    """Read pages whose ``Link`` header leads to the next one, as those of GitHub and GitLab do."""

    @task.async_python(retries=3, retry_delay=RETRY_DELAY)
    async def load(path: str, database: str) -> int:
        async with HTTPClientPool("http_default") as pool:
            orders = pool.paginate(path, params={"per_page": 100}, paginator=LinkHeader(), resume="load")
            async for page in orders.pages():
                # In a thread: sqlite3 knows no await, and the next page arrives meanwhile.
                await asyncio.to_thread(insert, database, page.items)
            return orders.progress.done

    load("{{ params.path }}", "{{ params.database }}")


@dag(schedule=None, params={"path": "orders", "database": "orders.db"}, tags=["example", "http"])
def load_by_json_link() -> None:
    """Read pages that have the link to the next one in them, as those of Django and OData (``@odata.nextLink``) do."""

    @task.async_python(retries=3, retry_delay=RETRY_DELAY)
    async def load(path: str, database: str) -> int:
        async with HTTPClientPool("http_default") as pool:
            orders = pool.paginate(path, paginator=JSONLink("next"), items="results", resume="load")
            async for page in orders.pages():
                await asyncio.to_thread(insert, database, page.items)
            return orders.progress.done

    load("{{ params.path }}", "{{ params.database }}")


@dag(schedule=None, params={"path": "orders", "database": "orders.db"}, tags=["example", "http"])
def load_by_cursor() -> None:
    """Read pages that have a cursor in them, which is sent as a parameter for the next one, as Slack wants it."""

    @task.async_python(retries=3, retry_delay=RETRY_DELAY)
    async def load(path: str, database: str) -> int:
        async with HTTPClientPool("http_default") as pool:
            paginator = Cursor("next_cursor", "cursor")
            orders = pool.paginate(path, params={"limit": 100}, paginator=paginator, items="results", resume="load")
            async for page in orders.pages():
                await asyncio.to_thread(insert, database, page.items)
            return orders.progress.done

    load("{{ params.path }}", "{{ params.database }}")


@dag(schedule=None, params={"path": "orders", "database": "orders.db"}, tags=["example", "http"])
def load_by_offset() -> None:
    """Read pages from an offset on, eight at a time, as Airflow's own REST API has them."""

    @task.async_python(retries=3, retry_delay=RETRY_DELAY)
    async def load(path: str, database: str) -> int:
        async with HTTPClientPool("http_default") as pool:
            orders = pool.paginate(path, paginator=Offset(100), items="results", prefetch=8, resume="load")
            async for page in orders.pages():
                await asyncio.to_thread(insert, database, page.items)
            return orders.progress.done

    load("{{ params.path }}", "{{ params.database }}")


@dag(schedule=None, params={"path": "orders", "database": "orders.db"}, tags=["example", "http"])
def load_by_page_number() -> None:
    """Read pages by their number, eight at a time, as WordPress and Spring have them."""

    @task.async_python(retries=3, retry_delay=RETRY_DELAY)
    async def load(path: str, database: str) -> int:
        async with HTTPClientPool("http_default") as pool:
            orders = pool.paginate(path, paginator=PageNumber(100), items="results", prefetch=8, resume="load")
            async for page in orders.pages():
                await asyncio.to_thread(insert, database, page.items)
            return orders.progress.done

    load("{{ params.path }}", "{{ params.database }}")


@dag(schedule=None, params={"path": "graphql", "database": "orders.db"}, tags=["example", "http"])
def load_by_body_cursor() -> None:
    """Read pages whose cursor is sent in the body of the next request, as GraphQL wants it."""

    @task.async_python(retries=3, retry_delay=RETRY_DELAY)
    async def load(path: str, database: str) -> int:
        paginator = BodyCursor(
            "data.orders.pageInfo.endCursor", into="variables.after", more="data.orders.pageInfo.hasNextPage"
        )
        async with HTTPClientPool("http_default") as pool:
            orders = pool.paginate(
                path,
                method="POST",
                json={"query": QUERY, "variables": {"first": 100, "after": None}},
                paginator=paginator,
                items="data.orders.nodes",
                resume="load",
            )
            async for page in orders.pages():
                await asyncio.to_thread(insert, database, page.items)
            return orders.progress.done

    load("{{ params.path }}", "{{ params.database }}")


load_by_link_header()
load_by_json_link()
load_by_cursor()
load_by_offset()
load_by_page_number()
load_by_body_cursor()
