# SPDX-License-Identifier: Apache-2.0
"""Hazards at the end of a task that is told to stop: by its time-out, by a signal, by a user."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator  # noqa: TC003 - Airflow resolves the return types of tasks
from datetime import timedelta

from system_tests.hazards.declare import Action, Group
from system_tests.hazards.kit import (
    LONG_SECONDS,
    SHORT_SECONDS,
    keep_reading,
    mark,
    read_connection,
    read_variable_sync,
    sleep_and_clean_up,
    try_number,
)

TIMEOUT = timedelta(seconds=2)
# The callback shows that the process ended by itself, before Airflow's SIGKILL, and in step with its supervisor.
ENDED_BY_ITSELF = ("failure_callback", "failure_callback_read")
CLEANED_UP = ("cleaned_up", *ENDED_BY_ITSELF)

timed_out = Group(
    "Time-outs",
    state="failed",
    within_seconds=16,
    marks=CLEANED_UP,
    no_marks=("slept_on",),
    log=(r"AirflowTaskTimeout",),
)
killed = Group(
    "Being told to stop",
    state="failed",
    within_seconds=20,
    marks=("ready", *CLEANED_UP),
    no_marks=("slept_on",),
    action=Action.SIGNAL,
)


def spin(seconds: float) -> None:
    """
    Keep the processor busy.

    :param seconds: how long
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        sum(range(1000))


async def sleep_and_ask(name: str) -> None:
    """
    Wait for ever, and ask Airflow for something when cancelled.

    :param name: the mark that the clean-up makes at its end
    """
    try:
        await asyncio.sleep(LONG_SECONDS)
    finally:
        await asyncio.gather(read_connection(1), read_connection(2))
        read_variable_sync(3)
        mark(name)


async def never_ending_clean_up() -> None:
    """Wait for ever, and clean up for ever when cancelled."""
    try:
        await asyncio.sleep(LONG_SECONDS)
    finally:
        await asyncio.sleep(LONG_SECONDS)


async def swallow_every_cancellation() -> None:
    """Go on as if nothing had happened, however often it is cancelled."""
    while True:
        try:
            await asyncio.sleep(LONG_SECONDS)
        except asyncio.CancelledError:
            mark("swallowed")


async def wait_in_the_first_try() -> None:
    """Wait for ever in the first try, end at once in all others."""
    if try_number() == 1:
        mark("ready")
        await sleep_and_clean_up("cleaned_up")


@timed_out(arguments={"execution_timeout": TIMEOUT})
async def timeout_sleeping() -> None:
    """``execution_timeout`` while the coroutine sleeps"""
    await sleep_and_clean_up("cleaned_up")


@timed_out(arguments={"execution_timeout": TIMEOUT}, marks=("cleaned_up_1", "cleaned_up_2", *CLEANED_UP))
async def timeout_with_children() -> None:
    """``execution_timeout`` while a task group waits"""
    async with asyncio.TaskGroup() as group:
        group.create_task(sleep_and_clean_up("cleaned_up_1"))
        group.create_task(sleep_and_clean_up("cleaned_up_2"))
        await sleep_and_clean_up("cleaned_up")


@timed_out(arguments={"execution_timeout": TIMEOUT})
async def timeout_blocked() -> None:
    """``execution_timeout`` while a synchronous call blocks the loop"""
    background = asyncio.create_task(sleep_and_clean_up("cleaned_up"))
    await asyncio.sleep(SHORT_SECONDS)
    time.sleep(60)  # noqa: ASYNC251 - the hazard
    await background


@timed_out(arguments={"execution_timeout": TIMEOUT})
async def timeout_busy() -> None:
    """``execution_timeout`` while computing blocks the loop"""
    background = asyncio.create_task(sleep_and_clean_up("cleaned_up"))
    await asyncio.sleep(SHORT_SECONDS)
    spin(60)
    await background


@timed_out(arguments={"execution_timeout": TIMEOUT})
async def timeout_beside_requests() -> None:
    """``execution_timeout`` while requests are in flight"""
    await asyncio.gather(*map(keep_reading, range(5)), sleep_and_clean_up("cleaned_up"))


@timed_out(arguments={"execution_timeout": TIMEOUT})
async def timeout_clean_up_asks() -> None:
    """``execution_timeout``, and clean-up that reads a Connection and a Variable"""
    await sleep_and_ask("cleaned_up")


@timed_out(arguments={"execution_timeout": TIMEOUT})
async def timeout_generating() -> AsyncIterator[int]:
    """``execution_timeout`` while an async generator function runs as a task"""
    yield 1
    await sleep_and_clean_up("cleaned_up")
    yield 2


@timed_out(
    arguments={"execution_timeout": TIMEOUT},
    marks=ENDED_BY_ITSELF,
    log=(r"AirflowTaskTimeout", r"(?s)did not end.{0,300}never_ending_clean_up"),
)
async def timeout_endless_clean_up() -> None:
    """``execution_timeout``, and clean-up that does not end"""
    await never_ending_clean_up()


