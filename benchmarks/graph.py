# SPDX-License-Identifier: Apache-2.0
"""
Graph beside Airflow's hook and msgraph-sdk: what a page costs, many single requests over a slow line, and memory.

The server is that of the tests. All clients run in turn, each in a process of its own, several rounds of them.
``--help`` tells how to run a part.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.support.delay import delayed  # noqa: E402
from benchmarks.support.graph_server import Serving, serving  # noqa: E402
from benchmarks.support.http_clients import Outcome, Work  # noqa: E402
from benchmarks.support.report import Claim, Growth, Ratio, Time, Times  # noqa: E402
from benchmarks.support.run import parse_options, report, run_client, run_in_turn, versions  # noqa: E402
from tests.msgraph.server_entra import CLIENT_ID, SECRET, TENANT  # noqa: E402

ROUNDS = 5

PAGES = 400
#: A row costs hundreds of times as much as a model.
FEW_PAGES = 4
ROWS_A_PAGE = 1000
ENDLESS_PAGES = 1000
#: What a client does before it is measured: its memory has to grow to what it needs.
WARM_PAGES = 100

REQUESTS = 1000
RTT_MS = 40
AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Client:
    """
    A client and its work.

    :param function: of ``benchmarks.support.graph_clients``.
    :param pages: how many pages it reads, or requests it makes.
    :param rows: of each.
    :param of: how many its time is scaled to, if it does fewer.
    :param computes: whether its computing time counts, instead of the time that passes.
    :param rounds: how often it is run, if not as often as the others.
    """

    function: str
    pages: int
    rows: int = 1
    of: int | None = None
    rtt_ms: int = 0
    computes: bool = False
    rounds: int | None = None


def pages(function: str) -> Client:
    return Client(function=function, pages=PAGES, rows=ROWS_A_PAGE, of=PAGES, computes=True)


def models(function: str) -> Client:
    return Client(function=function, pages=FEW_PAGES, rows=ROWS_A_PAGE, of=PAGES, computes=True, rounds=2)


def gets(function: str, rounds: int | None = None) -> Client:
    return Client(function=function, pages=REQUESTS, rtt_ms=RTT_MS, rounds=rounds)


CLIENTS = {
    "page-ours": pages("pages_ours"),
    # Not compared: row by row, and all in memory, as Airflow's hook has it.
    "page-ours-by-row": pages("pages_ours_by_row"),
    "page-ours-in-memory": pages("pages_ours_in_memory"),
    "page-hook": pages("pages_hook"),
    "page-ours-models": models("pages_ours_as_models"),
    "page-sdk": models("pages_sdk"),
    "get-one-by-one": gets("gets_one_by_one", rounds=2),
    "get-at-once": gets("gets_at_once"),
    "get-ours": gets("gets_ours"),
    "memory-ours": Client(function="pages_ours", pages=ENDLESS_PAGES, rows=ROWS_A_PAGE, rounds=1),
}

CLAIMS: list[Claim] = [
    Ratio(claim="computing a page, by Airflow's hook", slow="page-hook", fast="page-ours", at_least=3.5),
    Ratio(claim="computing a page, by msgraph-sdk", slow="page-sdk", fast="page-ours", at_least=3.5),
    Ratio(claim="1,000 requests, 40 ms, one by one", slow="get-one-by-one", fast="get-ours", at_least=15),
    Ratio(claim="1,000 requests, 40 ms, 16 at once", slow="get-at-once", fast="get-ours", at_least=3),
    Growth(claim="growth of memory over 1,000 pages", runs=("memory-ours",), at_most=30),
]


def measure(client: Client, base: str, server: Serving, folder: Path) -> Time:
    """Have a client do its work once, and check what it found."""
    work, little = (
        Work(base=f"{base}/v1.0", path=f"users?$last={count - 1}", pages=count, at_once=AT_ONCE)
        for count in (client.pages, min(client.pages, WARM_PAGES))
    )
    extra = {"tenant_id": TENANT, "authority": server.authority, "verify": server.certificate}
    # Airflow's hook sends tokens to no other.
    extra |= {"allowed_hosts": "127.0.0.1"}
    connection = {
        "conn_type": "msgraph",
        "host": f"127.0.0.1:{server.port}",
        "schema": "http",
        "login": CLIENT_ID,
        "password": SECRET,
        "extra": json.dumps(extra),
    }
    works = [json.dumps(asdict(one)) for one in (little, work)]
    more = {"AIRFLOW_CONN_BENCH": json.dumps(connection)}
    outcome = Outcome(**json.loads(run_client("graph_clients", client.function, *works, folder=folder, **more)))
    if outcome.rows != client.pages * client.rows:
        raise RuntimeError(f"{client.function} found {outcome.rows} rows, not {client.pages * client.rows}")
    seconds = outcome.cpu_seconds if client.computes else outcome.seconds
    return Time(seconds=seconds, files=client.pages, of=client.of or client.pages, growth_mib=outcome.growth_mib)


def measure_all(options: argparse.Namespace) -> Times:
    """Run all chosen clients, in turn."""
    peers = ("msgraph-sdk", "microsoft-kiota-http", "apache-airflow-providers-microsoft-azure")
    times = Times(versions("aiohttp", "msgspec", *peers))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="graph-benchmark-", dir=options.folder)))
        server = stack.enter_context(serving(rows=ROWS_A_PAGE))
        line = stack.enter_context(delayed(server.port, rtt_ms=RTT_MS))
        bases = {0: f"http://127.0.0.1:{server.port}", RTT_MS: f"http://127.0.0.1:{line.port}"}
        works = {
            name: partial(measure, client, bases[client.rtt_ms], server, folder)
            for name, client in options.chosen.items()
        }
        rounds = {name: client.rounds for name, client in options.chosen.items() if client.rounds}
        run_in_turn(works, times, options, rounds=rounds)
    return times


def main() -> int:
    """Measure, print, and return an exit code."""
    options = parse_options(argparse.ArgumentParser(description=__doc__), CLIENTS, rounds=ROUNDS)
    times = Times.load(options.replay) if options.replay else measure_all(options)
    return report(times, CLAIMS, heading="client (page-*: CPU)")


if __name__ == "__main__":
    sys.exit(main())
