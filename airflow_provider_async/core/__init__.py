# SPDX-License-Identifier: Apache-2.0
"""Pools, bounded maps and retries on asyncio alone: nothing here knows Airflow or a protocol."""