@timed_out(arguments={"execution_timeout": TIMEOUT}, marks=("swallowed", *ENDED_BY_ITSELF))
async def timeout_swallowed() -> str:
    """``execution_timeout``, and the coroutine swallows its cancellation and returns"""
    try:
        await asyncio.sleep(LONG_SECONDS)
    except asyncio.CancelledError:
        mark("swallowed")
    return "as if nothing had happened"


@timed_out(arguments={"execution_timeout": TIMEOUT}, marks=("swallowed", *ENDED_BY_ITSELF))
async def timeout_swallowed_always() -> None:
    """``execution_timeout``, and the coroutine swallows every cancellation and goes on"""
    await swallow_every_cancellation()


@timed_out(
    state="success",
    tries=2,
    within_seconds=20,
    arguments={"execution_timeout": TIMEOUT, "retries": 1, "retry_delay": timedelta(seconds=1)},
    marks=("cleaned_up",),
)
async def timeout_then_retry() -> None:
    """``execution_timeout`` in the first try; the second succeeds"""
    await wait_in_the_first_try()


@killed()
async def signalled() -> None:
    """SIGTERM while the coroutine sleeps"""
    mark("ready")
    await sleep_and_clean_up("cleaned_up")


@killed(action=Action.SIGNAL_TWICE)
async def signalled_twice() -> None:
    """A second SIGTERM during clean-up"""
    mark("ready")
    try:
        await asyncio.sleep(LONG_SECONDS)
    finally:
        await asyncio.sleep(1)
        mark("cleaned_up")


@killed(action=Action.SIGNAL_SUPERVISOR, since=(3, 3))
async def supervisor_signalled() -> None:
    """SIGTERM to the supervisor, as in a worker's shutdown (3.3 passes it on)"""
    mark("ready")
    await sleep_and_clean_up("cleaned_up")


@killed()
async def signalled_blocked() -> None:
    """SIGTERM while a synchronous call blocks the loop"""
    background = asyncio.create_task(sleep_and_clean_up("cleaned_up"))
    await asyncio.sleep(SHORT_SECONDS)
    mark("ready")
    time.sleep(60)  # noqa: ASYNC251 - the hazard
    await background


@killed()
async def signalled_beside_requests() -> None:
    """SIGTERM while requests are in flight"""
    requests = asyncio.gather(*map(keep_reading, range(5)), sleep_and_clean_up("cleaned_up"))
    await asyncio.sleep(SHORT_SECONDS)
    mark("ready")
    await requests


@killed()
async def signalled_clean_up_asks() -> None:
    """SIGTERM, and clean-up that reads a Connection and a Variable"""
    mark("ready")
    await sleep_and_ask("cleaned_up")


@killed(
    marks=("ready", *ENDED_BY_ITSELF),
    log=(r"(?s)did not end.{0,300}never_ending_clean_up",),
)
async def signalled_endless_clean_up() -> None:
    """SIGTERM, and clean-up that does not end"""
    mark("ready")
    await never_ending_clean_up()


@killed(marks=("ready", "swallowed", *ENDED_BY_ITSELF))
async def signalled_swallowed() -> str:
    """SIGTERM, and the coroutine swallows its cancellation and returns"""
    mark("ready")
    try:
        await asyncio.sleep(LONG_SECONDS)
    except asyncio.CancelledError:
        mark("swallowed")
    return "as if nothing had happened"


@killed(marks=("ready", "swallowed", *ENDED_BY_ITSELF))
async def signalled_swallowed_always() -> None:
    """SIGTERM, and the coroutine swallows every cancellation and goes on"""
    mark("ready")
    await swallow_every_cancellation()


@killed(
    state="success",
    tries=2,
    within_seconds=20,
    marks=("ready", "cleaned_up"),
    arguments={"retries": 1, "retry_delay": timedelta(seconds=1)},
)
async def signalled_then_retry() -> None:
    """SIGTERM in the first try; the second succeeds"""
    await wait_in_the_first_try()


@killed(action=Action.MARK_FAILED)
async def marked_failed() -> None:
    """Marked failed by a user while it runs"""
    mark("ready")
    await sleep_and_clean_up("cleaned_up")


@killed(action=Action.CLEAR, since=(3, 1), state="success", tries=2, marks=("ready", "cleaned_up"))
async def cleared() -> None:
    """Cleared by a user while it runs; the next try succeeds"""
    await wait_in_the_first_try()


@killed(action=Action.CLEAR, until=(3, 1), state="restarting")
async def cleared_before_3_1() -> None:
    """Cleared by a user while it runs, on Airflow 3.0, which never starts the next try of any task"""
    await wait_in_the_first_try()
