# SPDX-License-Identifier: Apache-2.0
"""A Graph server and an open pool at it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import pytest
from azure.core.credentials import AccessToken

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.msgraph import MSGraphClientPool
from tests.msgraph.server import graph_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from airflow_provider_async.testing.msgraph import GraphServer, Tokens

#: Waits that nobody notices.
SOON = Retry(attempts=5, initial_seconds=0.01, max_seconds=0.02, budget_seconds=20)


@dataclass
class Fields:
    """What is read of an Airflow Connection."""

    host: str | None = None
    schema: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = None
    extra_dejson: Mapping[str, object] = field(default_factory=dict)
    conn_id: str = "msgraph_test"


@dataclass
class FakeCredential:
    """Gives the server's tokens, without asking anyone."""

    tokens: Tokens
    asked: int = 0
    closed: bool = False

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:  # noqa: ANN401 - of azure-core
        self.asked += 1
        return AccessToken(self.tokens.issue(), int(time.time() + self.tokens.lifetime_seconds))

    async def close(self) -> None:
        self.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def connection(server: GraphServer) -> Fields:
    return Fields(host=f"127.0.0.1:{server.port}", schema=server.scheme)


def make_pool(server: GraphServer, **options: Any) -> MSGraphClientPool:  # noqa: ANN401 - the pool's options
    options = {"credential": FakeCredential(server.tokens), "retry": SOON, "connection": connection(server), **options}
    return MSGraphClientPool(**options)


@pytest.fixture
async def server() -> AsyncIterator[GraphServer]:
    async with graph_server() as running:
        yield running


@pytest.fixture
async def pool(server: GraphServer) -> AsyncIterator[MSGraphClientPool]:
    """An open pool at ``server``."""
    async with make_pool(server) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the shell says about proxies must not matter."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
