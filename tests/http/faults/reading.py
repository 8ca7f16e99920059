# SPDX-License-Identifier: Apache-2.0
"""A pool at the server that fails, for those who test it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.http import HTTPClientPool

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON
    from tests.servers.http import (
        HTTPServer,
    )

SOON = Retry(attempts=4, initial_seconds=0.001, max_seconds=0.01)
ONCE = Retry(attempts=1)
SECRET = "hush-hush-secret"

Paging = Literal["header", "next", "links.next", "@odata.nextLink"]


def pool_at(server: HTTPServer, **options: Any) -> HTTPClientPool:  # noqa: ANN401 - the pool's own
    return HTTPClientPool(None, base_url=server.url(), **{"retry": SOON, **options})


def id_of(row: JSON) -> object:
    assert isinstance(row, dict)
    return row["id"]


async def read_ids(
    server: HTTPServer,
    path: str = "/",
    *,
    pool: HTTPClientPool | None = None,
    **options: Any,  # noqa: ANN401 - those of paginate
) -> list[object]:
    async with pool or pool_at(server) as opened:
        return [id_of(row) async for row in opened.paginate(path, **options)]
