# SPDX-License-Identifier: Apache-2.0
"""One running Airflow for all system tests, of the version that is installed beside them."""

from __future__ import annotations

import os
import shutil
import signal
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from system_tests.hazards.kit import MARKS_FOLDER, STORED
from system_tests.support.airflow import Airflow
from system_tests.support.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterator

DAGS = Path(__file__).parent / "dags"


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
def airflow(marks_folder: Path) -> Iterator[Airflow]:
    """Run Airflow, with Connections and Variables in its database and one Connection in its environment."""
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
def results() -> Iterator[Results]:
    """Give what collects all that is measured; it is kept when the tests are over."""
    collected = Results(version("apache-airflow-core"))
    yield collected
    collected.save()


@pytest.fixture(scope="session")
def sshd() -> str:
    """Find OpenSSH's server; without one its tests are skipped, but not where ``CI`` is set."""
    found = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    if found is not None:
        return found
    reason = "the program sshd is not installed"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
