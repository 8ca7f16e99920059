# SPDX-License-Identifier: Apache-2.0
"""Async I/O tasks for Apache Airflow; importing this imports neither Airflow nor a protocol's library."""

from __future__ import annotations

from airflow_provider_async.core.amap import AsyncMap, Outcome, amap
from airflow_provider_async.core.pool import Pool, PoolStatistics
from airflow_provider_async.core.progress import Progress
from airflow_provider_async.core.resume import resumable
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.core.shards import Shard, shards

__all__ = [
    "AsyncMap",
    "Outcome",
    "Pool",
    "PoolStatistics",
    "Progress",
    "Retry",
    "Shard",
    "amap",
    "resumable",
    "shards",
]

__version__ = "0.1.0"
