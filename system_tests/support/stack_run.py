# SPDX-License-Identifier: Apache-2.0
"""DAG runs on a stack: what is done to them, and what is seen of them."""

from __future__ import annotations

import getpass
import hashlib
import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from airflow_provider_async.testing.threads import running_in_a_thread
from system_tests.support.client import RUN_ENDED
from system_tests.support.stack_plan import CONNECTION_ID, PARTS, Plan
from system_tests.support.warehouse import Warehouse
from tests.servers.sftp import Proxy, Sshd, make_key, write_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from system_tests.support.airflow import Airflow
    from system_tests.support.client import TaskInstance
    from system_tests.support.warehouse import Row

MAX_CONNECTIONS = 6

WITHIN_SECONDS = 300
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Files:
    """
    Files on an SFTP server, on the way to which connections are counted.

    :param folder: what is loaded, here and on the server
    """

    server: Sshd
    line: Proxy
    folder: Path

    def digests(self) -> dict[str, str]:
        """Compute what is to be loaded, by path."""
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in self.folder.iterdir()}

    def connection(self) -> dict[str, object]:
        """Return what Airflow's API wants to be told about the server."""
        return {
            "connection_id": CONNECTION_ID,
            "conn_type": "sftp",
            "host": "127.0.0.1",
            "port": self.line.port,
            "login": getpass.getuser(),
            "extra": json.dumps({**self.server.connection().extra_dejson, "max_connections": MAX_CONNECTIONS}),
        }


@contextmanager
def serving(program: str, folder: Path, count: int) -> Iterator[Files]:
    """
    Serve files.

    :param program: the path of sshd
    :param folder: where the server lives
    :param count: how many files
    """
    server = Sshd(program, folder, host_key=make_key(folder, "host"), user_key=make_key(folder, "user"))
    write_files(server.files, count)
    server.start()
    line = Proxy(server.port)
    try:
        with running_in_a_thread(line.running()):
            yield Files(server, line, server.files)
    finally:
        server.stop()


class LoadRun:
    """
    A DAG run of ``system_tests/dags/stack.py``, started at once.

    :param airflow: where
    :param name: the DAG's id without ``stack_``
    :param plan: what is to become of it
    """

    def __init__(self, airflow: Airflow, name: str, plan: Plan) -> None:
        self._airflow = airflow
        self.dag_id = f"stack_{name}"
        self._warehouse = Warehouse(plan.warehouse)
        self._warehouse.create()
        self.run_id = airflow.client.trigger(self.dag_id, asdict(plan))

    # --- what is seen -------------------------------------------------------------------------------------------------

    def tasks(self, task_id: str = "load") -> list[TaskInstance]:
        """Ask for the instances of a task, in their order."""
        found = self._airflow.client.task_instances(self.dag_id, self.run_id)
        return sorted((task for task in found if task.task_id == task_id), key=lambda task: task.map_index)

    def rows(self) -> list[Row]:
        """Read what was loaded."""
        return self._warehouse.rows(self.run_id)

    def twice(self) -> int:
        """Count how many times a file was loaded again."""
        loaded = Counter(row.path for row in self.rows())
        return loaded.total() - len(loaded)

    def hosts(self) -> set[str]:
        """Tell which hosts have begun tries, as the tasks themselves say."""
        return {begun.host for begun in self._warehouse.tries(self.run_id)}

    def pids(self, map_index: int = -1) -> list[int]:
        """Tell the processes of all tries of a task, or of a shard."""
        return [begun.pid for begun in self._warehouse.tries(self.run_id) if begun.map_index == map_index]

    def tries(self) -> list[int]:
        """Tell for each shard how many tries have begun."""
        begun = Counter(begun.map_index for begun in self._warehouse.tries(self.run_id))
        return [begun[index] for index in range(PARTS)]

    def describe(self) -> str:
        """Tell what may explain a failure: the states, and the ends of all logs."""
        client = self._airflow.client
        parts = []
        for task in client.task_instances(self.dag_id, self.run_id):
            parts.append(f"--- {task.task_id} {task.map_index} on {task.hostname}: {task.state}, try {task.try_number}")
            parts += [client.log(each).text[-3000:] for each in client.tries(task)]
        return "\n".join(parts)

    # --- what is waited for -------------------------------------------------------------------------------------------

    def wait_for_rows(self, number: int) -> None:
        """Wait until so many rows were inserted, and every shard has begun."""
        self.wait_for(f"{number} rows", lambda: self._warehouse.count(self.run_id) >= number and all(self.tries()))

    def wait_for_state(self, state: str) -> None:
        """
        Wait for the end of the run.

        :raises AssertionError: if it ends otherwise
        """
        client = self._airflow.client
        self.wait_for("its end", lambda: client.run_state(self.dag_id, self.run_id) in RUN_ENDED)
        found = client.run_state(self.dag_id, self.run_id)
        if found != state:
            raise AssertionError(f"the run's state is {found}, not {state}\n{self.describe()}")

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        try:
            self._airflow.wait_for(what, condition, timeout_seconds=WITHIN_SECONDS, interval_seconds=POLL_SECONDS)
        except TimeoutError as error:
            error.add_note(self.describe())
            raise

    def check_that_all_was_loaded(self, files: Files) -> None:
        """
        Compare what was loaded with the files.

        :raises AssertionError: if anything is missing or wrong
        """
        expected, loaded = files.digests(), {row.path: row.digest for row in self.rows()}
        if loaded != expected:
            missing = sorted(expected.keys() - loaded.keys())
            raise AssertionError(f"{len(loaded)} of {len(expected)} files were loaded, missing are {missing[:10]}")
