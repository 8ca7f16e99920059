# SPDX-License-Identifier: Apache-2.0
"""What comparisons have in common: their options, processes of their own, several rounds, and how they end."""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from benchmarks.support.delay import ROOT
from benchmarks.support.report import Claim, Time, Times, check, print_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

LIMIT_SECONDS = 1200


def add_options(parser: argparse.ArgumentParser, *, rounds: int) -> None:
    """Add what every comparison can be told."""
    parser.add_argument("--rounds", type=int, default=rounds, help="how often everything is run (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where files are written (the folder for temporary files)")
    parser.add_argument("--json", type=Path, help="save all that is measured here")
    parser.add_argument("--replay", type=Path, help="measure nothing, take what --json has saved")


def parse_options(parser: argparse.ArgumentParser, clients: Mapping[str, object], *, rounds: int) -> argparse.Namespace:
    """Return what a comparison of clients is told; ``chosen`` has those that take part, by name."""
    add_options(parser, rounds=rounds)
    parser.add_argument("--only", default="", help=f"clients, separated by commas, of {', '.join(clients)}")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    if unknown := {*only} - clients.keys():
        parser.error(f"no such client: {', '.join(sorted(unknown))}")
    options.chosen = {name: client for name, client in clients.items() if not only or name in only}
    return options


def versions(*packages: str) -> dict[str, str]:
    """Name the versions, for the reader of the results; what is not installed is left out."""
    found = {"processors": str(os.cpu_count()), "Python": platform.python_version()}
    for package in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def run_command(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a program to its end, and return what it printed."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=LIMIT_SECONDS,
    )
    if done.returncode:
        output = f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
        raise RuntimeError(f"{shlex.join(command)} ended with {done.returncode}:\n{output}")
    return done.stdout


def run_client(module: str, *arguments: str, folder: Path, **environment: str) -> str:
    """
    Run a client in Python, and return the last line that it printed.

    :param module: of ``benchmarks.support``.
    :param folder: where Airflow may write.
    :param environment: more variables.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.lstrip("_").startswith("AIRFLOW_")}
    quiet = {"AIRFLOW_HOME": str(folder / "airflow"), "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"}
    command = [sys.executable, "-m", f"benchmarks.support.{module}", *arguments]
    return run_command(command, inherited | quiet | environment).splitlines()[-1]


def run_in_turn(
    works: Mapping[str, Callable[[], Time]],
    times: Times,
    options: argparse.Namespace,
    *,
    rounds: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """
    Run each work, round by round, and save after each what there is so far.

    Every second round goes backwards, so that nobody always runs right after the same other one.

    :param rounds: how often those are run that are not run as often as the options say.
    """
    often = {**dict.fromkeys(works, options.rounds), **rounds}
    for number in range(1, max(often.values()) + 1):
        for name, work in list(works.items())[:: 1 if number % 2 else -1]:
            if number > often[name]:
                continue
            time = work()
            times.add(name, time)
            print(f"round {number}: {name} {time.seconds:.2f} s", file=sys.stderr, flush=True)
            if options.json:
                times.save(options.json)


def report(times: Times, claims: Sequence[Claim], *, heading: str) -> int:
    """Print what was measured, and return the exit code: 1 if a claim does not hold."""
    print("; ".join(f"{name}: {value}" for name, value in times.about.items()))
    print_table(times, heading=heading)
    results = [check(claim, times) for claim in claims]
    return 0 if all(results) else 1
