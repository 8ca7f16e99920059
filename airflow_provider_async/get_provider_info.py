# SPDX-License-Identifier: Apache-2.0
"""What Airflow is told about this package, found through the entry point ``apache_airflow_provider``."""

from __future__ import annotations

_OPTIONS: dict[str, dict[str, str | None]] = {
    "loop": {
        "description": "The event loop that async tasks run in: asyncio or uvloop.",
        "version_added": "0.1.0",
        "type": "string",
        "example": "uvloop",
        "default": "asyncio",
    },
    "checkpoint_path": {
        "description": (
            "Where checkpoints are kept, from which the next try of a task goes on: a folder, or what an "
            "ObjectStoragePath takes, which all workers must reach. If it is empty, they are kept in the task state "
            "store, or before Airflow 3.3 in Variables."
        ),
        "version_added": "0.1.0",
        "type": "string",
        "example": "s3://aws_default@bucket/checkpoints",
        "default": "",
    },
    "checkpoint_seconds": {
        "description": (
            "A running task saves its checkpoints so often, in seconds, that no more of its work is done again if it "
            "is killed. What cannot be saved in time makes the work wait."
        ),
        "version_added": "0.1.0",
        "type": "float",
        "example": None,
        "default": "5",
    },
    "checkpoint_patience_seconds": {
        "description": (
            "How long a running task waits when its checkpoints cannot be saved, before it goes on all the same: what "
            "it does then may be done again. Its end waits so long as well. With 0 it does not wait at all."
        ),
        "version_added": "0.1.0",
        "type": "float",
        "example": None,
        "default": "60",
    },
    "progress_seconds": {
        "description": "How often a running task tells its progress at most, in seconds.",
        "version_added": "0.1.0",
        "type": "float",
        "example": None,
        "default": "2",
    },
}


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
        "notifications": ["airflow.providers.async_bridge.AsyncSmtpNotifier"],
        "config": {"async": {"description": "Async tasks.", "options": _OPTIONS}},
    }
