# SPDX-License-Identifier: Apache-2.0
"""One running Airflow for all system tests, of the version that is installed beside them."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from system_tests.hazards.kit import MARKS_FOLDER, STORED
from system_tests.support.airflow import Airflow
from system_tests.support.results import Results
from system_tests.support.services import NotInstalled, Postgres
from system_tests.support.stack import Stack, running_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

DAGS = Path(__file__).parent / "dags"

IS_STACK = os.environ.get("AIRFLOW_VERSION") == "stack"
"""Whether Airflow is to run on PostgreSQL, Redis and Celery workers, in an environment that has all of it."""

# On the stack, all example DAGs run, and what needs the stack; there is no triggerer. The rest is about a task alone,
# wherever it runs.
_ELSEWHERE = ("core", "deadline", "hazards", "in_process", "progress_page", "resume")
collect_ignore_glob = [f"test_{name}.py" for name in _ELSEWHERE] if IS_STACK else ["test_stack*.py"]


def pytest_configure(config: pytest.Config) -> None:
    """Have whatever ends the tests end Airflow too: SIGTERM as Ctrl-C, and Ctrl-C in the background as well."""
    config.addinivalue_line("markers", "long: need not be run at each change")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)


@pytest.fixture(scope="session")
def marks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that tasks make their marks in."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="session")
def airflow(marks_folder: Path, request: pytest.FixtureRequest) -> Iterator[Airflow]:
    """Run Airflow, with Connections and Variables in its database and one Connection in its environment."""
    if IS_STACK:
        yield request.getfixturevalue("stack").airflow
        return
    settings = {MARKS_FOLDER: str(marks_folder), "AIRFLOW_CONN_FROM_ENVIRONMENT": "generic://environment"}
    with Airflow(DAGS, settings=settings) as running:
        running.client.create_connections(
            [
                {"connection_id": f"stored_{number}", "conn_type": "generic", "host": f"host-{number}"}
                for number in range(STORED)
            ]
        )
        running.client.create_variables({f"stored_{number}": f"value-{number}" for number in range(STORED)})
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Run PostgreSQL."""
    with skipping(), Postgres() as running:
        yield running


@pytest.fixture(scope="session")
def stack(marks_folder: Path, postgres: Postgres) -> Iterator[Stack]:
    """Run Airflow with two Celery workers."""
    settings = {MARKS_FOLDER: str(marks_folder), "AIRFLOW__ASYNC__CHECKPOINT_SECONDS": "1"}
    with skipping(), running_stack(DAGS, postgres, settings=settings) as running:
        yield running


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    """Give what collects all that is measured; it is kept when the tests are over."""
    collected = Results(version("apache-airflow-core"))
    yield collected
    collected.save()


@pytest.fixture(scope="session")
def sshd() -> str:
    """Find OpenSSH's server; without one its tests are skipped, but not where ``CI`` is set."""
    found = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    with skipping():
        if found is None:
            raise NotInstalled("the program sshd is not installed")
    assert found is not None
    return found


@contextmanager
def skipping() -> Iterator[None]:
    """Skip the tests that need what is not installed, but not where ``CI`` is set."""
    try:
        yield
    except NotInstalled as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
