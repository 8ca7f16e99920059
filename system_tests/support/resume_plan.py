# SPDX-License-Identifier: Apache-2.0
"""What tests and tasks of the resume tests agree on; free of Airflow."""

from __future__ import annotations

from dataclasses import dataclass

BATCH_SIZE = 100
TIMEOUT_SECONDS = 20
"""The execution time-out of the task that has one."""

CHECKPOINT_FOLDER = "RESUME_CHECKPOINTS"
"""The environment variable that names the folder of the one task that keeps its checkpoint in a folder."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """
    What is to become of a DAG run, as its conf.

    :param ledger: the path of the database to load into
    :param connection_id: of the SFTP server to load from
    :param folder: the remote folder to load
    :param pause_seconds: how long the first try rests after each batch
    :param fail_after: after how many rows the first try fails, before it inserts the next batch
    :param fails_at: which map index fails; -1 is that of a task that is not mapped
    :param names: the names to resume by, each for an equal share of the files
    :param acquire_timeout_seconds: how long an operation waits for the server
    :param returns_what_cannot_be_stored: whether the first try does
    :param async_fresh_start: the entry of that name, which is the provider's own
    """

    ledger: str
    connection_id: str
    folder: str
    pause_seconds: float = 0.0
    fail_after: int | None = None
    fails_at: int = -1
    names: tuple[str, ...] = ("load",)
    acquire_timeout_seconds: float = 60.0
    returns_what_cannot_be_stored: bool = False
    async_fresh_start: bool = False
