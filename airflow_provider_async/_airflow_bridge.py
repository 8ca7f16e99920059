# SPDX-License-Identifier: Apache-2.0
"""
The decorator under a name that Airflow accepts, installed as ``airflow.providers.async_bridge``.

Airflow registers a task decorator of a distribution named ``apache-airflow-providers-async`` only if its
import path starts with ``airflow.providers.async``.
"""

from __future__ import annotations

from airflow_provider_async.decorators import async_python_task

__all__ = ["async_python_task"]
