# SPDX-License-Identifier: Apache-2.0
"""The example DAG for SFTP, as it is."""

from __future__ import annotations

import airflow_provider_async.example_dags.example_sftp  # noqa: F401
