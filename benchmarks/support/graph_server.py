# SPDX-License-Identifier: Apache-2.0
"""
The Graph server of the tests in a process of its own: ``python -m benchmarks.support.graph_server ROWS FOLDER``.

Its users have pages that are made beforehand, so that a page costs it next to nothing, and no end: a few stand for
all. Entra, which gives the tokens, is in the same process. It says on its standard output where both listen, and ends
when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_async.testing.msgraph import GraphAnswer, GraphServer
from tests.msgraph.server import make_users
from tests.msgraph.server_entra import Certificate, entra_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_async.testing.msgraph import GraphRequest

ROOT = Path(__file__).resolve().parent.parent.parent

#: So many different pages there are.
PAGES = 50


@dataclass(frozen=True)
class Serving:
    """
    Where the server is.

    :param port: of Graph.
    :param authority: of Entra.
    :param certificate: the file by which Entra's is known.
    """

    port: int
    authority: str
    certificate: str


def make_pages(rows: int) -> list[bytes]:
    """Make pages, as JSON, but for where each begins."""
    users = [default_user(number) for number in range(PAGES * rows)]
    return [json.dumps(users[at : at + rows]).encode() for at in range(0, len(users), rows)]


def default_user(number: int) -> dict[str, object]:
    """Make a user with what Graph gives if nothing is selected."""
    return {
        "businessPhones": ["+1 425 555 0109"],
        "displayName": f"Adele Vance {number}",
        "givenName": "Adele",
        "jobTitle": "Product Marketing Manager",
        "mail": f"adele.vance.{number}@contoso.com",
        "mobilePhone": None,
        "officeLocation": "18/2111",
        "preferredLanguage": "en-US",
        "surname": f"Vance {number}",
        "userPrincipalName": f"adele.vance.{number}@contoso.com",
        "id": str(uuid.UUID(int=number << 64 | number)),
    }


def answer_with(pages: list[bytes], server: GraphServer) -> None:
    """Answer requests for users with pages that are made already."""

    def page(request: GraphRequest) -> GraphAnswer:
        number = int(request.query.get("$skiptoken", "0"))
        last = int(request.query.get("$last", "0"))
        following = (
            f'"@odata.nextLink":"{server.url}/users?$last={last}&$skiptoken={number + 1}",' if number < last else ""
        )
        body = b'{"@odata.context":"x",%b"value":%b}' % (following.encode(), pages[number % len(pages)])
        server.seen.clear()
        return GraphAnswer(body=body, headers={"Content-Type": "application/json"})

    server.on("/users", page)


async def serve(rows: int, folder: Path) -> None:
    made = Certificate.make()
    graph = GraphServer(scheme="http")
    graph.collection("users", make_users(2000))
    answer_with(make_pages(rows), graph)
    async with graph.running() as server, entra_server(server.tokens, tls=made.context(folder)) as entra:
        print(server.port, entra.authority, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def serving(*, rows: int) -> Iterator[Serving]:
    """
    Run a server.

    :param rows: of each page.
    """
    with tempfile.TemporaryDirectory(prefix="graph-benchmark-") as folder:
        command = [sys.executable, "-m", "benchmarks.support.graph_server", str(rows), folder]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin
            assert process.stdout
            port, authority = process.stdout.readline().split()
            try:
                yield Serving(int(port), authority, f"{folder}/certificate.pem")
            finally:
                process.stdin.close()
                process.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
