# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of tasks, in each of the places where they are kept."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import DeleteVariable, ErrorResponse, GetVariable, PutVariable, VariableResult

from airflow_provider_async import amap
from airflow_provider_async.runtime import compat, stores
from airflow_provider_async.runtime.state import resuming
from airflow_provider_async.runtime.stores import (
    KEY_PREFIX,
    PathStore,
    StateStore,
    TaskInstanceName,
    VariableStore,
    find_store,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Airflow 3.0's ObjectStoragePath
pytestmark = pytest.mark.filterwarnings("ignore:in a future version of UPath:PendingDeprecationWarning")


class Comms:
    """A supervisor in this process that keeps Variables."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.descriptions: dict[str, str] = {}
        self.error: ErrorType | None = None
        self.asked = 0
        self.has_written = threading.Event()

    def send(self, msg: object) -> object:
        self.asked += 1
        if self.error is not None:
            return ErrorResponse(error=self.error)
        match msg:
            case GetVariable() if msg.key in self.values:
                return VariableResult(key=msg.key, value=self.values[msg.key])
            case GetVariable():
                return ErrorResponse(error=ErrorType.VARIABLE_NOT_FOUND, detail={"key": msg.key})
            case PutVariable():
                assert msg.value is not None
                assert msg.description is not None
                self.values[msg.key], self.descriptions[msg.key] = msg.value, msg.description
                self.has_written.set()
            case DeleteVariable():
                self.values.pop(msg.key, None)
            case _:
                raise TypeError(msg)
        return None


class TaskState:
    """A task's state store."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}

    def get(self, key: str, default: object = None) -> object:
        return self.values.get(key, default)

    def set(self, key: str, value: object) -> None:
        self.values[key] = value

    def delete(self, key: str) -> None:
        self.values.pop(key, None)


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> Comms:
    comms = Comms()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    return comms


Kept: TypeAlias = "tuple[dict[str, Any], Callable[[], int]]"


@pytest.fixture(params=["variables", "state store", "folder", "object storage"])
def kept(request: pytest.FixtureRequest, comms: Comms, tmp_path: Path) -> Iterator[Kept]:
    """Give what a context has, and what counts the values that are kept."""
    with pytest.MonkeyPatch.context() as patch:
        match request.param:
            case "variables":
                yield {}, lambda: len(comms.values)
            case "state store":
                store = TaskState()
                yield {"task_state_store": store}, lambda: len(store.values)
            case "folder":
                patch.setenv("AIRFLOW__ASYNC__CHECKPOINT_PATH", f"file://{tmp_path}/kept")
                yield {}, lambda: len([path for path in tmp_path.rglob("*") if path.is_file()])
            case "object storage":
                # 3.0 has no file system in memory, so that this is one which is not taken for a plain folder.
                patch.setattr(stores, "_store_below", PathStore)
                patch.setenv("AIRFLOW__ASYNC__CHECKPOINT_PATH", f"file://{tmp_path}/kept")
                yield {}, lambda: len([path for path in tmp_path.rglob("*") if path.is_file()])


class Try:
    """A try of a task instance, with what its context has."""

    def __init__(self, number: int = 1, *, map_index: int = -1, conf: object = None, **context: object) -> None:
        self.task = SimpleNamespace(on_success_callback=[])
        self.state = "success"
        ti = SimpleNamespace(
            dag_id="dag",
            run_id="a run/1",
            task_id="token",
            map_index=map_index,
            try_number=number,
            task=self.task,
            get_task_states=self.get_task_states,
        )
        self.context: dict[str, Any] = {"ti": ti, "dag_run": SimpleNamespace(conf=conf), **context}

    def get_task_states(self, **_: object) -> dict[str, dict[str, str]]:
        assert self.state != "no answer", self.state
        return {"a run/1": {"token": self.state}} if self.state else {}

    def run(self, count: int = 5, *, fail_at: int | None = None, name: str = "load") -> list[int]:
        """Return the items that are done."""
        did: list[int] = []

        async def work(item: int) -> int:
            did.append(item)
            return item

        async def main() -> None:
            async with resuming(self.context):
                async for item in amap(work, range(count), limit=1, resume=name):
                    if item == fail_at:
                        raise ZeroDivisionError

        try:
            asyncio.run(main())
        except ZeroDivisionError:
            return did[: did.index(fail_at or 0)]
        return did

    def succeed(self) -> None:
        for callback in self.task.on_success_callback:
            callback(self.context)


def test_a_try_goes_on_until_one_succeeds(kept: Kept) -> None:
    context, count = kept
    assert Try(1, **context).run(fail_at=3) == [0, 1, 2]
    assert count() == 2
    second = Try(2, **context)
    assert second.run() == [3, 4]
    assert count() == 3

    # As long as it is not sure: its result may not be pushed.
    third = Try(3, **context)
    assert third.run() == []
    third.succeed()
    assert count() == 0
    assert Try(4, **context).run() == [0, 1, 2, 3, 4]


def test_each_index_of_a_mapped_task_goes_on_by_itself(kept: Kept) -> None:
    context, count = kept
    for map_index in (0, 1):
        assert Try(1, map_index=map_index, **context).run(fail_at=map_index + 1) == list(range(map_index + 1))
    if "task_state_store" in context:
        return  # which is each index's own
    first, second = Try(2, map_index=0, **context), Try(2, map_index=1, **context)
    assert first.run() == [1, 2, 3, 4]
    assert second.run() == [2, 3, 4]
    first.succeed()
    assert count() > 0
    second.succeed()
    assert count() == 0


def test_two_pieces_of_work_of_a_task_have_checkpoints_of_their_own(comms: Comms) -> None:
    async def work(item: int) -> int:
        return item

    async def main(count: int) -> list[list[int]]:
        async with resuming(task.context):
            return [
                [item async for item in amap(work, range(count), limit=1, resume=name)]
                for name in ("one", "two", "one")
            ]

    task = Try(1)
    assert asyncio.run(main(2)) == [[0, 1], [0, 1], [0, 1]]
    task = Try(2)
    assert asyncio.run(main(3)) == [[2], [2], [2]]
    task.succeed()
    assert comms.values == {}


def test_the_first_try_reads_nothing(comms: Comms) -> None:
    Try(1).run(fail_at=3)
    comms.asked = 0
    # Of another task that had its name, such as one of a run that was deleted.
    assert Try(1).run() == [0, 1, 2, 3, 4]
    assert comms.asked == 2


@pytest.mark.parametrize("server", [{"next_method": "go_on"}, {"task_reschedule_count": 1}])
def test_a_first_try_that_goes_on_after_it_was_deferred_or_rescheduled_reads(
    comms: Comms, server: dict[str, object]
) -> None:
    Try(1).run(fail_at=3)
    again = Try(1)
    again.context["ti"]._ti_context_from_server = SimpleNamespace(**server)
    assert again.run() == [3, 4]


def test_a_task_that_resumes_nothing_asks_for_nothing() -> None:
    async def main() -> None:
        async with resuming({}):
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        (None, [3, 4]),
        ({}, [3, 4]),
        ({"async_fresh_start": False}, [3, 4]),
        ({"async_fresh_start": True}, [0, 1, 2, 3, 4]),
        ({"async_fresh_start": ["load"]}, [0, 1, 2, 3, 4]),
        ({"async_fresh_start": ["other"]}, [3, 4]),
    ],
)
def test_a_run_may_ask_for_a_fresh_start(comms: Comms, conf: object, expected: list[int]) -> None:
    Try(1).run(fail_at=3)
    second = Try(2, conf=conf)
    assert second.run() == expected
    second.succeed()
    assert comms.values == {}


