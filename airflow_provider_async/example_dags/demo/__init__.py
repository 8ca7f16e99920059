# SPDX-License-Identifier: Apache-2.0
"""``make demo``: an example DAG on real input, beside the same work done by Airflow's own SFTPHook."""

from __future__ import annotations
