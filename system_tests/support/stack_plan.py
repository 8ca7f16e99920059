# SPDX-License-Identifier: Apache-2.0
"""What the tests of a stack and their DAGs agree on; free of Airflow."""

from __future__ import annotations

from dataclasses import dataclass

CONNECTION_ID = "sftp_files"
BATCH_SIZE = 50
PARTS = 4

#: Found nowhere by chance.
NEEDLE = "needle-in-the-metadata-database"
LARGE_BYTES = 5 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    What is to become of a DAG run, as its conf.

    :param warehouse: what SQLAlchemy connects to
    :param folder: the remote folder to load
    :param pause_seconds: how long a task rests after each batch
    :param soak_seconds: how long files are read again and again
    :param target: the folder to download into
    :param checkpoints: the folder that checkpoints are kept in, instead of in Airflow
    """

    warehouse: str
    folder: str
    pause_seconds: float = 0.0
    soak_seconds: float = 0.0
    target: str = ""
    checkpoints: str = ""
