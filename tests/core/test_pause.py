# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

from airflow_provider_async.core.pause import Pause


def make(**options: float) -> Pause:
    return Pause(clock=asyncio.get_running_loop().time, **options)


async def now() -> float:
    return asyncio.get_running_loop().time()


async def test_without_a_pause_nobody_waits() -> None:
    pause = make()
    assert not pause.is_on
    assert pause.seconds_left == 0
    await pause.wait()
    assert await now() == 0


async def test_all_wait_until_the_pause_is_over_and_begin_within_a_tenth_of_it() -> None:
    pause = make()
    pause.extend(10)
    ends: list[float] = []

    async def call() -> None:
        await pause.wait()
        ends.append(await now())

    assert pause.is_on
    await asyncio.gather(*(call() for _ in range(50)))
    assert 10 <= min(ends) < max(ends) <= 11
    assert not pause.is_on


async def test_a_pause_can_be_extended_while_it_is_waited_for_but_not_shortened() -> None:
    pause = make()
    pause.extend(10, spread_seconds=0)
    waiting = asyncio.create_task(pause.wait())
    await asyncio.sleep(5)
    pause.extend(1)
    assert pause.seconds_left == 5
    pause.extend(20, spread_seconds=0)
    await waiting
    assert await now() == 25


async def test_waiting_can_be_cancelled() -> None:
    pause = make()
    pause.extend(10)
    waiting = asyncio.create_task(pause.wait())
    await asyncio.sleep(1)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert await now() == 1


async def test_refusals_double_the_pause_up_to_a_bound_and_successes_shrink_it() -> None:
    pause = make(initial_seconds=1, max_seconds=8)
    lengths = []
    for _ in range(6):
        pause.refused(await now())
        lengths.append(pause.seconds_left)
        await asyncio.sleep(100)
    assert lengths == [0.5, 1, 2, 4, 4, 4]

    for _ in range(6 * 8):
        pause.succeeded()
    pause.refused(await now())
    assert pause.seconds_left == 0.5


async def test_the_refusals_of_one_crowd_count_once() -> None:
    pause = make(initial_seconds=1)
    began = await now()
    await asyncio.sleep(1)
    for _ in range(20):
        pause.refused(began)
    assert pause.seconds_left == 0.5
    await asyncio.sleep(10)
    pause.refused(began)
    assert not pause.is_on
    pause.refused(await now())
    assert pause.seconds_left == 1
