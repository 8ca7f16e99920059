# SPDX-License-Identifier: Apache-2.0
"""Hazards of asking Airflow's supervisor for something, from many places at once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

from system_tests.hazards.declare import Group
from system_tests.hazards.kit import (
    SHORT_SECONDS,
    STORED,
    check,
    keep_reading,
    mark,
    read_connection,
    read_connection_sync,
    read_variable,
    read_variable_sync,
    under_core,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk.types import RuntimeTaskInstanceProtocol

hazard = Group("Requests to Airflow")


async def beside_requests(call: Callable[[], object]) -> None:
    """
    Make synchronous calls in the event loop while coroutines have requests in flight.

    :param call: made once for each of a few turns of the loop
    """
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(read_connection(number))
        for _ in range(5):
            await asyncio.sleep(0.01)
            call()


@hazard()
async def connections_at_once() -> None:
    """50 coroutines read a Connection each"""
    await asyncio.gather(*map(read_connection, range(STORED)))


@hazard()
async def variables_at_once() -> None:
    """50 coroutines read a Variable each"""
    await asyncio.gather(*map(read_variable, range(STORED)))


@hazard()
async def threads_beside_coroutines() -> None:
    """Threads read Connections and Variables while coroutines do"""
    await asyncio.gather(
        *map(read_connection, range(20)),
        *map(read_variable, range(20)),
        *(asyncio.to_thread(read_connection_sync, number) for number in range(20)),
        *(asyncio.to_thread(read_variable_sync, number) for number in range(20)),
    )


@hazard()
async def threads_alone() -> None:
    """Threads read Connections and Variables, no coroutine does"""
    await asyncio.gather(
        *(asyncio.to_thread(read_connection_sync, number) for number in range(STORED)),
        *(asyncio.to_thread(read_variable_sync, number) for number in range(STORED)),
    )


@hazard()
async def sync_variable_in_loop() -> None:
    """``Variable.get`` in the loop beside a coroutine's request"""
    await beside_requests(lambda: read_variable_sync(7))


@hazard()
async def sync_connection_in_loop() -> None:
    """``BaseHook.get_connection`` in the loop beside a coroutine's request"""
    await beside_requests(lambda: read_connection_sync(7))


@hazard()
async def sync_xcom_in_loop(ti: RuntimeTaskInstanceProtocol) -> None:
    """``ti.xcom_push`` in the loop beside a coroutine's request"""
    await beside_requests(lambda: ti.xcom_push("pushed", "in the loop"))
    check(await asyncio.to_thread(ti.xcom_pull, task_ids="sync_xcom_in_loop", key="pushed"), "in the loop")


@hazard(since=(3, 3))
async def sync_state_in_loop(task_state_store: object) -> None:
    """``task_state_store.set`` in the loop beside a coroutine's request"""
    store = task_state_store
    await beside_requests(lambda: store.set("place", "in the loop"))  # type: ignore[attr-defined]
    check(await asyncio.to_thread(store.get, "place"), "in the loop")  # type: ignore[attr-defined]


@hazard(since=(3, 2))
async def core_coroutine() -> None:
    """Core's own ``BaseHook.aget_connection`` beside threads that read"""
    from airflow.sdk import BaseHook

    async def read(number: int) -> None:
        check((await BaseHook.aget_connection(f"stored_{number}")).host, f"host-{number}")

    await asyncio.gather(
        *map(read, range(20)),
        *(asyncio.to_thread(read_connection_sync, number) for number in range(20)),
    )


@hazard(core=False)
async def xcoms_from_coroutines() -> None:
    """50 coroutines push an XCom each and read it back"""
    from airflow_provider_async.runtime.connections import xcom_pull, xcom_push

    async def there_and_back(number: int) -> None:
        await xcom_push(f"number-{number}", number)
        check(await xcom_pull("xcoms_from_coroutines", key=f"number-{number}"), number)

    await asyncio.gather(*map(there_and_back, range(STORED)))


@hazard(core=False, since=(3, 3))
async def state_from_coroutines() -> None:
    """50 coroutines write to the state store and read back"""
    from airflow_provider_async.runtime.connections import state_get, state_set

    async def there_and_back(number: int) -> None:
        await state_set(f"number-{number}", number)
        check(await state_get(f"number-{number}"), number)

    await asyncio.gather(*map(there_and_back, range(STORED)))


