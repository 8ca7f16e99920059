# SPDX-License-Identifier: Apache-2.0
"""
HTTP beside other clients: what a page costs, pages ahead over a slow line, many small requests, and memory.

The server is nginx. All clients run in turn, each in a process of its own, several rounds of them. ``--help`` tells how
to run a part.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.support.delay import delayed  # noqa: E402
from benchmarks.support.http_clients import Outcome, Work  # noqa: E402
from benchmarks.support.report import Claim, Growth, Ratio, Time, Times  # noqa: E402
from benchmarks.support.run import parse_options, report, run_client, run_in_turn, versions  # noqa: E402
from tests.servers.real_http import nginx  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROUNDS = 5

PAGES = 400
ROWS_A_PAGE = 1000
#: A page then has 163 KB.
ROW_BYTES = 163

NUMBERED_PAGES = 200
NUMBERED_ROWS = 100
RTT_MS = 20
PREFETCH = 16

ENDLESS_PAGES = 10_000
ENDLESS_FILES = 100
REQUESTS = 10_000
AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Client:
    """
    A client and its work.

    :param function: of ``benchmarks.support.http_clients``.
    :param path: of the first page, or of all requests.
    :param little: the same for the very little that it does first.
    :param pages: how many pages it reads, or requests it makes.
    :param rows: how many rows it has to find.
    :param computes: whether its computing time counts, instead of the time that passes.
    :param times: how many times as often as the others it is run.
    :param rounds: how often it is run, if that is fixed.
    """

    function: str
    path: str
    little: str
    pages: int
    rows: int
    at_once: int = 1
    rtt_ms: int = 0
    computes: bool = False
    times: int = 1
    rounds: int | None = None


def linked(function: str) -> Client:
    return Client(
        function=function,
        path="/linked/1.json",
        little=f"/linked/{PAGES}.json",
        pages=PAGES,
        rows=PAGES * ROWS_A_PAGE,
        computes=True,
    )


def numbered(function: str) -> Client:
    return Client(
        function=function,
        path="/numbered",
        little="/numbered/only.json",
        pages=NUMBERED_PAGES,
        rows=NUMBERED_PAGES * NUMBERED_ROWS,
        at_once=PREFETCH,
        rtt_ms=RTT_MS,
    )


def small(function: str) -> Client:
    path = "/small.json"
    return Client(
        function=function,
        path=path,
        little=path,
        pages=REQUESTS,
        rows=REQUESTS,
        at_once=AT_ONCE,
        # Half a second each, and runs differ by a tenth.
        times=4,
    )


CLIENTS = {
    "page-ours": linked("linked_ours"),
    # Page by page, as by hand. Row by row there are a thousand steps of "async for" more.
    "page-ours-by-page": linked("linked_ours_by_page"),
    "page-by-hand": linked("linked_by_hand"),
    "page-dlt": linked("linked_dlt"),
    "page-hook": linked("linked_hook"),
    "page-async-hook": linked("linked_async_hook"),
    "numbered-ours": numbered("numbered_ours"),
    "numbered-dlt": numbered("numbered_dlt"),
    "small-ours": small("small_ours"),
    # Not compared: the same without get_many, as workers of one's own.
    "small-ours-requests": small("small_ours_requests"),
    "small-by-hand": small("small_by_hand"),
    "memory-ours": Client(
        function="endless_ours",
        path="/endless",
        little="/endless",
        pages=ENDLESS_PAGES,
        rows=ENDLESS_PAGES * ROWS_A_PAGE,
        at_once=4,
        rounds=1,
    ),
}

CLAIMS: list[Claim] = [
    Ratio(claim="computing a page, over aiohttp + msgspec", slow="page-ours-by-page", fast="page-by-hand", at_most=1.2),
    Ratio(claim="the same, row by row", slow="page-ours", fast="page-by-hand", at_most=1.4),
    Ratio(claim="computing a page, by dlt", slow="page-dlt", fast="page-ours", at_least=4),
    Ratio(claim="numbered pages, 20 ms, beside dlt", slow="numbered-dlt", fast="numbered-ours", at_least=10),
    Ratio(claim="rate of small requests beside bare aiohttp", slow="small-by-hand", fast="small-ours", at_least=0.9),
    Growth(claim="growth of memory over 10,000 pages", runs=("memory-ours",), at_most=30),
]


def make_files() -> dict[str, bytes]:
    """Make all pages, by name."""

    def row(number: int) -> dict[str, object]:
        made = {"id": number, "name": f"customer {number}", "active": number % 3 == 0, "amount": number / 8, "note": ""}
        made["note"] = "n" * (ROW_BYTES - len(json.dumps(made)) - 2)
        return made

    def page(number: int, size: int, more: Mapping[str, object]) -> bytes:
        data = [row(1_000_000 + number * size + at) for at in range(size)]
        return json.dumps({"data": data, **more}).encode()

    files = {"small.json": b'{"id": 1, "name": "customer 1"}'}
    for number in range(1, PAGES + 1):
        following = {"next": f"/linked/{number + 1}.json" if number < PAGES else None}
        files[f"linked/{number}.json"] = page(number, ROWS_A_PAGE, following)
    for number in range(1, NUMBERED_PAGES + 1):
        files[f"numbered/{number}.json"] = page(number, NUMBERED_ROWS, {"total_pages": NUMBERED_PAGES})
    files["numbered/only.json"] = page(0, NUMBERED_ROWS, {"total_pages": 1})
    for number in range(ENDLESS_FILES):
        body = page(number, ROWS_A_PAGE, {})
        files |= {f"endless/{name}.json": body for name in {str(number), f"{number:02}"}}
    return files


LOCATIONS = r"""
    location = /numbered { rewrite ^ /numbered/$arg_page.json break; }
    location = /endless { if ($arg_page ~ "(\d?\d)$") { set $last $1; } rewrite ^ /endless/$last.json break; }
