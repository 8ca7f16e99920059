# SPDX-License-Identifier: Apache-2.0
"""Registration in the environment that runs the tests, where the package is installed editable."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import CheckRegistration


@pytest.mark.timeout(240)  # two starts of Airflow, on a machine that may be busy
def test_airflow_lists_the_provider_and_resolves_its_decorator(check_registration: CheckRegistration) -> None:
    check_registration(Path(sys.executable))
