# SPDX-License-Identifier: Apache-2.0
"""
What Airflow has to find under a name that it accepts, installed as ``airflow.providers.async_bridge``.

Airflow registers a task decorator or a notifier of a distribution named ``apache-airflow-providers-async`` only if its
import path starts with ``airflow.providers.async``; and it makes an object of an XCom again only if the name of its
class starts with ``airflow.``, unless ``[core] allowed_deserialization_classes`` says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_async.core.shards import Shard
from airflow_provider_async.decorators import async_python_task

if TYPE_CHECKING:
    from airflow_provider_async.smtp.notifier import AsyncSmtpNotifier

__all__ = ["AsyncSmtpNotifier", "Shard", "async_python_task"]


def __getattr__(name: str) -> object:
    # The decorator is there for every DAG file, and is not to wait for mail.
    if name == "AsyncSmtpNotifier":
        from airflow_provider_async.smtp.notifier import AsyncSmtpNotifier

        return AsyncSmtpNotifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
