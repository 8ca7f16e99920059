# SPDX-License-Identifier: Apache-2.0
"""DAG runs of tasks that resume: what is done to them, and what is seen of them."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import psutil

from system_tests.hazards import parse_version
from system_tests.support.client import RUN_ENDED
from system_tests.support.ledger import Ledger
from system_tests.support.processes import is_in
from system_tests.support.results import FOLDER
from system_tests.support.resume_plan import Plan
from tests.servers.sftp import Sshd

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from system_tests.support.airflow import Airflow
    from system_tests.support.client import TaskInstance
    from system_tests.support.ledger import Row, Try
    from tests.servers.sftp import Key

WITHIN_SECONDS = 240
POLL_SECONDS = 1.0
PREFIX = "async_checkpoint."

VERSION = parse_version(version("apache-airflow-core"))
HAS_STATE_STORE = VERSION >= (3, 3)
RETRIES_KILLED_TASKS = VERSION >= (3, 1)
"""Airflow 3.0 does not try again a task whose process was killed: it fails, and goes on when it is cleared."""


@dataclass(frozen=True)
class Summary:
    """
    What a run came to.

    :param rows: files that were loaded at least once
    :param twice: how many times a file was loaded again
    :param tries: how many tries began, of all map indexes
    :param seconds: from the start of the run until this was asked for
    """

    rows: int
    twice: int
    tries: int
    seconds: float


class ResumeRun:
    """
    A DAG run of ``system_tests/dags/resume.py``, started at once.

    :param airflow: where
    :param name: the DAG's id without ``resume_``
    :param plan: what is to become of it
    """

    def __init__(self, airflow: Airflow, name: str, plan: Plan) -> None:
        self._airflow = airflow
        self._dag_id = f"resume_{name}"
        self._ledger = Ledger(Path(plan.ledger))
        self._began_at = time.monotonic()
        self._run_id = airflow.client.trigger(self._dag_id, asdict(plan))

    # --- what is seen -------------------------------------------------------------------------------------------------

    def task(self, map_index: int = -1) -> TaskInstance:
        """Ask for its one task, or an index of it."""
        tasks = self._airflow.client.task_instances(self._dag_id, self._run_id)
        return next(task for task in tasks if task.map_index == map_index)

    def returned(self) -> dict[str, Any]:
        """Ask for what its one task returned."""
        value = self._airflow.client.returned(self.task())
        assert isinstance(value, dict)
        return value

    def rows(self, try_number: int | None = None, map_index: int = -1) -> list[Row]:
        """Read what was loaded, in all tries or in one."""
        rows = self._ledger.rows()
        return [row for row in rows if row.map_index == map_index and try_number in (None, row.try_number)]

    def tries(self, map_index: int = -1) -> list[int]:
        """Read the numbers of the tries that have begun."""
        return [begun.number for begun in self._ledger.tries() if begun.map_index == map_index]

    def summary(self) -> Summary:
        """Sum up what it has come to."""
        loaded = Counter((row.map_index, row.path) for row in self._ledger.rows())
        seconds = time.monotonic() - self._began_at
        return Summary(len(loaded), loaded.total() - len(loaded), len(self._ledger.tries()), round(seconds, 1))

    def checkpoint_keys(self) -> list[str]:
        """Read the keys of all that Airflow's database keeps for it of checkpoints."""
        if HAS_STATE_STORE:
            statement = "SELECT key FROM task_state_store WHERE substr(key, 1, ?) = ? AND run_id = ?"
            parameters: tuple[str | int, ...] = (len(PREFIX), PREFIX, self._run_id)
        else:
            statement = "SELECT key FROM variable WHERE substr(key, 1, ?) = ? AND instr(description, ?)"
            parameters = (len(PREFIX), PREFIX, self._run_id)
        with closing(sqlite3.connect(self._airflow.home / "airflow.db", timeout=60)) as connection:
            return [key for (key,) in connection.execute(statement, parameters)]

    def describe(self) -> str:
        """Tell what may explain a failure: how far it got, and the logs of all tries."""
        parts = [f"{self._dag_id} {self._run_id}: {self.summary()}"]
        for task in self._airflow.client.task_instances(self._dag_id, self._run_id):
            parts.append(f"--- map index {task.map_index}: {task.state}, try {task.try_number}")
            parts += [self._describe_try(each) for each in self._airflow.client.tries(task)]
        return "\n".join(parts)

    def _describe_try(self, task: TaskInstance) -> str:
        lines = [f"--- try {task.try_number}: {task.state}"]
        for record in self._airflow.client.log(task).records:
            errors = [f"{part['exc_type']}: {part['exc_value']}" for part in record.get("error_detail") or ()]
            lines += [str(record.get("event", "")), *errors]
        return "\n".join(lines)

    # --- what is waited for -------------------------------------------------------------------------------------------

    def wait_for_rows(self, number: int) -> None:
        """Wait until so many rows were inserted."""
        self.wait_for(f"{number} rows", lambda: self._ledger.count() >= number)

    def wait_for_try(self, number: int) -> Try:
        """Wait until a try has begun."""
        self.wait_for(f"try {number}", lambda: number in self.tries())
        return next(begun for begun in self._ledger.tries() if begun.number == number)

    def wait_for_state(self, state: str) -> None:
        """
        Wait for the end of the run.

        :raises AssertionError: if it ends otherwise
        """
        client = self._airflow.client
        self.wait_for("its end", lambda: client.run_state(self._dag_id, self._run_id) in RUN_ENDED)
        found = client.run_state(self._dag_id, self._run_id)
        if found != state:
            raise AssertionError(f"the run's state is {found}, not {state}")

    def wait_until_gone(self, begun: Try) -> None:
        """Wait for the end of the process of a try."""
        self.wait_for(f"the end of process {begun.pid}", lambda: not self._is_alive(begun.pid))

    def wait_until_forgotten(self) -> None:
        """Wait until no checkpoint of it is kept: a task reports its success first."""
        self.wait_for("the removal of its checkpoints", lambda: not self.checkpoint_keys())

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        self._airflow.wait_for(what, condition, timeout_seconds=WITHIN_SECONDS, interval_seconds=POLL_SECONDS)

    # --- what is done to it -------------------------------------------------------------------------------------------

    def mark_failed(self) -> None:
        """Mark its task as failed, as users do."""
        self._airflow.client.mark(self.task(), "failed")

    def clear(self) -> None:
        """Clear its task, as users do."""
        self._airflow.client.clear(self.task())

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> float:
        """
        Send a signal to one of its processes.

        :return: when, in seconds of the epoch
        """
        os.kill(pid, number)
        return time.time()

    def _is_alive(self, pid: int) -> bool:
        with suppress(psutil.Error):
            # The number may belong to another process by now.
            return is_in(psutil.Process(pid), self._airflow.home)
        return False


