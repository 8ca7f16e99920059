# SPDX-License-Identifier: Apache-2.0
"""How Airflow, in any environment, is asked whether it has registered the package."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import pytest

from scripts.environments import ROOT, uv

if TYPE_CHECKING:
    from pathlib import Path

DAG_FILE = """
from airflow.sdk import dag, task


@dag(schedule=None)
def registered():
    @task.async_python
    async def load() -> int:
        return 1

    load()


print("tasks:", *registered().task_ids)
"""


@dataclass(frozen=True)
class Distributions:
    """The source distribution, and the wheel that was built from that alone."""

    source: Path
    wheel: Path


def build(folder: Path) -> Distributions:
    """Build both as ``make dist`` does."""
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run([uv(), "build", "--quiet", "--out-dir", folder, ROOT], check=True, env=environment)
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Distributions(source, wheel)


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def wheel(distributions: Distributions) -> Path:
    return distributions.wheel


class CheckRegistration(Protocol):
    def __call__(self, interpreter: Path) -> None: ...


@pytest.fixture
def check_registration(tmp_path: Path) -> CheckRegistration:
    """Give a function that fails unless Airflow in an interpreter's environment has registered the package."""
    home = tmp_path / "airflow"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    environment |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PYTHONPATH": ""}
    dag_file = tmp_path / "registered.py"
    dag_file.write_text(DAG_FILE)

    def run(*command: str | Path) -> str:
        # From a folder of its own, so that nothing is imported from the repository but what is installed.
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Coherence check" not in done.stdout + done.stderr
        return done.stdout

    def check(interpreter: Path) -> None:
        listed = run(interpreter, "-m", "airflow", "providers", "list", "--output", "json")
        providers = json.loads(listed[listed.index("[{") :])
        assert "apache-airflow-providers-async" in {provider["package_name"] for provider in providers}
        assert "async_bridge.AsyncSmtpNotifier" in run(interpreter, "-m", "airflow", "providers", "notifications")
        assert "tasks: load" in run(interpreter, dag_file)

    return check
