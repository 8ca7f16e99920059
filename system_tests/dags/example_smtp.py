# SPDX-License-Identifier: Apache-2.0
"""The example DAGs for mail, as they are: Airflow finds the DAGs of what a file imports, too."""

from __future__ import annotations

import airflow_provider_async.example_dags.example_smtp  # noqa: F401
