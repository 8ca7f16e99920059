# SPDX-License-Identifier: Apache-2.0
"""
Mail beside other clients: to a server that does nothing, over a slow line, and to a real Postfix.

The servers are Postfix's smtp-sink, one of the tests' that knows CHUNKING, and Postfix with a transport that throws
away. All clients run in turn over 8 connections, each in a process of its own, several rounds of them. ``--help`` tells
how to run a part.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.support.delay import delayed  # noqa: E402
from benchmarks.support.report import Claim, Ratio, Time, Times, check, print_table  # noqa: E402
from tests.servers.postfix import free_port, postfix, smtp_sink  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROUNDS = 5
LIMIT_SECONDS = 300
RTT_MS = 20
MAILS = 10_000


@dataclass(frozen=True, kw_only=True)
class Client:
    """
    A client and its work.

    :param function: of ``benchmarks.support.smtp_clients``, or ``source`` or ``nodemailer``.
    :param server: ``sink``, ``chunking`` or ``postfix``, with ``@20`` behind a slow line.
    :param mails: how many it sends; the slow ones do a part of the work.
    """

    function: str
    server: str
    mails: int


CLIENTS = {
    "ours": Client(function="ours", server="sink", mails=10_000),
    "smtp-source": Client(function="source", server="sink", mails=10_000),
    "reused": Client(function="reused", server="sink", mails=4_000),
    "each": Client(function="each", server="sink", mails=1_000),
    "SmtpHook": Client(function="hook", server="sink", mails=80),
    "nodemailer": Client(function="nodemailer", server="sink", mails=4_000),
    "ours@20": Client(function="ours", server="sink@20", mails=2_000),
    "smtp-source@20": Client(function="source", server="sink@20", mails=500),
    "reused@20": Client(function="reused", server="sink@20", mails=500),
    "nodemailer@20": Client(function="nodemailer", server="sink@20", mails=500),
    "ours-chunked@20": Client(function="ours_chunked", server="chunking@20", mails=10_000),
    "ours-postfix": Client(function="ours", server="postfix", mails=3_000),
    "smtp-source-postfix": Client(function="source", server="postfix", mails=3_000),
    "reused-postfix": Client(function="reused", server="postfix", mails=3_000),
    "resumable-postfix": Client(function="ours_resumable_100", server="postfix", mails=3_000),
    "ours-postfix@20": Client(function="ours", server="postfix@20", mails=1_000),
    "reused-postfix@20": Client(function="reused", server="postfix@20", mails=500),
    # Not compared with a limit: other windows.
    "resumable-10": Client(function="ours_resumable_10", server="postfix", mails=1_000),
    "resumable-30": Client(function="ours_resumable_30", server="postfix", mails=2_000),
    "resumable-300": Client(function="ours_resumable_300", server="postfix", mails=3_000),
    # Not compared with a limit: what building and rendering costs both.
    "ours-rendered": Client(function="ours_rendered", server="sink", mails=2_000),
    "reused-rendered": Client(function="reused_rendered", server="sink", mails=2_000),
}

CLAIMS: list[Claim] = [
    Ratio(claim="rate beside smtp-source", slow="smtp-source", fast="ours", at_least=0.75),
    Ratio(claim="aiosmtplib, connections reused", slow="reused", fast="ours", at_least=3.5),
    Ratio(claim="Airflow's SmtpHook as documented", slow="SmtpHook", fast="ours", at_least=200),
    Ratio(claim="nodemailer's pool", slow="nodemailer", fast="ours", at_least=1),
    Ratio(claim="20 ms: aiosmtplib, reused", slow="reused@20", fast="ours@20", at_least=3.5),
    Ratio(claim="20 ms: smtp-source", slow="smtp-source@20", fast="ours@20", at_least=3.5),
    Ratio(claim="20 ms, CHUNKING: aiosmtplib, reused", slow="reused@20", fast="ours-chunked@20", at_least=12),
    Ratio(claim="Postfix: rate beside smtp-source", slow="smtp-source-postfix", fast="ours-postfix", at_least=0.75),
    Ratio(claim="Postfix: aiosmtplib, reused", slow="reused-postfix", fast="ours-postfix", at_least=1.5),
    Ratio(claim="Postfix, 20 ms: aiosmtplib, reused", slow="reused-postfix@20", fast="ours-postfix@20", at_least=1.5),
    Ratio(claim="Postfix: with resume, 20 ms a write", slow="resumable-postfix", fast="ours-postfix", at_most=1.05),
]


@contextlib.asynccontextmanager
async def serving(chosen: set[str]) -> AsyncIterator[dict[str, int]]:
    """Let the servers run that are asked for; gives their ports."""
    ports: dict[str, int] = {}
    names = {name.partition("@")[0] for name in chosen}
    async with contextlib.AsyncExitStack() as stack:
        if "sink" in names:
            ports["sink"] = (await stack.enter_async_context(smtp_sink(keeps=False))).port
        if "postfix" in names:
            ports["postfix"] = (await stack.enter_async_context(postfix())).port
        if "chunking" in names:
            ports["chunking"] = free_port()
            command = [sys.executable, "-m", "tests.servers.smtp", str(ports["chunking"])]
            process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
            stack.callback(process.kill)
            assert process.stdout is not None
            await process.stdout.readline()
        for name in names & {name.partition("@")[0] for name in chosen if "@" in name}:
            ports[f"{name}@{RTT_MS}"] = stack.enter_context(delayed(ports[name], rtt_ms=RTT_MS)).port
        yield ports


def measure(client: Client, port: int, nodemailer: Path | None) -> Time | None:
    """Have a client send its mails once."""
    inherited = {name: value for name, value in os.environ.items() if not name.lstrip("_").startswith("AIRFLOW_")}
    environment = inherited | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    if client.function == "source":
        source = shutil.which("smtp-source", path="/usr/sbin:/sbin") or "smtp-source"
        size = str(480)
        # -N: each mail to a recipient of its own, as the others do, which costs Postfix more.
        command = [source, "-N", "-s", "8", "-m", str(client.mails), "-l", size, "-d", f"127.0.0.1:{port}"]
    elif client.function == "nodemailer":
        if nodemailer is None:
            return None
        script = ROOT / "benchmarks" / "support" / "nodemailer.cjs"
        command = ["node", str(script), str(nodemailer), str(port), str(client.mails)]
    else:
        command = [sys.executable, "-m", "benchmarks.support.smtp_clients"]
        command += [client.function, str(port), str(client.mails)]
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    if client.function != "source":
        seconds = float(done.stdout.splitlines()[-1])
    return Time(seconds=seconds, files=client.mails, of=MAILS)


def install_nodemailer(folder: Path) -> Path | None:
    """Fetch it from npm; without it, it is left out."""
    if shutil.which("npm") is None:
        print("npm is not installed: nodemailer is left out", file=sys.stderr)
        return None
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), "nodemailer@7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"nodemailer is left out: {done.stderr[-300:]}", file=sys.stderr)
        return None
    return folder


async def measure_all(options: argparse.Namespace) -> Times:
    """Run all chosen clients, in turn."""
    chosen = {name: client for name, client in CLIENTS.items() if not options.only or name in options.only}
    times = Times(about())
    with tempfile.TemporaryDirectory(prefix="smtp-benchmark-") as folder:
        needs_node = any(client.function == "nodemailer" for client in chosen.values())
        nodemailer = install_nodemailer(Path(folder)) if needs_node else None
        async with serving({client.server for client in chosen.values()}) as ports:
            for number in range(1, options.rounds + 1):
                for name, client in chosen.items():
                    taken = await asyncio.to_thread(measure, client, ports[client.server], nodemailer)
                    if taken is None:
                        continue
                    times.add(name, taken)
                    rate = taken.files / taken.seconds
                    print(f"round {number}: {name} {rate:,.0f} mails a second", file=sys.stderr, flush=True)
                    if options.json:
                        times.save(options.json)
    return times


def about() -> dict[str, str]:
    """Name the versions, for the reader of the results."""
    found = {"processors": str(os.cpu_count()), "Python": platform.python_version(), "mails": f"{MAILS:,}"}
    for package in ("aiosmtplib", "apache-airflow-providers-smtp"):
        found[package] = version(package)
    return found


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often everything is run (%(default)s)")
    parser.add_argument("--only", default="", help=f"clients, separated by commas, of {', '.join(CLIENTS)}")
    parser.add_argument("--json", type=Path, help="save all times here")
    parser.add_argument("--replay", type=Path, help="measure nothing, take the times that --json has saved")
    options = parser.parse_args()
    options.only = [name for name in options.only.split(",") if name]
    if unknown := {*options.only} - CLIENTS.keys():
        parser.error(f"no such client: {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    """Measure, print, and return an exit code."""
    options = parse_options()
    times = Times.load(options.replay) if options.replay else asyncio.run(measure_all(options))
    print("; ".join(f"{name}: {value}" for name, value in times.about.items()))
    print_table(times, heading="client")
    results = [check(claim, times) for claim in CLAIMS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
