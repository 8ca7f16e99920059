# SPDX-License-Identifier: Apache-2.0
"""
Whatever is killed, nothing is lost, and nothing is done twice but what was done since the last checkpoint.

While the API server or its database is away, no checkpoint can be kept there: the work waits, or keeps it elsewhere.

Each fault comes when files are being loaded in four shards, on the stack that all tests share.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from system_tests.conftest import skipping
from system_tests.support.processes import is_in
from system_tests.support.results import FOLDER
from system_tests.support.services import NotInstalled
from system_tests.support.stack import wait_for_workers
from system_tests.support.stack_plan import BATCH_SIZE, PARTS, Plan
from system_tests.support.stack_run import Files, LoadRun, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from system_tests.support.stack import Stack

# The start of Airflow is part of the first one's time.
pytestmark = pytest.mark.timeout(900)

FILES = 2_000
#: So that the pauses of a shard take ten seconds.
PAUSE_SECONDS = 1.0

CHECKPOINT_SECONDS = 1.0
# A save takes its time on a busy machine, and keeps what was done before it began.
SAVE_SECONDS = 3.0
# A save that should be over by then is waited for.
HELD_SECONDS = CHECKPOINT_SECONDS

SERVER_IS_AWAY_SECONDS = 20
DATABASE_IS_AWAY_SECONDS = 10
BROKER_IS_AWAY_SECONDS = 5
SFTP_IS_AWAY_SECONDS = 5

DROPS = 24


@pytest.fixture(scope="module")
def files(stack: Stack, sshd: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with serving(sshd, tmp_path_factory.mktemp("files"), FILES) as running:
        stack.airflow.client.create_connections([running.connection()])
        stack.airflow.wait_for_dags("stack_load", "stack_download", "stack_soak")
        yield running


@pytest.fixture
def run(stack: Stack, files: Files) -> LoadRun:
    return begin(stack, files)


def begin(stack: Stack, files: Files, *, checkpoints: str = "") -> LoadRun:
    """Begin to load, and wait until every shard is at work."""
    plan = Plan(
        warehouse=stack.warehouse_url,
        folder=str(files.folder),
        pause_seconds=PAUSE_SECONDS,
        checkpoints=checkpoints,
    )
    begun = LoadRun(stack.airflow, "load", plan)
    begun.wait_for_rows(FILES // 4)
    return begun


def check(name: str, run: LoadRun, files: Files, *, since: float, until: float | None = None) -> None:
    """
    Wait for the end, and compare what was loaded.

    :param since: when the fault came, in seconds of the epoch
    :param until: when a try last worked whose checkpoints were not kept any more; by default when the fault came
    """
    run.wait_for_state("success")
    run.check_that_all_was_loaded(files)
    rows = run.rows()
    begin, end = since - CHECKPOINT_SECONDS - SAVE_SECONDS, since if until is None else until
    not_saved = [row for row in rows if row.try_number == 1 and begin < row.at < end]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "stack.jsonl").open("a") as file:
        seen = {"fault": name, "twice": run.twice(), "not_saved": len(not_saved), "tries": run.tries()}
        file.write(json.dumps(seen | {"seconds": round(time.time() - since, 1)}) + "\n")
    assert run.twice() <= len(not_saved) + BATCH_SIZE * PARTS


# --- kill -9 ----------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_worker_is_killed(stack: Stack, run: LoadRun, files: Files) -> None:
    since = time.time()
    worker = stack.workers[0]
    worker.kill()

    check("worker", run, files, since=since)

    worker.start()
    wait_for_workers(stack)


def test_a_worker_is_killed_with_all_its_tasks(stack: Stack, run: LoadRun, files: Files) -> None:
    since = time.time()
    worker = stack.workers[0]
    worker.kill_tree()

    check("worker_tree", run, files, since=since)

    assert max(run.tries()) > 1
    worker.start()
    wait_for_workers(stack)


@pytest.mark.long
def test_redis_is_killed(stack: Stack, run: LoadRun, files: Files) -> None:
    assert stack.redis is not None
    since = time.time()
    stack.redis.kill()
    time.sleep(BROKER_IS_AWAY_SECONDS)
    stack.redis.start()

    with stack.airflow.restarting():
        check("redis", run, files, since=since)
        # It is not only those that ran already: what is queued from now on is done as well.
        again = LoadRun(stack.airflow, "load", Plan(warehouse=stack.warehouse_url, folder=str(files.folder)))
        again.wait_for_state("success")
        again.check_that_all_was_loaded(files)


@pytest.mark.long
def test_the_api_server_is_killed(stack: Stack, run: LoadRun, files: Files) -> None:
    since = time.time()
    kill_the_api_server(stack)

    check("api_server", run, files, since=since, until=since + HELD_SECONDS)


@pytest.mark.long
def test_the_api_server_is_killed_and_checkpoints_are_kept_elsewhere(
    stack: Stack, files: Files, tmp_path: Path
) -> None:
    run = begin(stack, files, checkpoints=str(tmp_path / "checkpoints"))
    since = time.time()
    kill_the_api_server(stack)

    check("api_server_and_path", run, files, since=since)

    # All was done while the server was away, and waited for nobody.
    assert run.twice() == 0
    assert max(row.at for row in run.rows()) < since + SERVER_IS_AWAY_SECONDS


def kill_the_api_server(stack: Stack) -> None:
    stack.airflow.components["api-server"].kill()
    time.sleep(SERVER_IS_AWAY_SECONDS)
    stack.airflow.restart_api_server()


def test_the_sftp_server_is_killed(stack: Stack, run: LoadRun, files: Files) -> None:
    since = time.time()
    files.server.stop()
    time.sleep(SFTP_IS_AWAY_SECONDS)
    files.server.start()

    check("sftp_server", run, files, since=since)

    assert run.tries() == [1] * PARTS
    assert run.twice() == 0


@pytest.mark.long
def test_the_database_is_killed(stack: Stack, run: LoadRun, files: Files) -> None:
    since = time.time()
    stack.postgres.kill()
    time.sleep(DATABASE_IS_AWAY_SECONDS)
    stack.postgres.start()

    # A scheduler does not outlive its database.
    with stack.airflow.restarting():
        check("database", run, files, since=since, until=since + HELD_SECONDS)


@pytest.mark.long
def test_the_scheduler_is_restarted(stack: Stack, run: LoadRun, files: Files) -> None:
    since = time.time()
    scheduler = stack.airflow.components["scheduler"]
    scheduler.kill_tree()
    scheduler.start()

    check("scheduler", run, files, since=since)


# --- what users and disks do ------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_shard_is_marked_as_failed_and_cleared(stack: Stack, run: LoadRun, files: Files) -> None:
    since = time.time()
    task = run.tasks()[0]
    pids = run.pids(map_index=0)
    stack.airflow.client.mark(task, "failed")
    run.wait_for("the end of its process", lambda: not any(is_alive(stack, pid) for pid in pids))
    until = time.time()
    stack.airflow.client.clear(task)

    check("marked_failed", run, files, since=since, until=until)

    assert run.tries()[0] == 2


def is_alive(stack: Stack, pid: int) -> bool:
    with suppress(psutil.Error):
        # The number may belong to another process by now.
        return is_in(psutil.Process(pid), stack.airflow.home)
    return False


@pytest.mark.long
def test_a_disk_is_full(stack: Stack, files: Files, tmp_path: Path) -> None:
    plan = Plan(warehouse=stack.warehouse_url, folder=str(files.folder), target=str(tmp_path))
    with small_disk(tmp_path, mebibytes=2):
        run = LoadRun(stack.airflow, "download", plan)
        run.wait_for_state("failed")

        (task,) = run.tasks("download")
        assert "No space left on device" in stack.airflow.client.log(task).text
        complete = {path.name for path in tmp_path.glob("*.xml")}
        assert 0 < len(complete) < FILES
        whole = all((tmp_path / name).read_bytes() == (files.folder / name).read_bytes() for name in complete)
        assert whole

        subprocess.run(["mount", "-o", "remount,size=64m", str(tmp_path)], check=True)
        stack.airflow.client.clear(task)
        run.wait_for_state("success")

        assert {path.name for path in tmp_path.iterdir()} == {path.name for path in files.folder.iterdir()}
        (task,) = run.tasks("download")
        returned = stack.airflow.client.returned(task)
        assert returned["done"] == FILES
        assert returned["resumed"] >= len(complete) // 2


@contextmanager
def small_disk(folder: Path, *, mebibytes: int) -> Iterator[None]:
    """Mount a disk that is soon full."""
    with skipping():
        if os.geteuid() != 0:
            raise NotInstalled("only root can mount a small disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


# --- for a long time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [45, pytest.param(600, marks=pytest.mark.long)])
def test_connections_are_dropped_at_random(stack: Stack, files: Files, seconds: int) -> None:
    plan = Plan(warehouse=stack.warehouse_url, folder=str(files.folder), soak_seconds=seconds)
    chance, drops = random.Random(seconds), 0
    run = LoadRun(stack.airflow, "soak", plan)
    run.wait_for("the task", lambda: bool(run.pids()))
    (pid,) = run.pids()
    process = psutil.Process(pid)
    samples: list[Sample] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until - 2:
        time.sleep(seconds / DROPS * chance.uniform(0.5, 1.4))
        with suppress(psutil.NoSuchProcess):
            samples.append(sample(process))
            drops += files.line.cut_one(chance)
    run.wait_for_state("success")

    (task,) = run.tasks("soak")
    returned = stack.airflow.client.returned(task)
    assert drops >= DROPS // 2
    assert returned["wrong"] == 0
    assert returned["read"] == returned["asked"] > FILES
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    grown = [statistics.median(at) for at in zip(*late, strict=True)]
    before = [statistics.median(at) for at in zip(*early, strict=True)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "stack.jsonl").open("a") as file:
        seen = {"soak": seconds, "drops": drops, "read": returned["read"], "early": before, "late": grown}
        file.write(json.dumps(seen) + "\n")
    memory, descriptors, threads = (after - first for after, first in zip(grown, before, strict=True))
    assert memory < 20
    assert descriptors <= 3
    assert threads <= 1


Sample = tuple[float, int, int]


def sample(process: psutil.Process) -> Sample:
    """Return a process's memory in MiB, its descriptors and its threads."""
    return process.memory_info().rss / 2**20, process.num_fds(), process.num_threads()
