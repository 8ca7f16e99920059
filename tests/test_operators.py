# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import sys
import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Asset, BaseOperator
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_async import amap, operators
from airflow_provider_async.errors import AsyncProviderError
from airflow_provider_async.operators import AsyncPythonOperator, check_is_async, loop_factory
from airflow_provider_async.runtime import compat
from airflow_provider_async.runtime.comms import SupervisorProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


async def coroutine_function(a: int = 1, *, b: int = 2) -> int:
    return a + b


async def generator_function(count: int = 3) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def sync_function() -> None: ...


class TaskInstance:
    """What of a running task the operator asks: where the server has it."""

    dag_id, task_id, run_id, map_index = "dag", "task", "run", -1

    def __init__(self, state: str | None = "running") -> None:
        self.state = state

    def get_task_states(self, **asked: object) -> dict[str, dict[str, str]]:
        assert asked == {"dag_id": "dag", "task_ids": ["task"], "run_ids": ["run"], "map_index": -1}
        if self.state is None:
            raise ConnectionError("the server cannot be reached")
        return {"run": {"task": self.state}}


@pytest.fixture(autouse=True)
def as_in_a_task() -> Iterator[None]:
    """Core's guard against calling an operator's ``execute`` oneself."""
    from airflow.sdk.bases.operator import ExecutorSafeguard

    ExecutorSafeguard.test_mode, before = True, ExecutorSafeguard.test_mode
    yield
    ExecutorSafeguard.test_mode = before


@pytest.fixture
def task_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The task's log, whose kind depends on the version of Airflow."""
    monkeypatch.setattr(AsyncPythonOperator, "log", logging.getLogger("task"))
    caplog.set_level(logging.INFO, "task")
    return caplog


def execute(
    function: Callable[..., Any],
    context: dict[str, Any] | None = None,
    **arguments: Any,  # noqa: ANN401 - the operator's
) -> Any:  # noqa: ANN401 - whatever the function returns
    operator = AsyncPythonOperator(task_id="task", python_callable=function, **arguments)
    in_task: Any = {"ti": TaskInstance()} | (context or {})
    return operator.execute(in_task)


# --- what is accepted ---------------------------------------------------------------------------------------------


class Callee:
    async def __call__(self) -> int:
        return 17


@functools.wraps(coroutine_function)
def wrapped(*args: int, **kwargs: int) -> object:
    return coroutine_function(*args, **kwargs)


@pytest.mark.parametrize(
    "function",
    [
        coroutine_function,
        generator_function,
        wrapped,
        Callee(),
        functools.partial(coroutine_function, 1),
        functools.partial(functools.partial(wrapped, 1), b=2),
        functools.update_wrapper(functools.partial(wrapped, 1), wrapped),
    ],
)
def test_whatever_is_truly_async_is_accepted(function: Callable[..., Any]) -> None:
    check_is_async(function)
    AsyncPythonOperator(task_id="task", python_callable=function)


@pytest.mark.parametrize("function", [sync_function, functools.partial(sync_function), print, lambda: None, 17])
def test_anything_else_is_refused_with_a_word_on_what_to_use(function: Any) -> None:  # noqa: ANN401 - of a wrong type
    with pytest.raises(TypeError, match=r"neither an `async def` nor an async generator function.* use @task for it"):
        AsyncPythonOperator(task_id="task", python_callable=function)


def test_the_refused_function_is_named() -> None:
    for function in (sync_function, functools.partial(sync_function)):
        with pytest.raises(TypeError, match=r"^sync_function is neither"):
            check_is_async(function)


def test_core_is_not_invited_to_run_it_in_its_own_way() -> None:
    operator = AsyncPythonOperator(task_id="task", python_callable=coroutine_function)
    assert operator.is_async is False
    assert isinstance(operator, BaseOperator)


def test_files_are_templates_where_it_is_said() -> None:
    operator = AsyncPythonOperator(task_id="task", python_callable=coroutine_function, templates_exts=[".sql"])
    assert operator.template_ext == [".sql"]
    assert operator.template_fields == ("templates_dict", "op_args", "op_kwargs")


