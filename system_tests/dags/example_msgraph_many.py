# SPDX-License-Identifier: Apache-2.0
"""The example DAGs for Graph's deltas and files, as they are: Airflow finds the DAGs of what a file imports, too."""

from __future__ import annotations

import airflow_provider_async.example_dags.example_msgraph_delta
import airflow_provider_async.example_dags.example_msgraph_files  # noqa: F401
