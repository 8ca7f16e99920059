# SPDX-License-Identifier: Apache-2.0
"""
``max_concurrency="auto"`` beside the best fixed limit of a sweep, against servers of their own processes.

Each limit works for some seconds, all of them in turn, several rounds of it; "auto" begins anew each time, so that what
it takes to find out is part of its figure. ``--help`` tells how to run a part.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from airflow_provider_async.http import HTTPClientPool  # noqa: E402
from airflow_provider_async.sftp import SFTPClientPool  # noqa: E402
from benchmarks.support.delay import delayed  # noqa: E402
from benchmarks.support.server import make_files, serving  # noqa: E402
from tests.servers.http import Answer, HTTPServer, Request  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from tests.servers.sftp import Fields

ROUNDS = 3
FIXED_SECONDS = 4
AUTO_SECONDS = 30
FIXED = (2, 4, 8, 16, 32, 64, 128)
AT_LEAST = 0.85
FILES = 2000


@dataclass(frozen=True)
class Target:
    """
    A server.

    :param port: where it listens, or the line in front of it.
    :param folder: its files, if it is one of SFTP.
    """

    port: int
    folder: Path | None = None
    connection: Fields | None = None


@dataclass(frozen=True)
class Result:
    """How many a second a limit has done, where it was at the end, and how often the server refused."""

    rate: float
    limit: int
    retries: int


async def work(target: Target, limit: int | Literal["auto"], seconds: float) -> Result:
    """Do as much as can be done in some seconds."""
    async with contextlib.AsyncExitStack() as stack:
        if target.folder is None:
            web = HTTPClientPool(None, base_url=f"http://127.0.0.1:{target.port}", max_concurrency=limit)
            pool = await stack.enter_async_context(web)
            results = web.get_many(str(number) for number in itertools.count())
            statistics_of = pool.statistics
        else:
            files = SFTPClientPool(connection=target.connection, max_concurrency=limit)
            await stack.enter_async_context(files)
            paths = [f"{target.folder}/{number:05}.xml" for number in range(FILES)]
            results = files.read_many(itertools.cycle(paths))  # type: ignore[assignment]
            statistics_of = files.statistics
        await stack.enter_async_context(results)
        began = time.monotonic()
        async for _ in results:
            if time.monotonic() - began >= seconds:
                break
        elapsed = time.monotonic() - began
        progress = results.progress
        return Result(progress.done / elapsed, statistics_of().limit, progress.retries + statistics_of().connect_errors)


# Servers.


async def serve(capacity: int, seconds: float, refuses_above: int) -> None:
    """Answer requests, so many at once, until the standard input ends."""
    free = asyncio.Semaphore(capacity)
    server = HTTPServer()
    body = b'{"id": 1}'

    async def answer(_: Request) -> Answer:
        server.seen.clear()
        if server.in_flight > refuses_above:
            return Answer(status=429)
        async with free:
            await asyncio.sleep(seconds)
        return Answer(body=body)

    server.on("/*", answer)
    async with server.running():
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def http(capacity: int, seconds: float, refuses_above: int = 10**6) -> Iterator[Target]:
    command = [sys.executable, str(Path(__file__)), "--serve", str(capacity), str(seconds), str(refuses_above)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield Target(int(process.stdout.readline()))
        finally:
            process.stdin.close()


@contextlib.contextmanager
def sftp(rtt_ms: float) -> Iterator[Target]:
    with serving() as server, delayed(server.port, rtt_ms=rtt_ms) as line:
        files = make_files(server.folder / "files", FILES)
        yield Target(line.port, files.folder, server.fields(line.port))


@contextlib.contextmanager
def http_at(rtt_ms: float, capacity: int, seconds: float) -> Iterator[Target]:
    with http(capacity, seconds) as near, delayed(near.port, rtt_ms=rtt_ms) as line:
        yield Target(line.port)


SERVERS = {
    "http: 12 at once, 20 ms": lambda: http(12, 0.02),
    "http: 40 at once, 50 ms": lambda: http(40, 0.05),
    "http: 40 at once, 50 ms, 20 ms away": lambda: http_at(20, 40, 0.05),
    "http: refuses above 20, 30 ms": lambda: http(1000, 0.03, 20),
    "sftp: sshd, near": lambda: sftp(0),
    "sftp: sshd, 20 ms away": lambda: sftp(20),
    "sftp: sshd, 60 ms away": lambda: sftp(60),
}


def measure(name: str, rounds: int) -> bool:
    """Print what each limit does, and tell whether "auto" does as much of the best as is claimed."""
    results: dict[int | Literal["auto"], list[Result]] = {limit: [] for limit in (*FIXED, "auto")}
    with SERVERS[name]() as target:
        for _ in range(rounds):
            for limit, found in results.items():
                seconds = AUTO_SECONDS if limit == "auto" else FIXED_SECONDS
                found.append(asyncio.run(work(target, limit, seconds)))
    rates = {limit: statistics.median(one.rate for one in found) for limit, found in results.items()}
    best = max(FIXED, key=lambda limit: rates[limit])
    ratio = rates["auto"] / rates[best]
    print(f"\n{name}", flush=True)
    print("  a second:", ", ".join(f"{limit}: {rate:,.0f}" for limit, rate in rates.items()))
    limits = ", ".join(str(one.limit) for one in results["auto"])
    refused = ", ".join(str(one.retries) for one in results["auto"])
    print(f"  auto ended at {limits}; tried again {refused} times")
    print(f"  {'ok' if ratio >= AT_LEAST else 'MISSED'}: auto is {ratio:.2f} of the best, {best} (at least {AT_LEAST})")
    return ratio >= AT_LEAST


def main() -> int:
    """Measure, print, and return an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often everything is run (%(default)s)")
    parser.add_argument("--only", default="", help=f"the beginning of one of: {'; '.join(SERVERS)}")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        capacity, seconds, refuses_above = options.serve
        asyncio.run(serve(int(capacity), float(seconds), int(refuses_above)))
        return 0
    chosen = [name for name in SERVERS if name.startswith(options.only)]
    results = [measure(name, options.rounds) for name in chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
