# SPDX-License-Identifier: Apache-2.0
"""
What the same files cost a whole Airflow: as mapped tasks, in one task of several kinds, and in four shards.

Airflow runs on PostgreSQL and Redis with two Celery workers of two slots each. Time is from the start of a DAG run's
first task to the end of its last one; processor time and what is written to the database are those of the whole
stack, less what it spends in the same time when nothing runs. Mapped tasks get a sample, and are scaled up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import time
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

ROOT = Path(__file__).parent.parent
# Not this folder: published.py and others are found as parts of the package benchmarks.
sys.path.insert(0, str(ROOT))

from benchmarks.approaches import run_seconds  # noqa: E402 - found through the line above
from benchmarks.support import server  # noqa: E402
from benchmarks.support.plot import draw_bars, duration  # noqa: E402
from benchmarks.support.run import add_options  # noqa: E402
from system_tests.support.services import Postgres  # noqa: E402
from system_tests.support.stack import WORKERS, running_stack  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

    from system_tests.support.stack import Stack

FILES = 2_000
SAMPLE = 200
ROUNDS = 3
IDLE_SECONDS = 20
#: A connection to PostgreSQL that is idle reports what it has written after so long.
SETTLE_SECONDS = 11

TABLE = ROOT / "docs" / "guides" / "on_airflow.rst.inc"
PICTURE = ROOT / "docs" / "_static" / "on_airflow.svg"

MAPPED, OURS = "mapped_operator", "our_pool"
APPROACHES = {
    MAPPED: "Mapped SFTPOperator",
    "hook_loop": "One task, SFTPHook",
    "airflow_pool": "One task, Airflow's SFTPClientPool",
    OURS: "One task, SFTPClientPool of this package",
    "our_shards": "Four shards, SFTPClientPool of this package",
}

TIMES_FASTER = 100
TIMES_FEWER_ROWS = 500


@dataclass(frozen=True, kw_only=True)
class Cost:
    """
    What something costs.

    :param seconds: that pass.
    :param workers: seconds of processor time, of the workers and their tasks.
    :param central: the same of scheduler and API server.
    :param rows: of Airflow's database that are inserted, updated or deleted.
    :param written: bytes of PostgreSQL's log of what is written.
    """

    seconds: float
    workers: float
    central: float
    rows: float
    written: float

    def less(self, other: Cost, times: float = 1.0) -> Cost:
        """Return the difference, none of it below zero."""
        mine, others = asdict(self), asdict(other)
        return Cost(**{name: max(0.0, mine[name] - times * others[name]) for name in mine})

    def times(self, factor: float) -> Cost:
        return Cost(**{name: value * factor for name, value in asdict(self).items()})


def median(costs: Sequence[Cost]) -> Cost:
    names = [field.name for field in fields(Cost)]
    return Cost(**{name: statistics.median(getattr(cost, name) for cost in costs) for name in names})


def read(stack: Stack) -> Cost:
    """Read all meters, once what was written is counted."""
    time.sleep(SETTLE_SECONDS)
    components = stack.airflow.components
    statement = (
        "SELECT tup_inserted + tup_updated + tup_deleted, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') "
        f"FROM pg_stat_database WHERE datname = '{stack.metadata}'"
    )
    rows, written = stack.postgres.run("psql", "-At", "-F", " ", "-c", statement, stack.metadata).split()
    return Cost(
        seconds=time.monotonic(),
        workers=sum(processor_seconds(components[name].pid) for name in WORKERS),
        central=sum(processor_seconds(components[name].pid) for name in ("scheduler", "api-server")),
        rows=float(rows),
        written=float(written),
    )


def processor_seconds(pid: int) -> float:
    """Sum up a process, those below it, and those that have ended there."""
    process = psutil.Process(pid)
    return sum(sum(each.cpu_times()[:4]) for each in (process, *process.children(recursive=True)))


def measure(
    stack: Stack, dag_id: str, files: server.Files, results: Path, *, before: Cost, idle: Cost
) -> tuple[Cost, Cost]:
    """Run a DAG once, check what it did, and return what it cost, and what the meters say."""
    for result in results.glob("*.json"):
        result.unlink()
    written_here = Path(f"{results}{files.folder}")
    shutil.rmtree(written_here, ignore_errors=True)
    seconds = run_seconds(stack.airflow, dag_id)
    after = read(stack)
    spent = after.less(before)
    cost = Cost(**(asdict(spent.less(idle, spent.seconds)) | {"seconds": seconds}))
    if dag_id == MAPPED:
        written = server.sizes_in(written_here)
        done, size, count = len(written), sum(written.values()), min(SAMPLE, len(files.sizes))
    else:
        found = [json.loads(result.read_text()) for result in results.glob("*.json")]
        done, size = sum(one["files"] for one in found), sum(one["bytes"] for one in found)
        count = len(files.sizes)
    if (done, size) != (count, sum(list(files.sizes.values())[:count])):
        raise RuntimeError(f"{dag_id} did {done} files of {size} bytes, not {count}")
    return cost.times(len(files.sizes) / count), after


def measure_all(options: argparse.Namespace) -> dict[str, list[Cost]]:
    """Run all DAGs, in turn."""
    costs: dict[str, list[Cost]] = {dag_id: [] for dag_id in APPROACHES}
    with server.serving(options.folder) as running, Postgres() as postgres:
        files = server.make_files(running.folder / "small", options.files)
        results = running.folder / "results"
        results.mkdir()
        settings = {
            "AIRFLOW_CONN_BENCH": running.airflow_connection(running.port),
            "BENCHMARK_EXTENT": json.dumps(dict.fromkeys(APPROACHES, options.files) | {MAPPED: SAMPLE}),
            "BENCHMARK_FOLDER": str(files.folder),
            "BENCHMARK_RESULTS": str(results),
        }
        with running_stack(ROOT / "benchmarks" / "support" / "dags", postgres, settings=settings) as stack:
            stack.airflow.wait_for_dags(*APPROACHES)
            # The first run pays for what the server builds when it is first asked.
            run_seconds(stack.airflow, OURS)
            before = read(stack)
            time.sleep(IDLE_SECONDS)
            meters = read(stack)
            spent = meters.less(before)
            idle = spent.times(1 / spent.seconds)
            for number in range(1, options.rounds + 1):
                for dag_id in APPROACHES:
                    cost, meters = measure(stack, dag_id, files, results, before=meters, idle=idle)
                    costs[dag_id].append(cost)
                    print(f"round {number}: {dag_id} {cost}", file=sys.stderr, flush=True)
                    if options.json:
                        save(costs, options.json)
    return costs


def save(costs: dict[str, list[Cost]], path: Path) -> None:
    path.write_text(json.dumps({dag_id: [asdict(cost) for cost in of] for dag_id, of in costs.items()}, indent=1))


def load(path: Path) -> dict[str, list[Cost]]:
    return {dag_id: [Cost(**cost) for cost in of] for dag_id, of in json.loads(path.read_text()).items()}


HEADING = ("Approach", "Time", "Times ours", "Workers' CPU", "Scheduler's and API server's CPU", "Rows", "Written")


def rows(medians: dict[str, Cost]) -> list[tuple[str, ...]]:
    """Return the lines of the table."""
    ours = medians[OURS].seconds
    return [
        (
            APPROACHES[dag_id],
            duration(cost.seconds) + (f" ({SAMPLE} files, scaled)" if dag_id == MAPPED else ""),
            f"{cost.seconds / ours:,.1f}" if cost.seconds < 10 * ours else f"{cost.seconds / ours:,.0f}",
            duration(cost.workers),
            duration(cost.central),
            f"{cost.rows:,.0f}",
            f"{cost.written / 1e3:,.0f} KB",
        )
        for dag_id, cost in medians.items()
    ]


def write_table(medians: dict[str, Cost], rounds: int, path: Path) -> None:
    """Write the rows for the documentation."""
    lines = [
        ".. Written by `python benchmarks/on_airflow.py --save`.",
        "",
        ".. list-table:: 2,000 files of 2 to 6 KB, on PostgreSQL, Redis and two Celery workers of two slots each",
        "   :header-rows: 1",
        "   :widths: 30 16 10 12 14 9 9",
        "",
    ]
    for row in (HEADING, *rows(medians)):
        lines += [f"   {'* -' if place == 0 else '  -'} {cell}".rstrip() for place, cell in enumerate(row)]
    runs = f"Medians of {rounds} runs" if rounds > 1 else "One run"
    what = (
        "Rows of Airflow's database that were inserted, updated or deleted, and bytes of PostgreSQL's write-ahead log; "
        "all but the time is less what an idle Airflow costs meanwhile."
    )
    lines += ["", f"{runs} on {os.cpu_count()} processors with {about()}. {what}"]
    path.write_text("\n".join(lines) + "\n")


def about() -> str:
    packages = ("apache-airflow", "apache-airflow-providers-celery", "apache-airflow-providers-sftp", "asyncssh")
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in packages)])


def draw(medians: dict[str, Cost], path: Path) -> None:
    """Draw all that is measured in seconds."""
    panels: dict[str, dict[str, float | None]] = {
        heading: {APPROACHES[dag_id]: max(0.1, getattr(cost, name)) for dag_id, cost in medians.items()}
        for heading, name in (
            ("time", "seconds"),
            ("workers' CPU", "workers"),
            ("scheduler's and API server's CPU", "central"),
        )
    }
    title = "2,000 files of 2 to 6 KB over SFTP, with PostgreSQL, Redis and two Celery workers"
    draw_bars(path, panels, ours=[APPROACHES[OURS], APPROACHES["our_shards"]], title=title)


def main() -> int:
    """Measure, print, and return an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=FILES, help="how many files (%(default)s)")
    add_options(parser, rounds=ROUNDS)
    parser.add_argument(
        "--save", action="store_true", help=f"write {TABLE.relative_to(ROOT)} and draw {PICTURE.relative_to(ROOT)}"
    )
    options = parser.parse_args()
    costs = load(options.replay) if options.replay else measure_all(options)
    medians = {dag_id: median(of) for dag_id, of in costs.items() if of}
    for row in (HEADING, *rows(medians)):
        print("{:46}{:>28}{:>12}{:>14}{:>34}{:>10}{:>12}".format(*row))
    if options.save:
        write_table(medians, len(costs[OURS]), TABLE)
        draw(medians, PICTURE)
    faster = medians[MAPPED].seconds / medians[OURS].seconds
    fewer = medians[MAPPED].rows / max(1.0, medians[OURS].rows)
    print(f"mapped tasks take {faster:,.0f} times as long (at least {TIMES_FASTER})")
    print(f"mapped tasks write {fewer:,.0f} times as many rows (at least {TIMES_FEWER_ROWS})")
    return 0 if faster >= TIMES_FASTER and fewer >= TIMES_FEWER_ROWS else 1


if __name__ == "__main__":
    sys.exit(main())
