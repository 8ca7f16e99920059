# SPDX-License-Identifier: Apache-2.0
"""What every test relies on: an Airflow of its own, and a clear answer when a program is missing."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

# Airflow reads these when it is first imported, so they are set before any test module is. What the shell set
# for another Airflow (its database, its connections) must not reach the tests.
for name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[name]
_airflow_home = Path(tempfile.mkdtemp(prefix="airflow-home-"))
atexit.register(shutil.rmtree, _airflow_home, ignore_errors=True)
(_airflow_home / "dags").mkdir()
os.environ.update(
    AIRFLOW_HOME=str(_airflow_home),
    AIRFLOW__CORE__DAGS_FOLDER=str(_airflow_home / "dags"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
)

# nohup, and a shell that starts a job in the background, hand these down ignored, and what the tests start and stop
# would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# How long an example takes says something about the machine, not about the code.
hypothesis.settings.register_profile("project", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("project")


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """
    Find a program that a test needs, as in ``sshd = require_program("sshd")``.

    :return: a function from a program's name to its absolute path, which skips the test when the program is
        missing, and fails it under CI, where a missing program would hide that nothing was tested
    """
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])

    def require(name: str) -> str:
        found = shutil.which(name, path=folders)
        if found is not None:
            return found
        reason = f"the program {name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}, and CI is set", pytrace=False)
        pytest.skip(reason)

    return require
