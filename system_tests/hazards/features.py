# SPDX-License-Identifier: Apache-2.0
"""What Airflow offers to every task, and how a task's own errors are shown."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator  # noqa: TC003 - Airflow resolves the return types of tasks
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from system_tests.hazards.declare import Group
from system_tests.hazards.kit import SHORT_SECONDS, check, mark, sleep_and_clean_up, try_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk.types import RuntimeTaskInstanceProtocol

hazard = Group("What Airflow offers to every task")
error = Group("Errors of the task's own", state="failed", marks=("failure_callback", "failure_callback_read"))

GREETING = "hello"
"""The DAG's param of this name."""


@hazard()
async def context_by_name(
    ti: RuntimeTaskInstanceProtocol, run_id: str, params: Mapping[str, object], **context: object
) -> None:
    """The context as arguments, by name and by ``**context``; params"""
    check(ti.task_id, "context_by_name")
    check(ti.run_id, run_id)
    check(params["greeting"], GREETING)
    check(context["dag_run"].run_id, run_id)  # type: ignore[attr-defined]


@hazard()
async def context_by_function() -> None:
    """``get_current_context()`` in the coroutine, in its children and in threads"""
    from airflow.sdk import get_current_context

    async def look() -> None:
        await asyncio.sleep(SHORT_SECONDS)
        check(get_current_context()["ti"].task_id, "context_by_function")

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(look())
        await look()
    check(await asyncio.to_thread(lambda: get_current_context()["ti"].task_id), "context_by_function")


@hazard(call={"run": "{{ run_id }}", "number": 7})
async def arguments(run: str, ti: RuntimeTaskInstanceProtocol, number: int = 0) -> None:
    """Arguments, templates among them"""
    check(run, ti.run_id)
    check(number, 7)


@hazard(call={"factor": 10}, expand={"number": [1, 2, 3]}, marks=("mapped_1", "mapped_2", "mapped_3"))
async def mapped(number: int, factor: int) -> int:
    """Mapped over three values"""
    await asyncio.sleep(SHORT_SECONDS)
    mark(f"mapped_{number}")
    return number * factor


@hazard(after=("mapped",))
async def after_mapped(ti: RuntimeTaskInstanceProtocol) -> None:
    """The results of a mapped task arrive"""
    check(list(await asyncio.to_thread(ti.xcom_pull, task_ids="mapped")), [10, 20, 30])


@hazard(arguments={"multiple_outputs": True})
async def multiple_outputs() -> dict[str, int]:
    """``multiple_outputs``"""
    return {"one": 1, "two": 2}


@hazard(after=("multiple_outputs",))
async def after_multiple_outputs(ti: RuntimeTaskInstanceProtocol) -> None:
    """Each of multiple outputs arrives"""
    check(ti.xcom_pull(task_ids="multiple_outputs", key="one"), 1)
    check(ti.xcom_pull(task_ids="multiple_outputs", key="two"), 2)


@hazard()
async def generated() -> AsyncIterator[int]:
    """An async generator function as a task"""
    for number in range(3):
        await asyncio.sleep(0)
        yield number


@hazard(core=False, after=("generated",))
async def after_generated(ti: RuntimeTaskInstanceProtocol) -> None:
    """What an async generator yields arrives as a list"""
    check(ti.xcom_pull(task_ids="generated"), [0, 1, 2])


@hazard(arguments={"show_return_value_in_logs": False}, log_lacks=(r"not for the log",))
async def hidden_result() -> str:
    """``show_return_value_in_logs=False``"""
    return "not " + "for the log"


@hazard(outlets=("hazards-produced",))
async def asset_outlet(outlet_events: Any) -> None:  # noqa: ANN401 - core's accessor
    """An asset's outlet, with an event's extra"""
    from airflow.sdk import Asset

    outlet_events[Asset("hazards-produced")].extra = {"rows": 3}


@hazard(after=("asset_outlet",), inlets=("hazards-produced",))
async def asset_inlet(inlet_events: Any) -> None:  # noqa: ANN401 - core's accessor
    """An asset's inlet sees the event"""
    from airflow.sdk import Asset

    events = await asyncio.to_thread(lambda: list(inlet_events[Asset("hazards-produced")]))
    check(events[-1].extra, {"rows": 3})


@hazard(role="setup", marks=("set_up",))
async def set_up() -> None:
    """A setup task"""
    mark("set_up")


@hazard(after=("set_up",), state="failed", marks=("failure_callback_read",))
async def between_setup_and_teardown() -> None:
    """A task that fails between setup and teardown"""
    raise ValueError("between setup and teardown")


@hazard(role="teardown", after=("between_setup_and_teardown",), marks=("torn_down",))
async def tear_down() -> None:
    """A teardown task runs although the task before it failed"""
    mark("torn_down")


@hazard(state="skipped")
async def skipped() -> None:
    """``AirflowSkipException``"""
    from airflow.exceptions import AirflowSkipException

    await asyncio.sleep(0)
    raise AirflowSkipException("nothing to do")


@hazard(tries=2, within_seconds=20, arguments={"retries": 1, "retry_delay": timedelta(seconds=1)})
async def retried() -> None:
    """Fails in the first try; the second succeeds"""
    await asyncio.sleep(0)
    if try_number() == 1:
        raise ValueError("the first try fails")


@error(arguments={"retries": 3})
async def failed_for_good() -> None:
    """``AirflowFailException``: no retries"""
    from airflow.exceptions import AirflowFailException

    await asyncio.sleep(0)
    raise AirflowFailException("for good")


@error()
async def system_exit() -> None:
    """``sys.exit()``"""
    await asyncio.sleep(0)
    sys.exit(3)


@error(marks=("cleaned_up", "failure_callback_read"))
async def system_exit_in_a_child() -> None:
    """``sys.exit()`` in a child task, beside one that cleans up"""

    async def leave() -> None:
        await asyncio.sleep(SHORT_SECONDS)
        sys.exit(3)

    await asyncio.gather(sleep_and_clean_up("cleaned_up"), leave())


@error(log=(r"CancelledError",))
async def cancelled_by_itself() -> None:
    """The coroutine cancels itself"""
    task = asyncio.current_task()
    if task is not None:
        task.cancel()
    await asyncio.sleep(SHORT_SECONDS)


@error(log=(r"ValueError: part one", r"KeyError: 'part two'", r"OSError: part three"))
async def exception_group() -> None:
    """An ``ExceptionGroup`` is shown with all its parts"""

    async def fail(with_error: Exception) -> None:
        await asyncio.sleep(0)
        raise with_error

    async with asyncio.TaskGroup() as group:
        group.create_task(fail(ValueError("part one")))
        group.create_task(fail(KeyError("part two")))
        group.create_task(fail(OSError("part three")))


@error(log=(r"the item was /out/7\.xml",))
async def exception_note() -> None:
    """An error's note is shown"""
    problem = ValueError("cannot be read")
    problem.add_note("the item was /out/7.xml")
    await asyncio.sleep(0)
    raise problem


@error(log=(r"ValueError: deep down",), frames_at_most=14)
async def short_traceback() -> None:
    """A traceback shows no frames of asyncio's"""

    async def deep_down() -> None:
        await asyncio.sleep(0)
        raise ValueError("deep down")

    async def in_between() -> None:
        async with asyncio.timeout(10):
            await asyncio.gather(deep_down())

    await asyncio.wait_for(asyncio.shield(in_between()), 10)
