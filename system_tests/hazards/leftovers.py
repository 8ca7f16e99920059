# SPDX-License-Identifier: Apache-2.0
"""Hazards of what a task leaves behind: background tasks, threads, async generators."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from system_tests.hazards.declare import Group
from system_tests.hazards.endings import swallow_every_cancellation
from system_tests.hazards.kit import SHORT_SECONDS, mark, sleep_and_clean_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

hazard = Group("What is left behind", within_seconds=16, no_marks=("slept_on",))

# Whatever is kept here is not collected as garbage: only the runtime can end it.
_kept: list[object] = []


async def count_and_clean_up(name: str) -> AsyncIterator[int]:
    """
    Yield numbers for ever, and clean up with something that is awaited when closed.

    :param name: the mark that the clean-up makes at its end
    """
    number = 0
    try:
        while True:
            yield number
            number += 1
    finally:
        await asyncio.sleep(SHORT_SECONDS)
        mark(name)


@hazard(marks=("cleaned_up",))
async def background_task() -> None:
    """A background task is still asleep"""
    _kept.append(asyncio.create_task(sleep_and_clean_up("cleaned_up")))
    await asyncio.sleep(SHORT_SECONDS)


@hazard(state="failed", marks=("cleaned_up", "failure_callback_read"), log=(r"ValueError: the task's own error",))
async def background_task_of_a_failure() -> None:
    """A background task is still asleep when the task fails"""
    _kept.append(asyncio.create_task(sleep_and_clean_up("cleaned_up")))
    await asyncio.sleep(SHORT_SECONDS)
    raise ValueError("the task's own error")


@hazard(marks=("swallowed",), log=(r"(?s)never-ending.{0,300}swallow_every_cancellation",))
async def background_task_without_end() -> None:
    """A background task swallows every cancellation"""
    _kept.append(asyncio.create_task(swallow_every_cancellation(), name="never-ending"))
    await asyncio.sleep(SHORT_SECONDS)


@hazard(log=(r"ZeroDivisionError",))
async def background_task_failed() -> None:
    """A background task has failed and nobody has looked"""

    async def fail() -> None:
        raise ZeroDivisionError

    _kept.append(asyncio.create_task(fail(), name="unobserved"))
    await asyncio.sleep(SHORT_SECONDS)


@hazard(marks=("cleaned_up",))
async def async_generator() -> None:
    """An async generator was left in the middle"""
    numbers = count_and_clean_up("cleaned_up")
    await anext(numbers)
    _kept.append(numbers)


@hazard()
async def stuck_thread() -> None:
    """A call of the loop's executor is stuck"""
    _kept.append(asyncio.get_running_loop().run_in_executor(None, time.sleep, 120))
    await asyncio.sleep(SHORT_SECONDS)


@hazard()
async def stuck_thread_of_their_own() -> None:
    """A call of the user's own executor is stuck"""
    executor = ThreadPoolExecutor(1)
    _kept.extend([executor, executor.submit(time.sleep, 120)])
    await asyncio.sleep(SHORT_SECONDS)


@hazard(state="failed", marks=("failure_callback_read",), log=(r"TimeoutError",))
async def stuck_thread_given_up() -> None:
    """``wait_for`` gives up a stuck thread"""
    await asyncio.wait_for(asyncio.to_thread(time.sleep, 120), 1)
