# SPDX-License-Identifier: Apache-2.0
"""Every hazard of async tasks, as the body of a task and what has to become of it; free of Airflow until one runs."""

from __future__ import annotations

from system_tests.hazards import endings, features, leftovers, loops, requests
from system_tests.hazards.declare import CORE, CORE_SINCE, HAZARDS, OURS, SIGNALS, Action, Hazard, parse_version

__all__ = [
    "CORE",
    "CORE_SINCE",
    "HAZARDS",
    "OURS",
    "SIGNALS",
    "Action",
    "Hazard",
    "endings",
    "features",
    "leftovers",
    "loops",
    "parse_version",
    "requests",
]
