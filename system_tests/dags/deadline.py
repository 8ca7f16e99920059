# SPDX-License-Identifier: Apache-2.0
"""A DAG whose runs miss a deadline at once, where Airflow has deadlines: from 3.1 on."""

from __future__ import annotations

import importlib
from datetime import timedelta
from importlib.util import find_spec

from airflow.sdk import dag, task

from airflow_provider_async.smtp.notifier import AsyncSmtpNotifier

if find_spec("airflow.sdk.definitions.deadline") is not None:
    # 3.1 has all of it in this module, and no public name for the callback.
    deadlines = importlib.import_module("airflow.sdk.definitions.deadline")

    @dag(
        schedule=None,
        deadline=deadlines.DeadlineAlert(
            reference=deadlines.DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(0),
            callback=deadlines.AsyncCallback(
                AsyncSmtpNotifier, {"to": "planners@example.com", "text": "{{ dag_run.dag_run_id }} is late"}
            ),
        ),
    )
    def miss_deadline() -> None:
        """Be late."""

        @task
        def wait() -> None:
            pass

        wait()

    miss_deadline()