# --- the call -----------------------------------------------------------------------------------------------------


def test_arguments_are_passed_and_the_result_returned() -> None:
    assert execute(coroutine_function, op_args=[10], op_kwargs={"b": 5}) == 15
    assert execute(functools.partial(coroutine_function, 10), op_kwargs={"b": 5}) == 15
    assert execute(Callee()) == 17


def test_the_context_is_passed_by_name() -> None:
    async def function(ti: TaskInstance, run_id: str, other: str = "default") -> tuple[str, str, str]:
        return ti.task_id, run_id, other

    assert execute(function, {"run_id": "run"}) == ("task", "run", "default")


def test_the_context_is_passed_as_a_whole() -> None:
    async def function(a: int, **context: object) -> tuple[int, object, object]:
        return a, context["run_id"], context["templates_dict"]

    assert execute(function, {"run_id": "run"}, op_args=[1], templates_dict={"k": "v"}) == (1, "run", {"k": "v"})


def test_the_values_of_a_generator_become_a_list() -> None:
    assert execute(generator_function, op_args=[4]) == [0, 1, 2, 3]


def test_the_metadata_that_a_generator_yields_goes_to_the_assets_event() -> None:
    from airflow.sdk import AssetAlias, Metadata

    asset, alias = Asset("rows", uri="file:///rows"), AssetAlias("any")
    events = OutletEventAccessors()

    async def function() -> AsyncIterator[Any]:
        yield 1
        yield Metadata(asset, {"rows": 3})
        yield Metadata(asset, {"more": True}, alias=alias)
        yield 2

    assert execute(function, {"outlet_events": events}) == [1, 2]
    assert events[asset].extra == {"rows": 3, "more": True}
    assert len(events[alias].asset_alias_events) == 1


@pytest.mark.parametrize(("show", "line"), [(True, "Returned value was: 3"), (False, "Returned value not shown")])
def test_the_log_shows_the_result_unless_told_otherwise(
    show: bool, line: str, task_log: pytest.LogCaptureFixture
) -> None:
    assert execute(coroutine_function, show_return_value_in_logs=show) == 3
    assert line in task_log.text


# --- the end ------------------------------------------------------------------------------------------------------


def test_an_error_keeps_its_traceback_to_the_users_frames() -> None:
    async def function() -> None:
        await asyncio.gather(fails())

    async def fails() -> None:
        raise ValueError("ordinary")

    with pytest.raises(ValueError, match="ordinary") as caught:
        execute(function)
    names = [entry.name for entry in caught.traceback]
    assert names[-2:] == ["function", "fails"]
    assert not [entry for entry in caught.traceback if "asyncio" in str(entry.path)]


def test_the_parts_of_a_group_are_written_to_the_log(task_log: pytest.LogCaptureFixture) -> None:
    async def function() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(fails(number))

    async def fails(number: int) -> None:
        raise ValueError(f"part {number}")

    with pytest.raises(ExceptionGroup):
        execute(function)
    assert all(f"ValueError: part {number}" in task_log.text for number in range(3))


def test_the_time_out_is_the_one_that_core_knows() -> None:
    async def function() -> None:
        await asyncio.sleep(3600)

    with pytest.raises(compat.task_timeout_error(), match=r"execution_timeout of 0\.05 s"):
        execute(function, execution_timeout=timedelta(seconds=0.05))


