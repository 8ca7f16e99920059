# SPDX-License-Identifier: Apache-2.0
"""What the bodies of hazards use while they run: marks that tests read, and what each decorator offers."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Read by tests, written by tasks, through the environment of all of Airflow's processes.
MARKS_FOLDER = "HAZARD_MARKS"

STORED = 50
"""How many Connections ``stored_<n>`` and Variables ``stored_<n>`` lie in Airflow's database."""

SHORT_SECONDS = 0.2
LONG_SECONDS = 3600.0


def mark(name: str) -> None:
    """
    Write down that the running task got somewhere, and when.

    :param name: what it got to
    """
    context = os.environ
    folder = Path(
        context[MARKS_FOLDER],
        context["AIRFLOW_CTX_DAG_ID"],
        context["AIRFLOW_CTX_DAG_RUN_ID"],
        context["AIRFLOW_CTX_TASK_ID"],
        context["AIRFLOW_CTX_TRY_NUMBER"],
    )
    folder.mkdir(parents=True, exist_ok=True)
    # Written under another name first: who sees the mark sees all of it.
    unfinished = folder / f".{name}"
    unfinished.write_text(f"{os.getpid()} {os.getppid()} {time.time()}")
    unfinished.rename(folder / name)


def try_number() -> int:
    """Tell which try of the task runs, from 1."""
    return int(os.environ["AIRFLOW_CTX_TRY_NUMBER"])


def under_core() -> bool:
    """Whether core's own ``@task`` runs the body."""
    return os.environ["AIRFLOW_CTX_DAG_ID"].endswith("core")


async def sleep_and_clean_up(name: str) -> None:
    """
    Wait for ever, and clean up with something that is awaited when cancelled.

    :param name: the mark that the clean-up makes at its end
    """
    try:
        await asyncio.sleep(LONG_SECONDS)
        mark("slept_on")
    finally:
        await asyncio.sleep(SHORT_SECONDS)
        mark(name)


async def read_connection(number: int) -> None:
    """
    Read a stored Connection as the decorator's users would, and check that it is the right one.

    :param number: which one
    """
    if under_core():
        from airflow.sdk import BaseHook

        connection = await BaseHook.aget_connection(f"stored_{number}")
    else:
        from airflow_provider_async.runtime.connections import get_connection

        connection = await get_connection(f"stored_{number}")
    check(connection.host, f"host-{number}")


def read_connection_sync(number: int) -> None:
    """
    Read a stored Connection with core's synchronous call, and check that it is the right one.

    :param number: which one
    """
    try:
        from airflow.sdk import BaseHook
    except ImportError:  # 3.0
        from airflow.hooks.base import BaseHook  # type: ignore[attr-defined,no-redef]
    check(BaseHook.get_connection(f"stored_{number}").host, f"host-{number}")


async def read_variable(number: int) -> None:
    """
    Read a stored Variable as the decorator's users would, and check that it is the right one.

    :param number: which one
    """
    if under_core():  # which has no coroutine for it on any version
        await asyncio.to_thread(read_variable_sync, number)
        return
    from airflow_provider_async.runtime.connections import get_variable

    check(await get_variable(f"stored_{number}"), f"value-{number}")


def read_variable_sync(number: int) -> None:
    """
    Read a stored Variable with core's synchronous call, and check that it is the right one.

    :param number: which one
    """
    from airflow.sdk import Variable

    check(Variable.get(f"stored_{number}"), f"value-{number}")


async def keep_reading(number: int) -> None:
    """
    Read one stored Connection after the other, so that a request is in flight all the time.

    :param number: which one
    """
    while True:
        await read_connection(number)


def check(got: object, expected: object) -> None:
    """
    Compare.

    :param got: what is
    :param expected: what should be
    :raises RuntimeError: if they differ
    """
    if got != expected:
        raise RuntimeError(f"expected {expected!r}, got {got!r}")


def on_failure(_context: Mapping[str, object]) -> None:
    """Mark that the task process lived to its regular end, and that it can still ask its supervisor."""
    mark("failure_callback")
    read_variable_sync(0)
    mark("failure_callback_read")
