# SPDX-License-Identifier: Apache-2.0
"""Keep a table like the users of a directory: each run asks Microsoft Graph for what has changed since the last one."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from airflow.sdk import dag, task

from airflow_provider_async.msgraph import MSGraphClientPool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_async.msgraph import Change


def apply(database: str, changes: Sequence[Change]) -> None:
    """
    Write changes into a table, all of them or none, in their order; doing it twice does no harm.

    :param database: the path of the SQLite file; made if it is missing.
    :param changes: as Graph gives them.
    """
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS users (id PRIMARY KEY, document TEXT)")
        for kind, of_kind in groupby(changes, key=lambda change: change.kind):
            if kind == "reset":
                # Everything there is follows.
                connection.execute("DELETE FROM users")
            elif kind == "removed":
                connection.executemany("DELETE FROM users WHERE id = ?", ((change.id,) for change in of_kind))
            else:
                rows = ((change.id, json.dumps(change.item)) for change in of_kind)
                connection.executemany("INSERT OR REPLACE INTO users VALUES (?, ?)", rows)


@dag(schedule=None, params={"database": "users.db"}, tags=["example", "msgraph"])
def follow_users() -> None:
    """Read the changes of all users; the first run, and one whose link has expired, reads them all."""

    @task.async_python(retries=3, retry_delay=timedelta(seconds=10))
    async def follow(database: str) -> int:
        async with MSGraphClientPool("msgraph_default") as pool:
            # The link is kept when the task has succeeded; a try that fails goes on at the page that was not written.
            params = {"$select": ["displayName", "mail"]}
            users = pool.delta("users/delta", params=params, cursor="users", resume="users")
            async for page in users.pages():
                # In a thread: sqlite3 knows no await, and the next page arrives meanwhile.
                await asyncio.to_thread(apply, database, page)
            return users.progress.done

    follow("{{ params.database }}")


follow_users()
