# SPDX-License-Identifier: Apache-2.0
"""Load the users of a directory into a table, page by page; and read a listing as Airflow's own hook does."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import dag, task

from airflow_provider_async.msgraph import AsyncMSGraphHook, MSGraphClientPool

if TYPE_CHECKING:
    from collections.abc import Sequence

RETRY_DELAY = timedelta(seconds=10)


def insert(database: str, users: Sequence[Any]) -> None:
    """
    Write users into a table, all of them or none; doing it twice does no harm.

    :param database: the path of the SQLite file; made if it is missing.
    :param users: as Graph gives them.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS users (id PRIMARY KEY, document TEXT)")
        rows = ((user["id"], json.dumps(user)) for user in users)
        connection.executemany("INSERT OR REPLACE INTO users VALUES (?, ?)", rows)


@dag(schedule=None, params={"database": "users.db"}, tags=["example", "msgraph"])
def load_users() -> None:
    """Read all users that are switched on; the next try goes on at the page that was not written."""

    @task.async_python(retries=3, retry_delay=RETRY_DELAY)
    async def load(database: str) -> int:
        # "ne" makes it an advanced query: what Graph wants for those is sent along.
        params = {"$filter": "accountEnabled ne false", "$select": ["id", "displayName", "mail"], "$top": 999}
        async with MSGraphClientPool("msgraph_default") as pool:
            users = pool.paginate("users", params=params, resume="users")
            async for page in users.pages():
                # In a thread: sqlite3 knows no await, and the next page arrives meanwhile.
                await asyncio.to_thread(insert, database, page.items)
            return users.progress.done

    load("{{ params.database }}")


@dag(schedule=None, params={"url": "groups"}, tags=["example", "msgraph"])
def read_groups() -> None:
    """Read a listing into memory, which Airflow's own hook does with the same last three lines."""

    @task.async_python(retries=5, retry_delay=RETRY_DELAY, max_active_tis_per_dag=1, show_return_value_in_logs=False)
    async def get_json_data(url: str) -> list[Any]:
        hook = AsyncMSGraphHook("msgraph_default", api_version="beta")
        return await hook.paginated_run(
            url=url,
            query_parameters={"$format": "application/json", "$top": 100},
        )

    get_json_data("{{ params.url }}")


load_users()
read_groups()
