# SPDX-License-Identifier: Apache-2.0
"""
For the tests of one's own DAGs: servers on the loopback that fail on demand, and tasks without Airflow's processes.

Each protocol has a module with its server; :mod:`airflow_provider_async.testing.fixtures` has a fixture of pytest for
each. Nothing of it is imported unless it is asked for by name.
"""

from __future__ import annotations

from airflow_provider_async.testing.connection import Connection
from airflow_provider_async.testing.run import in_task, run_task

__all__ = ["Connection", "in_task", "run_task"]
