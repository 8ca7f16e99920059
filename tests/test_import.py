# SPDX-License-Identifier: Apache-2.0
"""What importing the package loads: Airflow imports it while it discovers providers, and must not meet itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROTOCOL_LIBRARIES = {"aiohttp", "aiosmtplib", "asyncssh", "azure", "kiota_http", "msgraph", "msgraph_core"}


@pytest.mark.parametrize("module", ["airflow_provider_async", "airflow_provider_async.get_provider_info"])
def test_an_import_loads_neither_airflow_nor_a_protocol_library(module: str) -> None:
    code = f"import {module}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())

    assert "airflow_provider_async" in loaded
    assert not loaded & {"airflow", *PROTOCOL_LIBRARIES}
