# SPDX-License-Identifier: Apache-2.0
"""The built wheel, and an editable install, beside a real Airflow in a fresh environment."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from scripts.environments import RELEASES, find_python_for, uv

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import CheckRegistration

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(600)]

# airflow.providers must stay a namespace package, or the providers that lie elsewhere are no longer found.
FORMS = """
import airflow, airflow.providers, airflow.providers.async_bridge
import airflow.providers.http, airflow.providers.microsoft.azure, airflow.providers.sftp, airflow.providers.smtp
import airflow.providers.common.compat, airflow.providers.standard
assert airflow.providers.__file__ is None
assert airflow.__version__
"""


def fresh_environment(folder: Path, version: str, what: list[str]) -> Path:
    """Make an environment with an Airflow and what is asked for, and return its interpreter."""
    subprocess.run([uv(), "venv", "--quiet", "--python", find_python_for(version), folder], check=True)
    interpreter = folder / "bin" / "python"
    RELEASES[version].install(interpreter, *what)
    return interpreter


@pytest.mark.parametrize("version", ["3.0.6", "3.3.2"])
def test_airflow_registers_the_wheel(
    version: str, wheel: Path, tmp_path: Path, check_registration: CheckRegistration
) -> None:
    check_registration(fresh_environment(tmp_path / "environment", version, [str(wheel)]))


@pytest.mark.parametrize("version", ["3.0.6", "3.3.2"])
def test_airflow_registers_an_editable_install(
    version: str, tmp_path: Path, check_registration: CheckRegistration
) -> None:
    check_registration(fresh_environment(tmp_path / "environment", version, ["--editable", "."]))


@pytest.mark.parametrize("version", ["3.0.6", "3.3.2"])
def test_the_providers_of_the_extra_forms_work_beside_the_wheel(
    version: str, wheel: Path, tmp_path: Path, check_registration: CheckRegistration
) -> None:
    interpreter = fresh_environment(tmp_path / "environment", version, [f"{wheel}[forms]"])

    subprocess.run([interpreter, "-c", FORMS], cwd=tmp_path, check=True, env={"AIRFLOW_HOME": str(tmp_path)})
    check_registration(interpreter)
