# SPDX-License-Identifier: Apache-2.0
"""A whole Airflow of the environment that the tests run in: real processes, a database and logs of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from system_tests.support.client import AirflowClient
from system_tests.support.hosts import COMPONENT
from system_tests.support.processes import Component, find_processes, free_ports, kill_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType
    from typing import Self

ROOT = Path(__file__).resolve().parent.parent.parent

MIGRATE_SECONDS = 180
START_SECONDS = 120
STOP_SECONDS = 20

DATABASE = "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"

# How long SQLite waits for others' writes. From 3.2 on, the API server's event loop itself writes what users do to the
# database: when a request in one of its threads is writing, which needs the loop to end, each waits for the other for
# so long, and everybody else with them. Then one fails, and is repeated.
LOCK_SECONDS = 60.0
SERVER_LOCK_SECONDS = 3.0


class Airflow:
    """
    A running Airflow, between the entry and the exit of a ``with`` block.

    API server, scheduler and DAG processor run on loopback; on SQLite and with the LocalExecutor, unless the settings
    say otherwise. There is no triggerer. Everything lies in a temporary folder that goes with the last process.

    :param dags: the folder of DAG files; modules of the repository can be imported by them
    :param settings: more environment variables, for Airflow or for tasks; ``AIRFLOW__...`` wins over what is set here
    :param workers: more components by name, as arguments of the ``airflow`` command, such as ``celery worker``
    :param migrated: whether its database has all tables already
    """

    def __init__(
        self,
        dags: Path,
        *,
        settings: Mapping[str, str] | None = None,
        workers: Mapping[str, list[str]] | None = None,
        migrated: bool = False,
    ) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="airflow-system-test-")).resolve()
        (port,) = free_ports(1)
        self.port = port
        self._migrated = migrated
        self._restarts = False
        self.client = AirflowClient(f"http://127.0.0.1:{port}")
        settings = settings or {}
        self.environment = self._make_environment(dags, port) | dict(settings)
        of_server = self.environment | {DATABASE: settings.get(DATABASE, self._database(SERVER_LOCK_SECONDS))}
        commands = {
            "api-server": ["api-server", "--port", str(port), "--workers", "1"],
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "dag-processor": ["dag-processor"],
        }
        self.components = {
            name: Component(
                name,
                [sys.executable, "-m", "airflow", *command],
                environment=(of_server if name == "api-server" else self.environment) | {COMPONENT: name},
                log=self.home / f"{name}.log",
            )
            for name, command in (commands | dict(workers or {})).items()
        }

    def _database(self, lock_seconds: float) -> str:
        return f"sqlite:///{self.home}/airflow.db?timeout={lock_seconds:g}"

    def _make_environment(self, dags: Path, port: int) -> dict[str, str]:
        # Another Airflow's database or connections, set in the shell, must not get here.
        inherited = {name: value for name, value in os.environ.items() if not name.lstrip("_").startswith("AIRFLOW_")}
        url = f"http://127.0.0.1:{port}"
        return inherited | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # 3.0's LocalExecutor hands all that may run to a pipe, and stands still once that is full.
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "8",
            "AIRFLOW__CORE__PARALLELISM": "6",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__EDGE__API_URL": f"{url}/edge_worker/v1/rpcapi",
            DATABASE: self._database(LOCK_SECONDS),
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            # The server answers 500 when SQLite is locked: a task asks again soon and often.
            "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "10",
            "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "5",
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONPATH": str(ROOT),
        }

    def __enter__(self) -> Self:
        try:
            if not self._migrated:
                self.run_command("db", "migrate", timeout_seconds=MIGRATE_SECONDS)
            for component in self.components.values():
                component.start()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def run_command(self, *arguments: str, timeout_seconds: float, settings: Mapping[str, str] | None = None) -> str:
        """
        Run an ``airflow`` command beside the running Airflow.

        :param arguments: such as ``"dags", "list"``
        :param timeout_seconds: after this the command is killed
        :param settings: more environment variables, which win over the running Airflow's
        :raises RuntimeError: if it fails; with its output
        :return: its output
        """
        return self.run_python("-m", "airflow", *arguments, timeout_seconds=timeout_seconds, settings=settings)

    def run_python(self, *arguments: str, timeout_seconds: float, settings: Mapping[str, str] | None = None) -> str:
        """
        Run Python as the running Airflow does, with its environment and its database.

        :param arguments: the interpreter's
        :param timeout_seconds: after this it is killed
        :param settings: more environment variables, which win over the running Airflow's
        :raises RuntimeError: if it fails or is killed; with its output
        :return: its output
        """
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=self.environment | dict(settings or {}),
            cwd=self.home,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            output, _ = process.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            raise RuntimeError(f"{' '.join(arguments)} did not end within {timeout_seconds} s:\n{output}") from None
        finally:
            process.kill()
        if process.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)} ended with exit code {process.returncode}:\n{output}")
        return output

    def restart_api_server(self) -> None:
        """
        Kill the API server, start it again and wait until it answers.

        :raises TimeoutError: if it does not answer in time
        """
        server = self.components["api-server"]
        server.kill()
        server.start()
        self.wait_for("The API server", self.client.is_up, timeout_seconds=START_SECONDS)

    @contextmanager
    def restarting(self) -> Iterator[None]:
        """Start components again that end meanwhile, as a service manager does, whenever something is waited for."""
        self._restarts = True
        try:
            yield
        finally:
            self._restarts = False

    def wait_for(
        self, what: str, condition: Callable[[], bool], *, timeout_seconds: float, interval_seconds: float = 0.25
    ) -> None:
        """
        Wait until a condition holds, while all components run that were not killed.

        :param what: the condition in words, for the error
        :param condition: asked again and again
        :param timeout_seconds: how long to wait
        :param interval_seconds: how long to wait before it is asked again
        :raises TimeoutError: if it does not hold by then; with the ends of all logs
        :raises RuntimeError: if a component ends meanwhile
        """
        deadline = time.monotonic() + timeout_seconds
        while not condition():
            for component in self.components.values():
                if self._restarts and component.has_ended:
                    component.start()
                component.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {timeout_seconds} s.\n{self.describe()}")
            time.sleep(interval_seconds)

    def wait_for_dags(self, *dag_ids: str) -> None:
        """
        Wait until DAGs can be triggered.

        :param dag_ids: their ids
        :raises TimeoutError: if they are not found; with the import errors of DAG files
        """
        self.wait_for(
            f"DAGs {', '.join(dag_ids)}", lambda: self.client.dag_ids() >= set(dag_ids), timeout_seconds=START_SECONDS
        )

    def describe(self) -> str:
        """Tell what may explain a failure: import errors and the end of each component's log."""
        parts = [f"--- {component.name}\n{component.log_tail()}" for component in self.components.values()]
        if self.client.is_up():
            parts.insert(0, f"--- import errors\n{self.client.import_errors()}")
        return "\n".join(parts)

    def _wait_until_ready(self) -> None:
        client = self.client
        self.wait_for("The API server", client.is_up, timeout_seconds=START_SECONDS)
        client.log_in()
        client.warm_up()

        def all_are_healthy() -> bool:
            health = client.health()
            return all(health.get(name) == "healthy" for name in ("metadatabase", "scheduler", "dag_processor"))

        self.wait_for("Scheduler and DAG processor", all_are_healthy, timeout_seconds=START_SECONDS)

    def stop(self) -> None:
        """Stop everything, kill what does not stop, and remove the folder; more than once does no harm."""
        server, *others = self.components.values()
        try:
            # The API server goes last: tasks that end now report to it.
            for component in others:
                component.terminate()
            self._wait_or_kill(others)
            server.terminate()
            self._wait_or_kill([server])
        finally:
            self.client.close()
            # Tasks have sessions of their own, and outlive a scheduler that was killed.
            kill_all(find_processes(self.home))
            shutil.rmtree(self.home, ignore_errors=True)

    def _wait_or_kill(self, components: list[Component]) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        for component in components:
            try:
                component.wait(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                component.kill()
