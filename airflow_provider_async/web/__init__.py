# SPDX-License-Identifier: Apache-2.0
"""The progress page, and the plugin that adds it to Airflow's UI."""