"""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    program = shutil.which("nginx", path=search)
    if program is None:
        sys.exit("nginx is not installed.")
    with nginx(program, folder, pages=make_files(), locations=LOCATIONS) as base:
        yield base


def measure(client: Client, base: str, folder: Path) -> Time:
    """Have a client do its work once, and check what it found."""
    host, port = base.removeprefix("http://").split(":")
    work = Work(base=base, path=client.path, pages=client.pages, at_once=client.at_once)
    little = Work(base=base, path=client.little, pages=client.at_once, at_once=client.at_once)
    connection = json.dumps({"conn_type": "http", "host": host, "port": int(port), "schema": "http"})
    works = [json.dumps(asdict(one)) for one in (little, work)]
    # dlt would report to its makers.
    more = {"AIRFLOW_CONN_BENCH": connection, "RUNTIME__DLTHUB_TELEMETRY": "false"}
    outcome = Outcome(**json.loads(run_client("http_clients", client.function, *works, folder=folder, **more)))
    if outcome.rows != client.rows:
        raise RuntimeError(f"{client.function} found {outcome.rows} rows, not {client.rows}")
    seconds = outcome.cpu_seconds if client.computes else outcome.seconds
    return Time(seconds=seconds, files=client.pages, of=client.pages, growth_mib=outcome.growth_mib)


def measure_all(options: argparse.Namespace) -> Times:
    """Run all chosen clients, in turn."""
    times = Times(versions("aiohttp", "msgspec", "dlt", "apache-airflow-providers-http"))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="http-benchmark-", dir=options.folder)))
        base = stack.enter_context(serving(folder))
        line = stack.enter_context(delayed(int(base.rpartition(":")[2]), rtt_ms=RTT_MS))
        bases = {0: base, RTT_MS: f"http://127.0.0.1:{line.port}"}
        works = {
            name: partial(measure, client, bases[client.rtt_ms], folder) for name, client in options.chosen.items()
        }
        rounds = {name: client.rounds or client.times * options.rounds for name, client in options.chosen.items()}
        run_in_turn(works, times, options, rounds=rounds)
    return times


def main() -> int:
    """Measure, print, and return an exit code."""
    options = parse_options(argparse.ArgumentParser(description=__doc__), CLIENTS, rounds=ROUNDS)
    times = Times.load(options.replay) if options.replay else measure_all(options)
    return report(times, CLAIMS, heading="client (page-*: CPU)")


if __name__ == "__main__":
    sys.exit(main())
