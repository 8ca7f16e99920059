# SPDX-License-Identifier: Apache-2.0
"""Hazards of the event loop itself: blocked, or another one than asyncio's."""

from __future__ import annotations

import asyncio
import time

from system_tests.hazards import endings
from system_tests.hazards.declare import Action, Group
from system_tests.hazards.kit import SHORT_SECONDS, check, mark, read_connection, read_variable, sleep_and_clean_up

hazard = Group("The event loop")


def parse_a_large_file() -> None:
    """Block whoever calls it."""
    time.sleep(2.5)


@hazard(log=(r"(?s)blocked the event loop.{0,1500}parse_a_large_file",), log_once=(r"blocked the event loop",))
async def blocking_calls() -> None:
    """Synchronous calls block the loop for seconds: the log says so once, with a stack"""
    for _ in range(2):
        await asyncio.sleep(SHORT_SECONDS)
        parse_a_large_file()


@hazard(log_lacks=(r"blocked the event loop",))
async def short_blocking_calls() -> None:
    """Synchronous calls of a tenth of a second are not worth a word"""
    for _ in range(20):
        await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251 - the hazard


async def check_uvloop() -> None:
    """Fail unless uvloop runs this."""
    import uvloop

    check(type(asyncio.get_running_loop()), uvloop.Loop)


@hazard(core=False, arguments={"loop": "uvloop"})
async def uvloop_requests() -> None:
    """uvloop: requests"""
    await check_uvloop()
    await asyncio.gather(*map(read_connection, range(10)), *map(read_variable, range(10)))


@hazard(
    core=False,
    state="failed",
    within_seconds=16,
    arguments={"loop": "uvloop", "execution_timeout": endings.TIMEOUT},
    marks=endings.CLEANED_UP,
    log=(r"AirflowTaskTimeout",),
)
async def uvloop_timeout() -> None:
    """uvloop: ``execution_timeout`` while the coroutine sleeps"""
    await check_uvloop()
    await sleep_and_clean_up("cleaned_up")


@hazard(
    core=False,
    state="failed",
    within_seconds=16,
    arguments={"loop": "uvloop", "execution_timeout": endings.TIMEOUT},
    marks=endings.CLEANED_UP,
    log=(r"AirflowTaskTimeout",),
)
async def uvloop_timeout_blocked() -> None:
    """uvloop: ``execution_timeout`` while a synchronous call blocks the loop"""
    await check_uvloop()
    background = asyncio.create_task(sleep_and_clean_up("cleaned_up"))
    await asyncio.sleep(SHORT_SECONDS)
    time.sleep(60)  # noqa: ASYNC251 - the hazard
    await background


@hazard(
    core=False,
    state="failed",
    within_seconds=20,
    arguments={"loop": "uvloop"},
    action=Action.SIGNAL,
    marks=("ready", *endings.CLEANED_UP),
)
async def uvloop_signalled() -> None:
    """uvloop: SIGTERM while the coroutine sleeps"""
    await check_uvloop()
    mark("ready")
    await sleep_and_clean_up("cleaned_up")
