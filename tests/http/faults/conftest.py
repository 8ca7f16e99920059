# SPDX-License-Identifier: Apache-2.0
"""Servers that fail on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.http import HTTPServer, http_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> AsyncIterator[HTTPServer]:
    async with http_server() as running:
        yield running


@pytest.fixture
async def elsewhere() -> AsyncIterator[HTTPServer]:
    """Another host, as far as logins are concerned."""
    async with http_server() as running:
        yield running
