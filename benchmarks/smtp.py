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
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.support.delay import delayed  # noqa: E402
from benchmarks.support.report import Claim, Ratio, Time, Times  # noqa: E402
from benchmarks.support.run import (  # noqa: E402
    parse_options,
    report,
    run_client,
    run_command,
    run_in_turn,
    versions,
)
from tests.servers.postfix import free_port, postfix, smtp_sink  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROUNDS = 5
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


def measure(client: Client, port: int, folder: Path) -> Time:
    """Have a client send its mails once."""
    began = time.perf_counter()
    if client.function == "source":
        source = shutil.which("smtp-source", path="/usr/sbin:/sbin") or "smtp-source"
        where = f"127.0.0.1:{port}"
        # -N: each mail to a recipient of its own, as the others do, which costs Postfix more.
        run_command([source, "-N", "-s", "8", "-m", str(client.mails), "-l", "480", "-d", where], os.environ)
        seconds = time.perf_counter() - began
    elif client.function == "nodemailer":
        script = ROOT / "benchmarks" / "support" / "nodemailer.cjs"
        output = run_command(["node", str(script), str(folder), str(port), str(client.mails)], os.environ)
        seconds = float(output.splitlines()[-1])
    else:
        seconds = float(run_client("smtp_clients", client.function, str(port), str(client.mails), folder=folder))
    return Time(seconds=seconds, files=client.mails, of=MAILS)


def install_nodemailer(folder: Path) -> bool:
    """Fetch it from npm; without it, it is left out."""
    if shutil.which("npm") is None:
        print("npm is not installed: nodemailer is left out", file=sys.stderr)
        return False
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), "nodemailer@7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"nodemailer is left out: {done.stderr[-300:]}", file=sys.stderr)
    return done.returncode == 0


async def measure_all(options: argparse.Namespace) -> Times:
    """Run all chosen clients, in turn."""
    times = Times(versions("aiosmtplib", "apache-airflow-providers-smtp") | {"mails": f"{MAILS:,}"})
    with tempfile.TemporaryDirectory(prefix="smtp-benchmark-", dir=options.folder) as name:
        folder, chosen = Path(name), options.chosen
        if any(client.function == "nodemailer" for client in chosen.values()) and not install_nodemailer(folder):
            chosen = {name: client for name, client in chosen.items() if client.function != "nodemailer"}
        async with serving({client.server for client in chosen.values()}) as ports:
            works = {name: partial(measure, client, ports[client.server], folder) for name, client in chosen.items()}
            await asyncio.to_thread(run_in_turn, works, times, options)
    return times


def main() -> int:
    """Measure, print, and return an exit code."""
    options = parse_options(argparse.ArgumentParser(description=__doc__), CLIENTS, rounds=ROUNDS)
    times = Times.load(options.replay) if options.replay else asyncio.run(measure_all(options))
    return report(times, CLAIMS, heading="client")


if __name__ == "__main__":
    sys.exit(main())
