# SPDX-License-Identifier: Apache-2.0
"""A coroutine inside a running Airflow task: its event loop, its end, and its way to the supervisor."""

from __future__ import annotations
