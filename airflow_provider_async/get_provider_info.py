# SPDX-License-Identifier: Apache-2.0
"""What Airflow is told about this package, found through the entry point ``apache_airflow_provider``."""

from __future__ import annotations


def get_provider_info() -> dict[str, object]:
    """
    Describe this provider.

    :return: a dictionary of the form of Airflow's ``provider_info.schema.json``
    """
    decorator = "airflow.providers.async_bridge.async_python_task"
    return {
        "package-name": "apache-airflow-providers-async",  # must be the distribution's name
        "name": "Async",
        "description": "Thousands of I/O operations from one async task.",
        # The schema names `path`, Airflow 3.0 to 3.3 read `class-name`.
        "task-decorators": [{"name": "async_python", "class-name": decorator, "path": decorator}],
    }