@pytest.mark.parametrize(
    ("state", "find_error"),
    [
        ("failed", compat.task_terminated_error),
        ("restarting", compat.task_terminated_error),
        ("running", compat.task_failed_error),
        (None, compat.task_failed_error),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the server is out of reach
def test_a_task_that_the_server_ended_fails_for_good_and_one_that_was_shut_down_may_be_retried(
    state: str | None, find_error: Callable[[], type[BaseException]]
) -> None:
    async def function() -> None:
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(3600)

    operator = AsyncPythonOperator(task_id="task", python_callable=function)
    previous = signal.signal(signal.SIGTERM, lambda *_: operator.on_kill())  # as core's handler does
    try:
        with pytest.raises(find_error(), match="told to stop from outside"):
            operator.execute({"ti": TaskInstance(state)})  # type: ignore[typeddict-item]
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_a_server_that_does_not_say_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(operators, "_STATE_SECONDS", 0.05)
    ti = SimpleNamespace(
        dag_id="dag", task_id="task", run_id="run", map_index=-1, get_task_states=lambda **_: release.wait() and {}
    )
    try:
        error = operators._kill_error({"ti": ti}, "told")  # type: ignore[typeddict-item]
    finally:
        release.set()
    assert type(error) is compat.task_failed_error()


def test_a_kill_before_or_after_the_run_does_no_harm() -> None:
    operator = AsyncPythonOperator(task_id="task", python_callable=coroutine_function)
    operator.on_kill()
    assert operator.execute({}) == 3
    operator.on_kill()


def test_while_it_runs_the_supervisor_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    class Comms:
        def send(self, msg: object) -> object:
            return msg

    comms = Comms()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)

    async def function() -> object:
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        assert isinstance(SUPERVISOR_COMMS, SupervisorProxy)
        return await SUPERVISOR_COMMS.asend(17)

    assert execute(function) == 17
    assert vars(task_runner)["SUPERVISOR_COMMS"] is comms


# --- going on after a failure ----------------------------------------------------------------------------------------


class TaskState:
    """What of a task's state store is asked."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}

    def get(self, key: str, default: object = None) -> object:
        return self.values.get(key, default)

    def set(self, key: str, value: object) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        del self.values[key]


@pytest.mark.parametrize("ending", ["error", "time-out", "kill"])
def test_however_a_try_ends_the_next_one_goes_on(ending: str) -> None:
    did: list[int] = []
    operator: AsyncPythonOperator

    async def work(item: int) -> int:
        did.append(item)
        return item

    async def function(ti: TaskInstance) -> None:
        async for item in amap(work, range(5), limit=1, resume="load"):
            if item == 3 and ti.try_number == 1:  # type: ignore[attr-defined]
                if ending == "error":
                    raise ZeroDivisionError
                if ending == "kill":
                    operator.on_kill()
                await asyncio.sleep(3600)

    timeout = timedelta(seconds=1) if ending == "time-out" else None
    state = TaskState()

    def run(try_number: int) -> None:
        nonlocal operator
        operator = AsyncPythonOperator(task_id="task", python_callable=function, execution_timeout=timeout)
        ti = TaskInstance()
        ti.try_number = try_number  # type: ignore[attr-defined]
        ti.task = operator  # type: ignore[attr-defined]
        operator.execute({"ti": ti, "task_state_store": state})  # type: ignore[typeddict-item]

    with pytest.raises((ZeroDivisionError, compat.task_timeout_error(), compat.task_failed_error())):
        run(1)
    del did[did.index(3) :]
    run(2)
    assert did == [0, 1, 2, 3, 4]

    (callback,) = operator.on_success_callback
    callback({})
    assert [key for key in state.values if key.startswith("async_checkpoint.")] == []


# --- the event loop -----------------------------------------------------------------------------------------------


async def which_loop() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


def test_the_loop_is_asyncios_unless_told_otherwise() -> None:
    assert execute(which_loop) == "asyncio"
    assert execute(which_loop, loop="asyncio") == "asyncio"


def test_uvloop_is_used_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvloop")
    assert execute(which_loop, loop="uvloop") == "uvloop"
    monkeypatch.setitem(os.environ, "AIRFLOW__ASYNC__LOOP", "uvloop")
    assert execute(which_loop) == "uvloop"
    assert execute(which_loop, loop="asyncio") == "asyncio"


def test_without_uvloop_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(AsyncProviderError, match=r"pip install 'apache-airflow-providers-async\[uvloop\]'"):
        loop_factory("uvloop")


def test_there_is_no_third_loop() -> None:
    name: Any = "trio"
    with pytest.raises(ValueError, match="no event loop named 'trio'"):
        loop_factory(name)
