# SPDX-License-Identifier: Apache-2.0
"""
Tasks that are interrupted and go on in their next try, on real Airflow processes and real SFTP servers.

The cases run at once, ``SYSTEM_TEST_AT_ONCE`` of them, each in a DAG run of its own; a test waits for its case.
``-m "not long"`` leaves out what need not be run at each change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import pytest

from system_tests.conftest import DAGS
from system_tests.support.airflow import Airflow
from system_tests.support.resume_plan import BATCH_SIZE, CHECKPOINT_FOLDER
from system_tests.support.resume_run import RETRIES_KILLED_TASKS, Scene, Stage, save_summary
from tests.servers.sftp import make_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

# A test waits for the cases that began before its own.
pytestmark = pytest.mark.timeout(900)

AT_ONCE = int(os.environ.get("SYSTEM_TEST_AT_ONCE", "4"))

MANY, SOME, PART = 17_000, 2_000, 600
# That is 17 s for the pauses of all files.
SLOWLY = 0.1

CHECKPOINT_SECONDS = 1.0
# A save takes its time on a busy machine, and keeps what was done before it began.
SAVE_SECONDS = 3.0
HEARTBEAT_SECONDS = 20

CASES: dict[str, Callable[[Scene], None]] = {}
LONG: set[str] = set()


def case(function: Callable[[Scene], None]) -> Callable[[Scene], None]:
    """Make a test of what is played in a scene, beside other ones."""
    CASES[function.__name__] = function
    return function


def long_case(function: Callable[[Scene], None]) -> Callable[[Scene], None]:
    """Make a test of it that need not be run at each change."""
    LONG.add(function.__name__)
    return case(function)


# --- kill -9 ----------------------------------------------------------------------------------------------------------


@case
def a_killed_task_goes_on(scene: Scene) -> None:
    run = scene.start("load", "many", pause_seconds=SLOWLY)
    run.wait_for_rows(MANY // 4)
    killed_at = run.kill(run.wait_for_try(1).pid)
    if not RETRIES_KILLED_TASKS:
        run.wait_for_state("failed")
        run.clear()

    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    not_saved = [row for row in run.rows(1) if row.at > killed_at - CHECKPOINT_SECONDS - SAVE_SECONDS]
    assert run.tries() == [1, 2]
    assert run.summary().twice <= len(not_saved) + BATCH_SIZE
    assert run.returned() == {"done": MANY, "resumed": MANY - len(run.rows(2))}


@long_case
def a_task_whose_supervisor_is_killed_ends_itself_and_goes_on(scene: Scene) -> None:
    run = scene.start("load", "many", pause_seconds=3 * SLOWLY)
    run.wait_for_rows(MANY // 4)
    first = run.wait_for_try(1)
    killed_at = run.kill(first.parent_pid)

    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    saved = [row for row in run.rows(1) if row.at < killed_at - CHECKPOINT_SECONDS - SAVE_SECONDS]
    assert run.tries() == [1, 2]
    assert run.returned() == {"done": MANY, "resumed": MANY - len(run.rows(2))}
    assert run.returned()["resumed"] >= len(saved)
    # Nobody waits for the orphan: it ends itself, long before it is through.
    assert run.summary().twice < MANY // 4
    run.wait_until_gone(first)
    run.wait_until_forgotten()


@long_case
def a_server_that_is_killed_and_comes_back_is_connected_to_again(scene: Scene) -> None:
    run = scene.start("load", "many", pause_seconds=SLOWLY)
    run.wait_for_rows(MANY // 4)
    scene.server.stop()
    time.sleep(5)
    scene.server.start()

    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    assert run.tries() == [1]
    assert run.summary().twice == 0


@long_case
def a_server_that_is_away_for_longer_makes_a_later_try_go_on(scene: Scene) -> None:
    run = scene.start("load", "many", pause_seconds=SLOWLY, acquire_timeout_seconds=5.0)
    run.wait_for_rows(MANY // 4)
    scene.server.stop()
    run.wait_for_try(2)
    scene.server.start()

    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    assert run.summary().twice == 0
    assert run.returned() == {"done": MANY, "resumed": len(run.rows(1))}


# --- other ends -------------------------------------------------------------------------------------------------------


@case
def a_task_that_fails_goes_on(scene: Scene) -> None:
    run = scene.start("load", "some", fail_after=SOME // 2)

    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    assert run.tries() == [1, 2]
    assert run.summary().twice == 0
    assert run.returned() == {"done": SOME, "resumed": SOME // 2}
    run.wait_until_forgotten()


@case
def a_task_that_succeeded_and_is_cleared_begins_anew(scene: Scene) -> None:
    run = scene.start("load", "some")
    run.wait_for_state("success")
    run.wait_until_forgotten()

    run.clear()
    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    assert run.tries() == [1, 2]
    assert run.summary().twice == SOME
    assert run.returned() == {"done": SOME, "resumed": 0}
    run.wait_until_forgotten()


@long_case
def a_task_that_was_marked_as_failed_and_is_cleared_goes_on(scene: Scene) -> None:
    run = scene.start("load", "some", pause_seconds=1.0)
    run.wait_for_rows(SOME // 4)
    run.mark_failed()
    run.wait_for_state("failed")
    run.wait_until_gone(run.wait_for_try(1))
    assert run.checkpoint_keys()

    run.clear()
    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    assert run.tries() == [1, 2]
    assert run.summary().twice <= BATCH_SIZE
    run.wait_until_forgotten()


@long_case
def a_task_that_is_terminated_goes_on(scene: Scene) -> None:
    run = scene.start("load", "some", pause_seconds=1.0)
    run.wait_for_rows(SOME // 4)
    run.kill(run.wait_for_try(1).pid, signal.SIGTERM)

    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    assert run.tries() == [1, 2]
    assert run.summary().twice <= BATCH_SIZE
    assert run.returned() == {"done": SOME, "resumed": SOME - len(run.rows(2))}


@long_case
def a_task_that_takes_too_long_goes_on(scene: Scene) -> None:
    run = scene.start("timeout", "some", pause_seconds=2.0)

    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    # On a busy machine, the second try may take too long as well.
    first, *others = run.tries()
    assert others
    assert run.rows(first)
    assert run.summary().twice <= BATCH_SIZE * len(others)
    assert run.returned() == {"done": SOME, "resumed": SOME - len(run.rows(others[-1]))}


@long_case
def a_task_whose_result_cannot_be_stored_goes_on(scene: Scene) -> None:
    run = scene.start("load", "some", returns_what_cannot_be_stored=True)

    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    assert run.tries() == [1, 2]
    assert run.summary().twice == 0
    assert run.returned() == {"done": SOME, "resumed": SOME}
    run.wait_until_forgotten()


# --- what can be asked for --------------------------------------------------------------------------------------------


@long_case
def two_pieces_of_work_go_on_by_their_names(scene: Scene) -> None:
    run = scene.start("load", "some", names=("first", "second"), fail_after=SOME * 3 // 4)

    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    assert run.tries() == [1, 2]
    assert run.summary().twice == 0
    assert run.returned() == {"done": SOME, "resumed": SOME * 3 // 4}
    run.wait_until_forgotten()


@long_case
def of_a_mapped_task_only_the_index_that_failed_goes_on(scene: Scene) -> None:
    run = scene.start("mapped", "parts", fails_at=1, fail_after=PART // 2)

    run.wait_for_state("success")

    rows = [row for index in range(3) for row in run.rows(map_index=index)]
    assert {row.path: row.digest for row in rows} == scene.digests()
    assert run.summary().twice == 0
    assert [run.tries(index) for index in range(3)] == [[1], [1, 2], [1]]
    assert len(run.rows(2, map_index=1)) == PART // 2
    run.wait_until_forgotten()


@long_case
def results_that_are_kept_are_returned_by_the_next_try(scene: Scene) -> None:
    run = scene.start("collect", "some", fail_after=SOME // 2)

    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    digests = sorted(scene.digests().values())
    assert run.tries() == [1, 2]
    assert run.returned() == {"done": SOME, "resumed": SOME // 2, "digests": digests}
    assert len(run.rows(2)) == SOME // 2
    run.wait_until_forgotten()


@long_case
def a_fresh_start_is_made_on_request(scene: Scene) -> None:
    run = scene.start("load", "some", fail_after=SOME // 2, async_fresh_start=True)

    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    assert run.tries() == [1, 2]
    assert run.summary().twice == SOME // 2
    assert run.returned() == {"done": SOME, "resumed": 0}
    run.wait_until_forgotten()


@long_case
def a_checkpoint_in_a_folder_does_the_same(scene: Scene) -> None:
    run = scene.start("in_folder", "some", pause_seconds=1.0)
    run.wait_for_rows(SOME // 4)
    run.mark_failed()
    run.wait_for_state("failed")
    run.wait_until_gone(run.wait_for_try(1))
    assert scene.checkpoint_files()
    assert not run.checkpoint_keys()

    run.clear()
    run.wait_for_state("success")

    scene.check_that_all_was_loaded()
    assert run.tries() == [1, 2]
    assert run.summary().twice <= BATCH_SIZE
    run.wait_for("the removal of its files", lambda: not scene.checkpoint_files())


# --- the machinery ----------------------------------------------------------------------------------------------------


def make_files(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / f"{name}.txt").write_text(f"{hashlib.sha256(name.encode()).hexdigest()}\n" * 4)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, sshd: str) -> Iterator[Stage]:
    """Run an Airflow that notices soon when a task is gone, and make the files that are loaded."""
    folder = tmp_path_factory.mktemp("resume")
    settings = {
        "AIRFLOW__ASYNC__CHECKPOINT_SECONDS": str(CHECKPOINT_SECONDS),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_SECONDS),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        CHECKPOINT_FOLDER: str(folder / "checkpoints"),
    }
    files = folder / "files"
    make_files(files / "many", [f"{number:05}" for number in range(MANY)])
    make_files(files / "some", [f"{number:05}" for number in range(SOME)])
    make_files(files / "parts", [f"{part}{number:03}" for part in "abc" for number in range(PART)])
    host_key, user_key = make_key(folder, "host"), make_key(folder, "user")
    with Airflow(DAGS, settings=settings) as airflow:
        airflow.wait_for_dags(*(f"resume_{name}" for name in ("load", "timeout", "mapped", "collect", "in_folder")))
        yield Stage(airflow, folder, host_key, user_key, sshd)
    # pytest would keep those of three runs.
    shutil.rmtree(files)


@pytest.fixture(scope="module")
def played(request: pytest.FixtureRequest, stage: Stage) -> Iterator[dict[str, Future[None]]]:
    """Play the cases of all chosen tests."""

    def play(name: str) -> None:
        with Scene(stage, name) as scene:
            CASES[name](scene)
            save_summary(name, scene.run.summary())

    items = [item for item in request.session.items if item.path == request.path]
    cases = [item.callspec for item in items if hasattr(item, "callspec")]
    chosen = [str(case.params["name"]) for case in cases]
    executor = ThreadPoolExecutor(AT_ONCE)
    try:
        yield {name: executor.submit(play, name) for name in chosen}
    finally:
        # Those that are still being played find Airflow stopped, and end.
        executor.shutdown(wait=False, cancel_futures=True)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] * (name in LONG)) for name in CASES])
def test_resuming(name: str, played: dict[str, Future[None]]) -> None:
    played[name].result()


@pytest.mark.long
def test_a_task_goes_on_when_the_api_server_is_killed(stage: Stage, played: dict[str, Future[None]]) -> None:
    # Alone: it is a hindrance to all others.
    wait(played.values())
    with Scene(stage, "api_server") as scene:
        run = scene.start("load", "many", pause_seconds=SLOWLY)
        run.wait_for_rows(MANY // 4)
        stage.airflow.restart_api_server()

        run.wait_for_state("success")

        scene.check_that_all_was_loaded()
        assert run.returned()["done"] == MANY
        run.wait_until_forgotten()
        save_summary("a_task_goes_on_when_the_api_server_is_killed", run.summary())
