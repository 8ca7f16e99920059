# SPDX-License-Identifier: Apache-2.0
"""What the tests of the progress page look at."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from airflow_provider_async import Pool, amap
from airflow_provider_async.runtime.connections import state_set, xcom_push
from airflow_provider_async.runtime.progress_page import LINK_XCOM_KEY, progress_url
from system_tests.hazards.kit import MARKS_FOLDER

TOTAL = 17_000
STEP = 850
GO_ON = "progress_page_goes_on"
"""The mark that a test makes when it has seen enough of the running task."""

ITEMS = 300
HOSTILE = "<img src=x onerror=alert(1)>"


def make_report(done: int, started: float, state: str = "running") -> dict[str, Any]:
    """
    Make a report such as a task writes.

    :param done: how many items are done
    :param started: when the work began, in seconds of the epoch
    :param state: ``running``, ``success`` or ``failed``
    """
    now = time.time()
    rates = [120.0 + 60 * ((number * 7) % 5) / 5 + 2 * number for number in range(40)]
    stage = {
        "label": "load",
        "depth": 0,
        "active": int(state == "running"),
        "done": done,
        "failed": 3,
        "skipped": 40,
        "resumed": 1200,
        "retries": 5,
        "total": TOTAL,
        "bytes": done * 3120,
        "rate": 214.6,
        "bytes_rate": 669_552.0,
        "seconds_left": (TOTAL - done) / 214.6 if state == "running" else None,
        "elapsed": now - started,
        "history": {"every": 1.0, "rates": rates},
        "lease_waits": 12,
        "lease_wait_seconds": 0.4,
    }
    nested = stage | {
        "label": "insert",
        "depth": 1,
        "done": done // 2,
        "failed": 0,
        "skipped": 0,
        "resumed": 0,
        "retries": 0,
        "total": None,
        "bytes": 0,
        "rate": 98.4,
        "seconds_left": None,
        "history": {"every": 1.0, "rates": [rate / 2 for rate in reversed(rates)]},
        "lease_waits": 0,
    }
    failures = [
        {"stage": "load", "item": repr(HOSTILE), "error": "ValueError: no date in the third line", "at": now - 1},
        {
            "stage": "load",
            "item": "'/out/2026/11/orders-00317.xml'",
            "error": "FileNotFoundError: no such file",
            "at": now - 4,
        },
        {
            "stage": "load",
            "item": "'/out/2026/11/orders-00042.xml'",
            "error": "TimeoutError: nothing came for 30 s",
            "at": now - 9,
        },
    ]
    pool = {
        "name": "sftp_default",
        "open": 2,
        "size": 2,
        "leased": 60,
        "limit": 64,
        "waiting": 3,
        "connects": 2,
        "connect_errors": 0,
        "waits": 12,
        "wait_seconds": 0.4,
    }
    return {
        "version": 1,
        "state": state,
        "try": get_current_context()["ti"].try_number,
        "started": started,
        "updated": now,
        "stages": [stage, nested],
        "failures": failures,
        "pools": [pool],
    }


async def report(value: dict[str, Any]) -> None:
    """Write a report by hand, the way that fits the version of Airflow."""
    if "task_state_store" in get_current_context():
        await state_set("async_progress", value)
    else:
        await xcom_push("async_progress", value)
    await xcom_push(LINK_XCOM_KEY, progress_url(get_current_context()["ti"]))


@task.async_python
async def by_hand() -> None:
    """Report a step each second, up to the half until the test has seen it, and then to the end."""
    started = time.time()
    proceed = Path(os.environ[MARKS_FOLDER], GO_ON)
    done = 0
    for _ in range(300):
        half = TOTAL if proceed.exists() else TOTAL // 2  # noqa: ASYNC240 - a look at a local file
        done = min(done + STEP, half)
        await report(make_report(done, started))
        if done == TOTAL:
            break
        await asyncio.sleep(1)
    await report(make_report(TOTAL, started, state="success"))


@task.async_python
async def mapped(number: int) -> None:
    """Report a number that tells which of the mapped tasks this is."""
    await report(make_report(100 + number, time.time(), state="success"))


@task.async_python
async def silent() -> None:
    """Report nothing, as a task that uses no amap."""


@task
def plain() -> None:
    """Do what no report is made of."""


with DAG("progress_page", schedule=None, start_date=datetime(2026, 1, 1)):  # noqa: DTZ001 - Airflow's own zone
    by_hand()
    mapped.expand(number=[0, 1])
    silent()
    plain()


@task.async_python
async def at_work() -> int:
    """Do some hundred items through a pool, some of which fail, as a task of a user does."""

    async def connect() -> object:
        await asyncio.sleep(0.1)
        return object()

    async def close(_: object) -> None:
        await asyncio.sleep(0)

    async def fetch(item: str) -> int:
        async with pool.lease():
            await asyncio.sleep(0.2)
            if item.startswith("<"):
                raise ValueError(f"{item} is no number")
            return int(item)

    items = [HOSTILE if number % 50 == 49 else str(number) for number in range(ITEMS)]
    pool: Pool[object, object] = Pool(connect, close=close, size=2, leases=2, name="numbers")
    async with pool:
        fetched = amap(fetch, items, limit=8, label="fetch")
        async for _ in fetched.outcomes():
            pass
        return fetched.progress.done


with DAG("progress_page_at_work", schedule=None, start_date=datetime(2026, 1, 1)):  # noqa: DTZ001 - as above
    at_work()
