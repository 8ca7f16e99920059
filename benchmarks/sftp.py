# SPDX-License-Identifier: Apache-2.0
"""
SFTP beside other clients: many small files, a large one and a large tree, at 0, 10 and 40 ms of round trip.

The server is OpenSSH's. All clients run in turn, each in a process of its own, several rounds of them. Slow ones get a
sample, whose time is scaled up; the table says so. ``--help`` tells how to run a part.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.support import jobs, server  # noqa: E402 - found through the line above
from benchmarks.support.delay import Delay, delayed  # noqa: E402
from benchmarks.support.jobs import Done, Job, program, python_client  # noqa: E402
from benchmarks.support.plot import draw_bars  # noqa: E402
from benchmarks.support.report import Claim, Growth, Ratio, Time, Times  # noqa: E402
from benchmarks.support.run import parse_options, report, run_in_turn, versions  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.support.server import Files, Server

FILES = 17_000
ROUNDS = 3
PICTURE = ROOT / "docs" / "_static" / "sftp.svg"

#: By round trip in milliseconds: the connections of the pools, Airflow's and ours, and the transfers of rclone. One
#: large file gets no more than at 0 ms.
CONNECTIONS = {0: 2, 10: 8, 40: 8}
TRANSFERS = {0: 8, 10: 32, 40: 32}

ALL = sys.maxsize

_numbers = itertools.count()

#: What a client with a sample gets first, at the most: enough files for all of its connections.
FEW = 64


@dataclass(frozen=True, kw_only=True)
class Client:
    """
    A client and its work.

    :param work: into memory, to disk, to the server, one large file to disk, or the names of a tree.
    :param files: how many files it gets, by round trip in milliseconds; it takes no part in others.
    """

    run: Callable[[Server, Job], Done]
    work: Literal["memory", "disk", "upload", "big", "walk"]
    files: dict[int, int]


EVERYWHERE = {0: ALL, 10: ALL, 40: ALL}
CLIENTS = {
    "ours-memory": Client(run=python_client("ours_read"), work="memory", files=EVERYWHERE),
    "ours-disk": Client(run=python_client("ours_download"), work="disk", files=EVERYWHERE),
    "tar-null": Client(run=program(jobs.tar_thrown_away), work="memory", files=EVERYWHERE),
    "tar-disk": Client(run=program(jobs.tar_to_disk), work="disk", files={0: ALL}),
    "rclone": Client(run=program(jobs.rclone_download), work="disk", files={0: ALL, 10: 4250, 40: 1700}),
    "lftp": Client(run=program(jobs.lftp_mirror), work="disk", files={0: 3000, 10: 1500, 40: 800}),
    "sftp": Client(run=program(jobs.openssh_sftp), work="disk", files={0: 3000, 10: 100, 40: 40}),
    "hook-each": Client(run=python_client("hook_each"), work="memory", files={0: 40, 10: 20, 40: 10}),
    "hook-kept": Client(run=python_client("hook_kept"), work="memory", files={0: 500, 10: 100, 40: 30}),
    "hook-async": Client(run=python_client("hook_async"), work="memory", files={0: 100, 10: 60, 40: 40}),
    "airflow-pool": Client(run=python_client("airflow_pool"), work="memory", files={0: ALL, 10: 4250, 40: 1700}),
    "ours-upload": Client(run=python_client("ours_upload"), work="upload", files={10: ALL}),
    "rclone-upload": Client(run=program(jobs.rclone_upload), work="upload", files={10: 3000}),
    "ours-big": Client(run=python_client("ours_download"), work="big", files={0: 1, 10: 1}),
    "rclone-big": Client(run=program(jobs.rclone_download), work="big", files={0: 1, 10: 1}),
    "sftp-big": Client(run=program(jobs.openssh_sftp), work="big", files={0: 1, 10: 1}),
    # Not compared: with options that one has to know.
    "sftp-big-tuned": Client(run=program(jobs.openssh_sftp_tuned), work="big", files={0: 1, 10: 1}),
    "ours-walk": Client(run=python_client("ours_walk"), work="walk", files={10: ALL}),
    "hook-walk": Client(run=python_client("hook_walk"), work="walk", files={10: 10_000}),
}

BIG = "1 GiB to disk, {} ms, beside {}"
CLAIMS: list[Claim] = [
    Ratio(claim="into memory, 0 ms, by Airflow's pool", slow="airflow-pool@0", fast="ours-memory@0", at_least=7),
    Ratio(claim="into memory, 0 ms, over tar thrown away", slow="ours-memory@0", fast="tar-null@0", at_most=6),
    Ratio(claim="to disk, 0 ms, over tar unpacked", slow="ours-disk@0", fast="tar-disk@0", at_most=1.25),
    Ratio(claim="to disk, 0 ms, beside rclone", slow="rclone@0", fast="ours-disk@0", at_least=2.5),
    Ratio(claim="into memory, 10 ms, by Airflow's pool", slow="airflow-pool@10", fast="ours-memory@10", at_least=20),
    Ratio(claim="into memory, 10 ms, beside rclone to disk", slow="rclone@10", fast="ours-memory@10", at_least=8),
    Ratio(claim="into memory, 40 ms, by Airflow's pool", slow="airflow-pool@40", fast="ours-memory@40", at_least=40),
    Ratio(claim="uploads, 10 ms, beside rclone", slow="rclone-upload@10", fast="ours-upload@10", at_least=5),
    Ratio(claim=BIG.format(0, "rclone"), slow="rclone-big@0", fast="ours-big@0", at_least=1.5),
    Ratio(claim=BIG.format(0, "OpenSSH's sftp"), slow="sftp-big@0", fast="ours-big@0", at_least=1.5),
    Ratio(claim=BIG.format(10, "rclone"), slow="rclone-big@10", fast="ours-big@10", at_least=1.5),
    Ratio(claim=BIG.format(10, "OpenSSH's sftp"), slow="sftp-big@10", fast="ours-big@10", at_least=1.5),
    Ratio(claim="names of a tree, 10 ms, beside SFTPHook", slow="hook-walk@10", fast="ours-walk@10", at_least=10),
    Growth(
        claim="growth of memory over the small files",
        runs=tuple(f"ours-{work}@{rtt}" for work in ("memory", "disk", "upload") for rtt in EVERYWHERE),
        at_most=60,
    ),
    Growth(claim="growth of memory over 1 GiB", runs=("ours-big@0", "ours-big@10"), at_most=60),
]

#: What the picture calls them.
NAMES = {
    "ours-memory": "SFTPClientPool of this package, into memory",
    "ours-disk": "the same, to disk",
    "rclone": "rclone, to disk",
    "lftp": "lftp mirror, to disk",
    "sftp": "OpenSSH's sftp, to disk",
    "airflow-pool": "Airflow's SFTPClientPool",
    "hook-async": "Airflow's SFTPHookAsync",
    "hook-kept": "Airflow's SFTPHook, one connection",
    "hook-each": "Airflow's SFTPHook, one a file",
}


@dataclass(frozen=True)
class Served:
    """What the clients read: many small files, a large one, and a tree with so many names in each of its groups."""

    small: Files
    big: Files
    tree: Path
    names_a_group: int
    groups: int

    @property
    def names(self) -> int:
        return self.names_a_group * self.groups


def make_served(folder: Path, options: argparse.Namespace) -> Served:
    """Write what the chosen clients need."""
    works = {client.work for client in options.chosen.values()}
    small = server.make_files(folder / "small", options.files)
    big = server.make_big_file(folder / "big", options.big_mib * 1024**2 if "big" in works else 1)
    groups = max(1, server.GROUPS * options.files // FILES)
    names = server.make_tree(folder / "tree", groups=groups) if "walk" in works else 0
    return Served(small, big, folder / "tree", names, groups)


def measure(client: Client, rtt: int, port: int, running: Server, served: Served) -> Time:
    """Have a client do its work once, and check what it did; when that is a sample, have it do very little first."""

    def job(source: Path, target: Path | str = "") -> Job:
        return Job(
            port=port,
            key_file=str(running.user_key.file),
            host_key=running.host_key.public,
            source=str(source),
            target=str(target),
            connections=CONNECTIONS[0 if client.work == "big" else rtt],
            transfers=TRANSFERS[rtt],
        )

    def names(folder: Path, count: int) -> Done:
        done = client.run(running, job(folder))
        expect("names", done.files, count)
        return done

    def small(count: int) -> Done:
        return transfer(client, running, job, server.make_sample(served.small, count))

    if client.work == "big":
        done = transfer(client, running, job, served.big)
        return Time(seconds=done.seconds, files=1, of=1, growth_mib=done.growth_mib)
    if client.work == "walk":
        of, count, few = served.names, served.names_a_group, server.FILES_A_FOLDER
        if client.files[rtt] >= of:
            return full(names(served.tree, of), of)
        group = served.tree / "00"
        return Time(
            few_seconds=names(group / "00", few).seconds,
            few_files=few,
            seconds=names(group, count).seconds,
            files=count,
            of=of,
        )
    of, count = len(served.small.sizes), client.files[rtt]
    if count >= of:
        return full(small(of), of)
    few = min(FEW, count // 8)
    return Time(few_seconds=small(few).seconds, few_files=few, seconds=small(count).seconds, files=count, of=of)


def full(done: Done, of: int) -> Time:
    return Time(seconds=done.seconds, files=of, of=of, growth_mib=done.growth_mib)


def transfer(client: Client, running: Server, job: Callable[..., Job], files: Files) -> Done:
    """Have a client move files, and compare what arrived, or what it has counted."""
    target = running.folder / f"target-{next(_numbers)}"
    os.sync()
    if client.work == "memory":
        done = client.run(running, job(files.folder))
    else:
        if client.work != "upload":
            target.mkdir()
        done = client.run(running, job(files.folder, target))
        if not server.same_files(files, target):
            raise RuntimeError("what arrived is not what was sent")
        # Small files stay to the end: where many were just removed, ext4 is slow to make others.
        if client.work == "big":
            jobs.remove(target)
    if done.files is not None:
        expect("files", done.files, len(files.sizes))
        expect("bytes", done.bytes, files.total_bytes)
    elif done.bytes is not None:
        # An archive has more than the files.
        expect("bytes", done.bytes, max(files.total_bytes, done.bytes))
    return done


def expect(what: str, found: int | None, expected: int) -> None:
    if found != expected:
        raise RuntimeError(f"{found} {what}, not {expected}")


@contextlib.contextmanager
def lines(port: int, rtts: list[int]) -> Iterator[dict[int, Delay | None]]:
    """Run a line to the server for each round trip; none for 0 ms."""
    with contextlib.ExitStack() as stack:
        yield {rtt: stack.enter_context(delayed(port, rtt_ms=rtt)) if rtt else None for rtt in rtts}


def measure_all(options: argparse.Namespace) -> Times:
    """Run all chosen clients, in turn."""
    times = Times(about())
    with server.serving(options.folder) as running, lines(running.port, options.rtt) as delays:
        served = make_served(running.folder, options)
        os.sync()
        works = {
            f"{name}@{rtt}": partial(measure, client, rtt, delay.port if delay else running.port, running, served)
            for rtt, delay in delays.items()
            for name, client in options.chosen.items()
            if rtt in client.files
        }
        run_in_turn(works, times, options)
        for rtt, delay in delays.items():
            if delay:
                times.about[f"computing time of the line of {rtt} ms"] = f"{delay.cpu_seconds():.1f} s"
    if options.json:
        times.save(options.json)
    return times


def about() -> dict[str, str]:
    """Name the versions, for the reader of the results."""

    def first_line(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).splitlines()[0]

    return versions("apache-airflow-providers-sftp", "asyncssh", "paramiko") | {
        "OpenSSH": first_line("ssh", "-V"),
        "rclone": first_line("rclone", "version"),
        "lftp": first_line("lftp", "--version"),
    }


def draw(times: Times, path: Path) -> None:
    """Draw what the small files took."""
    measured = [rtt for rtt in EVERYWHERE if times.seconds(f"ours-memory@{rtt}") is not None]
    panels = {
        f"{rtt} ms round trip": {text: times.seconds(f"{name}@{rtt}") for name, text in NAMES.items()}
        for rtt in measured
    }
    ours = [text for name, text in NAMES.items() if name.startswith("ours")]
    draw_bars(path, panels, ours=ours, title="17,000 files of 2 to 6 KB over SFTP")


def main() -> int:
    """Measure, print, and return an exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=FILES, help="how many small files (%(default)s)")
    parser.add_argument("--big-mib", type=int, default=1024, help="the size of the large file in MiB (%(default)s)")
    parser.add_argument("--rtt", default="0,10,40", help="round trips in ms, of 0, 10 and 40 (%(default)s)")
    parser.add_argument("--save", action="store_true", help=f"draw {PICTURE.relative_to(ROOT)} (needs the group bench)")
    options = parse_options(parser, CLIENTS, rounds=ROUNDS)
    options.rtt = [int(rtt) for rtt in options.rtt.split(",")]
    if unknown := {*options.rtt} - CONNECTIONS.keys():
        parser.error(f"no such round trip: {sorted(unknown)}")
    if options.replay:
        times = Times.load(options.replay)
    elif missing := jobs.missing_programs():
        print(f"Not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    else:
        times = measure_all(options)
    if options.save:
        draw(times, PICTURE)
    return report(times, CLAIMS, heading="client@round trip in ms")


if __name__ == "__main__":
    sys.exit(main())
