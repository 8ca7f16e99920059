# SPDX-License-Identifier: Apache-2.0
"""
The same files read by one process, and shared by four: what passes of time, and what it costs in computing.

The server is OpenSSH's, near and behind a line with a delay. Clients, server and line share this machine's processors:
four processes gain what it has to give, and workers of their own gain more.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from airflow_provider_async import shards  # noqa: E402
from benchmarks.support.delay import delayed  # noqa: E402
from benchmarks.support.server import make_files, serving  # noqa: E402
from tests.servers.sharing import sharing  # noqa: E402

if TYPE_CHECKING:
    from tests.servers.sftp import Fields

ROUNDS = 3
FILES = 17_000
#: How many processes, and how many connections each.
WAYS = ((1, 2), (1, 8), (4, 2))
RTT_MS = (0, 20)


async def read(connection: Fields, paths: list[str], parts: int, pool_size: int) -> tuple[float, float]:
    """Have all files read, and return the seconds that passed and those of computing, without what a start takes."""
    idle = await _time(connection, paths[: 8 * parts], parts, pool_size)
    busy = await _time(connection, paths, parts, pool_size)
    return busy[0] - idle[0], busy[1] - idle[1]


async def _time(connection: Fields, paths: list[str], parts: int, pool_size: int) -> tuple[float, float]:
    began, computed = time.monotonic(), _computed()
    async with sharing("sftp", connection, shards(paths, parts), pool_size=pool_size) as done:
        passed = time.monotonic() - began
        assert sum(done) == len(paths)
    return passed, _computed() - computed


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Measure, print, and return an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often everything is run (%(default)s)")
    parser.add_argument("--files", type=int, default=FILES, help="how many files (%(default)s)")
    options = parser.parse_args()
    print(f"{options.files:,} files, {os.cpu_count()} processors for clients and server")
    with serving() as server:
        files = make_files(server.folder / "files", options.files)
        for rtt_ms in RTT_MS:
            with delayed(server.port, rtt_ms=rtt_ms) as line:
                connection = server.fields(line.port if rtt_ms else server.port)
                times: dict[tuple[int, int], list[tuple[float, float]]] = {way: [] for way in WAYS}
                for _ in range(options.rounds):
                    for way, found in times.items():
                        found.append(asyncio.run(read(connection, files.paths, *way)))
            for (parts, pool_size), found in times.items():
                passed, computed = (statistics.median(one[at] for one in found) for at in (0, 1))
                who = f"{parts} process(es) with {pool_size} connections each"
                print(f"{rtt_ms} ms, {who}: {passed:.1f} s, {computed:.1f} s of computing", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
