# SPDX-License-Identifier: Apache-2.0
"""
A Microsoft Graph server from the public documentation, with faults on demand.

Each part of it is a module ``server_*`` with ``ROUTES`` and ``fill``, which makes what there is at first. What Entra
does, over TLS, stands in ``server_entra``.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from tests.msgraph import server_batch, server_delta, server_directory, server_drive, server_mail
from tests.msgraph.server_core import GraphServer
from tests.msgraph.server_paging import Paging

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    from tests.msgraph.server_core import Routes

PARTS = {
    "batch": server_batch,
    "delta": server_delta,
    "drive": server_drive,
    "mail": server_mail,
    "directory": server_directory,
}


@asynccontextmanager
async def graph_server(
    *, tls: ssl.SSLContext | None = None, port: int = 0, parts: Mapping[str, Routes] | None = None
) -> AsyncIterator[GraphServer]:
    """
    Run a server.

    :param parts: other routes than all that there are.
    """
    server = GraphServer(parts or {name: part.ROUTES for name, part in PARTS.items()}, Paging())
    for part in reversed(PARTS.values()):
        part.fill(server)
    runner = web.ServerRunner(web.Server(server.serve), shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    server.scheme = "http" if tls is None else "https"
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        await runner.cleanup()
    if server.mistakes:
        raise ExceptionGroup("handlers of the server failed", server.mistakes)
