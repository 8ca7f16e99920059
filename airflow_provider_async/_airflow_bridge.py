# SPDX-License-Identifier: Apache-2.0
"""
What Airflow has to find under a name that it accepts, installed as ``airflow.providers.async_bridge``.

Airflow registers a task decorator of a distribution named ``apache-airflow-providers-async`` only if its
import path starts with ``airflow.providers.async``; and it makes an object of an XCom again only if the name of its
class starts with ``airflow.``, unless ``[core] allowed_deserialization_classes`` says otherwise.
"""

from __future__ import annotations

from airflow_provider_async.core.shards import Shard
from airflow_provider_async.decorators import async_python_task

__all__ = ["Shard", "async_python_task"]
