# SPDX-License-Identifier: Apache-2.0
"""What makes several machines of one: each component of an Airflow is a host of its own name."""

from __future__ import annotations

import os

COMPONENT = "SYSTEM_TEST_COMPONENT"
"""The environment variable that names the component that a process belongs to."""


def component() -> str:
    """Return the name of this host; Airflow's option ``hostname_callable`` names this function."""
    return os.environ.get(COMPONENT, "outside")