@pytest.mark.parametrize("wish", ["load", 1, [1]])
def test_a_wish_that_means_nothing_is_an_error(comms: Comms, wish: object) -> None:
    with pytest.raises(ValueError, match="async_fresh_start in the DAG run's conf must be true or a list of names"):
        Try(2, conf={"async_fresh_start": wish}).run()


def test_a_users_callbacks_stay_and_a_task_that_runs_again_has_one_of_ours(comms: Comms) -> None:
    called: list[object] = []
    theirs = [called.append]
    one = Try(1)
    one.task.on_success_callback = theirs
    one.run()
    one.context["ti"].try_number = 2
    one.run()
    assert theirs == [called.append]
    assert len(one.task.on_success_callback) == 2
    one.succeed()
    assert called == [one.context]
    assert comms.values == {}


def test_a_removal_that_fails_is_told_and_fails_nothing(
    comms: Comms, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Try(1)
    one.run()
    comms.error = ErrorType.API_SERVER_ERROR
    one.succeed()
    assert "checkpoint 'load' could not be removed: API_SERVER_ERROR" in caplog.text

    monkeypatch.delattr(Comms, "send")
    one.succeed()
    assert "checkpoints could not be removed" in caplog.text


@pytest.mark.parametrize("state", ["running", "up_for_retry", "", "no answer", "success"])
def test_what_is_kept_stays_until_airflow_knows_of_the_success(
    comms: Comms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, state: str
) -> None:
    monkeypatch.setenv("AIRFLOW__ASYNC__CHECKPOINT_PATH", str(tmp_path / "kept"))
    one = Try(1)
    one.run()
    # From 3.2 on, callbacks run although the success could not be reported.
    with closing(socket.socket()) as of_supervisor:
        monkeypatch.setattr(comms, "socket", of_supervisor, raising=False)
        one.state = state
        one.succeed()

    told = "what was done is kept: Airflow does not know that this try has succeeded" in caplog.text
    assert told == (state != "success")
    assert (Try(2).run() == []) == told


def test_a_save_that_fails_is_told_and_fails_nothing(
    comms: Comms, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__ASYNC__CHECKPOINT_SECONDS", "0.01")
    monkeypatch.setenv("AIRFLOW__ASYNC__CHECKPOINT_PATIENCE_SECONDS", "0.01")
    comms.error = ErrorType.API_SERVER_ERROR
    Try(1).run()
    assert "checkpoint 'load' could not be saved, which is tried again: API_SERVER_ERROR" in caplog.text
    assert "the work waits until checkpoints can be saved again, 0.01 s at most" in caplog.text


def test_a_server_that_does_not_say_what_was_done_is_an_error_and_no_fresh_start(comms: Comms) -> None:
    Try(1).run(fail_at=3)
    comms.error = ErrorType.API_SERVER_ERROR
    with pytest.raises(AirflowRuntimeError, match="API_SERVER_ERROR"):
        Try(2).run()


def test_how_often_is_saved_is_said_by_the_configuration(comms: Comms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ASYNC__CHECKPOINT_SECONDS", "0.01")

    async def work(item: int) -> int:
        return item

    async def main() -> None:
        async with resuming(Try(1).context):
            [item async for item in amap(work, range(3), limit=1, resume="load")]
            await asyncio.to_thread(comms.has_written.wait)

    asyncio.run(asyncio.wait_for(main(), 30))


# --- the stores ---------------------------------------------------------------------------------------------------


NAME = TaskInstanceName("dag", "manual__2026-01-01T00:00:00+00:00", "my_token", 3)


def test_a_variable_says_whose_it_is_in_its_description_and_nothing_in_its_key(comms: Comms) -> None:
    store = VariableStore(NAME)
    store.write("password.head", "value")
    ((key, description),) = comms.descriptions.items()
    assert key.startswith(KEY_PREFIX)
    assert set(key.removeprefix(KEY_PREFIX)) <= set("0123456789abcdef.")
    assert len(key) < 250
    assert description.startswith(
        "password.head of task my_token in run manual__2026-01-01T00:00:00+00:00 of DAG dag, map index 3. Written on 20"
    )
    assert store.read("password.head") == "value"
    assert VariableStore(NAME._replace(map_index=4)).read("password.head") is None


def test_a_value_of_somebody_else_in_the_state_store_is_no_checkpoint() -> None:
    state = TaskState()
    state.set(f"{KEY_PREFIX}load.head", {"a": 1})
    assert StateStore(state).read("load.head") == "{'a': 1}"


@pytest.mark.parametrize(
    ("text", "segment"),
    [
        ("a-b_c", "a-b_c"),
        ("..", "%2E%2E"),
        ("a/b.c", "a%2Fb%2Ec"),
        ("manual__2026-01-01T00:00:00+00:00", "manual__2026-01-01T00%3A00%3A00%2B00%3A00"),
    ],
)
def test_a_name_is_one_segment_of_a_path(text: str, segment: str) -> None:
    assert TaskInstanceName(text, "r", "t", -1).segments() == [segment, "r", "t", "-1"]


def test_long_names_stay_apart_and_short_enough() -> None:
    segments = {TaskInstanceName("é" * 240 + end, "r", "t", -1).segments()[0] for end in "ab"}
    assert len(segments) == 2
    assert all(len(segment) == 200 for segment in segments)


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_path_without_a_protocol_is_a_folder(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ASYNC__CHECKPOINT_PATH", f"{prefix}{tmp_path}/kept")
    store = find_store(NAME, {})
    store.write("load.head", "value")
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.relative_to(tmp_path).parts == ("kept", *NAME.segments(), "load.head")
    store.remove("load.head")
    assert [*(tmp_path / "kept").iterdir()] == []


def test_whether_there_is_a_state_store_is_told_by_the_context() -> None:
    assert compat.has_state_store({"task_state_store": TaskState()})
    assert not compat.has_state_store({})