@dataclass(frozen=True)
class Stage:
    """
    What all scenes have in common.

    :param airflow: it runs
    :param folder: of the tests; ``files`` in it has the folders that are loaded
    :param host_key: the SFTP servers'
    :param user_key: of their user
    :param program: the path of sshd
    """

    airflow: Airflow
    folder: Path
    host_key: Key
    user_key: Key
    program: str


class Scene:
    """
    What one case plays in: an SFTP server and a DAG run of its own.

    :param stage: what it shares with others
    :param name: of the case
    """

    run: ResumeRun

    def __init__(self, stage: Stage, name: str) -> None:
        self._stage = stage
        self._name = name
        folder = stage.folder / name
        folder.mkdir()
        self._ledger = folder / "ledger.db"
        self.server = Sshd(stage.program, folder, host_key=stage.host_key, user_key=stage.user_key)

    def __enter__(self) -> Self:
        self.server.start()
        connection = {
            "connection_id": self._name,
            "conn_type": "sftp",
            "host": "127.0.0.1",
            "port": self.server.port,
            "login": getpass.getuser(),
            "extra": json.dumps(dict(self.server.connection().extra_dejson)),
        }
        self._stage.airflow.client.create_connections([connection])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.server.stop()
        if error is not None and hasattr(self, "run"):
            # If the tests are being stopped, Airflow has gone already.
            with suppress(RuntimeError, httpx.HTTPError):
                error.add_note(self.run.describe())

    def start(self, dag: str, files: str, **plan: Any) -> ResumeRun:  # noqa: ANN401 - checked by Plan
        """
        Start the DAG run.

        :param dag: the DAG's id without ``resume_``
        :param files: the folder that it loads
        :param plan: the rest of its plan
        """
        self._files = self._stage.folder / "files" / files
        whole = Plan(ledger=str(self._ledger), connection_id=self._name, folder=str(self._files), **plan)
        self.run = ResumeRun(self._stage.airflow, dag, whole)
        return self.run

    def digests(self) -> dict[str, str]:
        """Compute what is to be loaded, by path."""
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in self._files.iterdir()}

    def check_that_all_was_loaded(self) -> None:
        """
        Compare what was loaded with the files.

        :raises AssertionError: if anything is missing or wrong
        """
        expected, loaded = self.digests(), {row.path: row.digest for row in self.run.rows()}
        if loaded != expected:
            missing = sorted(expected.keys() - loaded.keys())
            raise AssertionError(f"{len(loaded)} of {len(expected)} files were loaded, missing are {missing[:10]}")

    def checkpoint_files(self) -> list[Path]:
        """Find the files of the folder that one DAG's task keeps its checkpoint in."""
        return [path for path in (self._stage.folder / "checkpoints").rglob("*") if path.is_file()]


def save_summary(name: str, summary: Summary) -> None:
    """
    Keep what a case came to, one line for each time that it was played.

    :param name: of the case
    """
    folder = FOLDER / "resume"
    folder.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"case": name, **asdict(summary)})
    with (folder / f"{version('apache-airflow-core')}.jsonl").open("a") as file:
        file.write(f"{line}\n")
