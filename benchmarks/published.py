# SPDX-License-Identifier: Apache-2.0
"""
The comparison of AIP-98 again, with this package beside it, on one machine and one server.

A real Airflow (LocalExecutor with six slots, SQLite) runs each DAG of support/dags/published.py, in turn and several
times; the time is from the start of a DAG run's first task to the end of its last one. The slow approaches get a
sample: the time of the loop in the task, or of the whole run with mapped tasks, is scaled up to all files.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.approaches import run_seconds  # noqa: E402 - found through the line above
from benchmarks.support import server  # noqa: E402
from benchmarks.support.plot import draw_bars, duration  # noqa: E402
from benchmarks.support.report import Time, Times  # noqa: E402
from benchmarks.support.run import add_options, report, run_in_turn, versions  # noqa: E402
from system_tests.support.airflow import Airflow  # noqa: E402

FILES = 17_000
ROUNDS = 3
TABLE = ROOT / "docs" / "guides" / "published.rst.inc"
PICTURE = ROOT / "docs" / "_static" / "published.svg"


@dataclass(frozen=True)
class Approach:
    """
    One row of the table.

    :param name: what it is called there.
    :param published: the seconds in the proposal.
    :param files: how many files it gets here.
    """

    name: str
    published: float | None
    files: int


APPROACHES = {
    "mapped_operator": Approach("Mapped SFTPOperator", 3 * 3600 + 25 * 60 + 55, 40),
    "sync_loop": Approach("PythonOperator, SFTPHook", 3600 + 21 * 60 + 9, 60),
    "async_without_pool": Approach("Async task, SFTPHookAsync", 8 * 60 + 29, 200),
    "airflow_pool": Approach("Async task, Airflow's SFTPClientPool", 3 * 60 + 32, FILES),
    "our_pool": Approach("Async task, SFTPClientPool of this package", None, FILES),
}
OURS = "our_pool"


def measure(airflow: Airflow, dag_id: str, files: server.Files, results: Path) -> Time:
    """Run a DAG once, check what it did, and return its time."""
    result = results / f"{dag_id}.json"
    result.unlink(missing_ok=True)
    written_here = Path(f"{results}{files.folder}")
    shutil.rmtree(written_here, ignore_errors=True)
    count, of = min(APPROACHES[dag_id].files, len(files.sizes)), len(files.sizes)
    seconds = run_seconds(airflow, dag_id)
    size = sum(list(files.sizes.values())[:count])
    if dag_id == "mapped_operator":
        written = server.sizes_in(written_here)
        done = {"files": len(written), "bytes": sum(written.values()), "seconds": seconds}
    else:
        done = json.loads(result.read_text())
    if (done["files"], done["bytes"]) != (count, size):
        raise RuntimeError(f"{dag_id}: {done}, not {count} files of {size} bytes")
    # To start a task takes as long for few files as for many.
    return Time(seconds=seconds, few_seconds=seconds - done["seconds"], files=count, of=of)


def measure_all(options: argparse.Namespace) -> Times:
    """Run all DAGs, in turn."""
    times = Times(versions("apache-airflow", "apache-airflow-providers-sftp", "asyncssh", "paramiko"))
    with server.serving(options.folder) as running:
        files = server.make_files(running.folder / "small", options.files)
        results = running.folder / "results"
        results.mkdir()
        settings = {
            "AIRFLOW_CONN_BENCH": running.airflow_connection(running.port),
            "BENCHMARK_EXTENT": json.dumps({dag_id: approach.files for dag_id, approach in APPROACHES.items()}),
            "BENCHMARK_FOLDER": str(files.folder),
            "BENCHMARK_RESULTS": str(results),
        }
        with Airflow(ROOT / "benchmarks" / "support" / "dags", settings=settings) as airflow:
            airflow.wait_for_dags(*APPROACHES)
            # The first run pays for what the server builds when it is first asked.
            measure(airflow, OURS, files, results)
            works = {dag_id: partial(measure, airflow, dag_id, files, results) for dag_id in APPROACHES}
            run_in_turn(works, times, options)
    return times


def rows(times: Times) -> list[tuple[str, str, str, str]]:
    """Return name, the proposal's time, the time here, and how many times ours that is."""
    ours = times.seconds(OURS)
    found = []
    for dag_id, approach in APPROACHES.items():
        published = "" if approach.published is None else duration(approach.published)
        seconds = times.seconds(dag_id)
        if seconds is not None and ours is not None:
            run = times.runs[dag_id][0]
            sample = "" if run.files == run.of else f" ({run.files} files, scaled)"
            found.append((approach.name, published, f"{duration(seconds)}{sample}", f"{seconds / ours:,.0f}"))
    return found


def write_table(times: Times, path: Path) -> None:
    """Write the rows for the documentation."""
    heading = ("Approach", "In the proposal", "Here", "Times ours")
    lines = [
        ".. Written by `python benchmarks/published.py --save`.",
        "",
        ".. list-table:: 17,000 files of 2 to 6 KB",
        "   :header-rows: 1",
        "   :widths: 42 16 28 14",
        "",
    ]
    for row in (heading, *rows(times)):
        lines += [f"   {'* -' if place == 0 else '  -'} {cell}".rstrip() for place, cell in enumerate(row)]
    about = ", ".join(f"{name} {value}" for name, value in times.about.items() if name != "processors")
    lines += ["", f"Medians of {len(times.runs[OURS])} runs on {times.about['processors']} processors with {about}."]
    path.write_text("\n".join(lines) + "\n")


def draw(times: Times, path: Path) -> None:
    """Draw the proposal's times and these."""
    published = {approach.name: approach.published for approach in APPROACHES.values()}
    here = {approach.name: times.seconds(dag_id) for dag_id, approach in APPROACHES.items()}
    title = "17,000 files of 2 to 6 KB over SFTP in an Airflow task"
    draw_bars(path, {"in the proposal": published, "here": here}, ours=[APPROACHES[OURS].name], title=title)


def main() -> int:
    """Measure, print, and return an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=FILES, help="how many files (%(default)s)")
    add_options(parser, rounds=ROUNDS)
    parser.add_argument(
        "--save", action="store_true", help=f"write {TABLE.relative_to(ROOT)} and draw {PICTURE.relative_to(ROOT)}"
    )
    options = parser.parse_args()
    times = Times.load(options.replay) if options.replay else measure_all(options)
    report(times, (), heading="DAG")
    print()
    for row in (("approach", "in the proposal", "here", "times ours"), *rows(times)):
        print("{:44}{:>16}{:>34}{:>12}".format(*row))
    if options.save:
        write_table(times, TABLE)
        draw(times, PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
