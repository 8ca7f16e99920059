# SPDX-License-Identifier: Apache-2.0
"""The same work in four ways: requests to a server that takes 50 ms for an answer, one for each item."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator, dag, task
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_async import amap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow.sdk import Context

#: What a loop in one task gets, and what is enough of separate tasks to know what one costs.
ITEMS_IN_A_LOOP = 1000
SEPARATE_TASKS = 40
SECONDS_AN_ITEM = 0.05


async def request(_: int) -> None:
    await asyncio.sleep(SECONDS_AN_ITEM)


class RequestTrigger(BaseTrigger):
    """Waits for one answer in the triggerer."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return ("benchmarks.dags.approaches.RequestTrigger", {})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await request(0)
        yield TriggerEvent({})  # type: ignore[no-untyped-call]


class DeferredRequest(BaseOperator):
    """Leaves the waiting for one answer to the triggerer."""

    def __init__(self, *, item: int, **options: Any) -> None:  # noqa: ANN401 - as BaseOperator's
        super().__init__(**options)
        self.item = item

    def execute(self, context: Context) -> NoReturn:  # noqa: ARG002
        self.defer(trigger=RequestTrigger(), method_name="resume")  # type: ignore[no-untyped-call]

    def resume(self, context: Context, event: dict[str, Any]) -> None:
        pass


@dag(schedule=None)
def sync_task() -> None:
    @task
    def loop() -> None:
        for _ in range(ITEMS_IN_A_LOOP):
            time.sleep(SECONDS_AN_ITEM)

    loop()


@dag(schedule=None)
def mapped_tasks() -> None:
    @task
    def one(_: int) -> None:
        time.sleep(SECONDS_AN_ITEM)

    one.expand(_=list(range(SEPARATE_TASKS)))


@dag(schedule=None)
def deferrable_operators() -> None:
    DeferredRequest.partial(task_id="one").expand(item=list(range(SEPARATE_TASKS)))


@dag(schedule=None)
def async_task() -> None:
    @task.async_python
    async def loop() -> None:
        async for _ in amap(request, range(ITEMS_IN_A_LOOP), limit=16):
            pass

    loop()


sync_task()
mapped_tasks()
deferrable_operators()
async_task()