@hazard(core=False, until=(3, 3), state="failed", log=(r"UnsupportedAirflow: .*3\.3.*3\.[012]\.\d+",))
async def state_before_its_time() -> None:
    """The state store is asked for on an Airflow that has none"""
    from airflow_provider_async.runtime.connections import state_set

    await state_set("place", "nowhere")


@hazard(
    state="failed", within_seconds=20, log=(r"ValueError: the branch's own error",), marks=("failure_callback_read",)
)
async def error_beside_a_request() -> None:
    """An error in one branch of ``gather`` while another reads a Connection"""

    async def fail() -> None:
        await asyncio.sleep(SHORT_SECONDS)
        raise ValueError("the branch's own error")

    await asyncio.gather(keep_reading(1), keep_reading(2), fail())


@hazard(
    state="failed", within_seconds=20, log=(r"RuntimeError: the task's own error",), marks=("failure_callback_read",)
)
async def error_with_requests_left_over() -> None:
    """The task fails while background tasks read Connections"""
    reading = [asyncio.create_task(keep_reading(number)) for number in range(5)]
    await asyncio.sleep(SHORT_SECONDS)
    raise RuntimeError(f"the task's own error beside {len(reading)} requests")


@hazard(state="failed", log=(r"no_such_connection",), marks=("failure_callback_read",))
async def missing_connection() -> None:
    """A Connection that does not exist, among others that do"""

    async def read_missing() -> None:
        if under_core():
            from airflow.sdk import BaseHook

            await BaseHook.aget_connection("no_such_connection")
        else:
            from airflow_provider_async.runtime.connections import get_connection

            await get_connection("no_such_connection")

    await asyncio.gather(*map(read_connection, range(5)), read_missing(), *map(read_connection, range(5, 10)))


@hazard(within_seconds=45)
async def cancelled_requests() -> None:
    """50 requests with short time-outs at once, then 50 others: each answer goes to its asker"""
    chance = random.Random(0)

    async def be_impatient(number: int) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(read_connection(number), chance.uniform(0, 0.05))

    for _ in range(3):
        await asyncio.gather(*map(be_impatient, range(STORED)))
        await asyncio.gather(*map(read_connection, reversed(range(STORED))))


@hazard()
async def cancelled_waiters() -> None:
    """Requests that are cancelled while they wait for another's answer"""
    for _ in range(5):
        tasks = [asyncio.create_task(read_connection(number)) for number in range(20)]
        await asyncio.sleep(0.005)
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait_for(read_connection(30), 10)


@hazard()
async def cancelled_then_sync() -> None:
    """A request is cancelled, then ``Variable.get`` is called in the loop"""
    for number in range(10):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(read_connection(number), 0.003)
        read_variable_sync(40 + number)


@hazard(within_seconds=20, marks=("read",))
async def left_over_requests() -> None:
    """The task succeeds while background tasks read Connections"""
    reading = [asyncio.create_task(keep_reading(number)) for number in range(5)]
    await asyncio.sleep(SHORT_SECONDS)
    check(len(reading), 5)
    mark("read")


@hazard()
async def loop_in_a_thread() -> None:
    """An event loop of the user's own in a thread reads beside the task's"""

    async def read() -> None:
        await asyncio.gather(*map(read_connection, range(10)))

    await asyncio.gather(asyncio.to_thread(lambda: asyncio.run(read())), read())


@hazard()
async def debug_mode() -> None:
    """Requests in asyncio's debug mode"""
    asyncio.get_running_loop().set_debug(True)
    await asyncio.gather(*map(read_connection, range(10)), *map(read_variable, range(10)))


@hazard()
async def environment_connection() -> None:
    """A Connection from an environment variable, beside stored ones"""
    if under_core():
        from airflow.sdk import BaseHook

        get_connection = BaseHook.aget_connection
    else:
        from airflow_provider_async.runtime.connections import get_connection

    async def read() -> None:
        check((await get_connection("from_environment")).host, "environment")

    await asyncio.gather(*map(read_connection, range(10)), *(read() for _ in range(10)))
