# SPDX-License-Identifier: Apache-2.0
"""
The clients of Graph, each run in a process of its own: ``python -m benchmarks.support.graph_clients NAME JOB JOB``.

The others are used as their documentation shows. Everything is as in :mod:`benchmarks.support.http_clients`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from benchmarks.support.http_clients import CONN_ID, main

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_async.msgraph import MSGraphClientPool
    from benchmarks.support.http_clients import Client, Work


def connection() -> Connection:
    from airflow.sdk import Connection

    return Connection.from_json(os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"])


def open_pool(work: Work) -> MSGraphClientPool:
    from airflow_provider_async.msgraph import MSGraphClientPool

    host = urlsplit(work.base)._replace(path="").geturl()
    return MSGraphClientPool(connection=connection(), host=host, max_concurrency=work.at_once)


# --- pages ------------------------------------------------------------------------------------------------------------


async def pages_ours(work: Work) -> int:
    rows = 0
    async with open_pool(work) as pool:
        # A few pages stand for all.
        async for page in pool.paginate(work.path, equal_pages=True).pages():
            rows += len(page.items)
    return rows


async def pages_ours_by_row(work: Work) -> int:
    rows = 0
    async with open_pool(work) as pool:
        async for _ in pool.paginate(work.path, equal_pages=True):
            rows += 1
    return rows


async def pages_ours_in_memory(work: Work) -> int:
    async with open_pool(work) as pool:
        return sum(len(page["value"]) for page in await pool.paginated_run(work.path))


async def pages_ours_as_models(work: Work) -> int:
    from msgraph.generated.models.user import User

    rows = 0
    async with open_pool(work) as pool:
        async for _ in pool.paginate(work.path, equal_pages=True, as_model=User):
            rows += 1
    return rows


async def pages_hook(work: Work) -> int:
    from airflow.providers.microsoft.azure.hooks.msgraph import KiotaRequestAdapterHook

    hook = KiotaRequestAdapterHook(conn_id=CONN_ID)
    try:
        return sum(len(page["value"]) for page in await hook.paginated_run(url=work.path))
    finally:
        await hook.close()


async def pages_sdk(work: Work) -> int:
    from azure.identity.aio import ClientSecretCredential
    from kiota_authentication_azure.azure_identity_authentication_provider import AzureIdentityAuthenticationProvider
    from msgraph import GraphRequestAdapter, GraphServiceClient

    given = connection()
    extra = given.extra_dejson
    credential = ClientSecretCredential(
        extra["tenant_id"],
        str(given.login),
        str(given.password),
        authority=extra["authority"],
        connection_verify=extra["verify"],
    )
    provider = AzureIdentityAuthenticationProvider(credential, allowed_hosts=["127.0.0.1"])
    adapter = GraphRequestAdapter(provider)
    adapter.base_url = work.base
    users = GraphServiceClient(request_adapter=adapter).users
    rows = 0
    page = await users.with_url(f"{work.base}/{work.path}").get()
    while page is not None:
        for _ in page.value or ():
            rows += 1
        page = await users.with_url(page.odata_next_link).get() if page.odata_next_link else None
    await credential.close()
    return rows


# --- one thing at a time, many at once, many in each request ----------------------------------------------------------


def urls(work: Work) -> list[str]:
    return [f"users/user{number}@contoso.com?$select=id,displayName" for number in range(work.pages)]


async def gets_one_by_one(work: Work) -> int:
    async with open_pool(work) as pool:
        return sum([bool((await pool.get(url))["id"]) for url in urls(work)])


async def gets_at_once(work: Work) -> int:
    from airflow_provider_async import amap

    async with open_pool(work) as pool, amap(pool.get, urls(work), limit=work.at_once) as answers:
        return sum([bool(answer["id"]) async for answer in answers])


async def gets_ours(work: Work) -> int:
    async with open_pool(work) as pool:
        return sum([bool(answer.json()["id"]) async for answer in pool.get_many(urls(work))])


CLIENTS: dict[str, Client] = {
    client.__name__: client
    for client in (
        pages_ours,
        pages_ours_by_row,
        pages_ours_in_memory,
        pages_ours_as_models,
        pages_hook,
        pages_sdk,
        gets_one_by_one,
        gets_at_once,
        gets_ours,
    )
}


if __name__ == "__main__":
    main(CLIENTS, *sys.argv[1:])
