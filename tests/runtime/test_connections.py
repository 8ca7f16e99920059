# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Connection, Variable
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CommsDecoder, ErrorResponse
from airflow.sdk.execution_time.context import set_current_context

from airflow_provider_async.errors import SupervisorUnavailable, UnsupportedAirflow
from airflow_provider_async.runtime import compat
from airflow_provider_async.runtime.comms import one_request_at_a_time
from airflow_provider_async.runtime.connections import (
    get_connection,
    get_variable,
    set_variable,
    state_get,
    state_set,
    xcom_pull,
    xcom_push,
)
from tests.servers.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """The supervisor of a task that runs."""
    with Supervisor() as supervisor:
        decoder: Any = CommsDecoder(socket=supervisor.task_side)
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", decoder, raising=False)
        with one_request_at_a_time():
            yield supervisor
            for event in supervisor.held.values():
                event.set()
        assert supervisor.disorder == []


class TaskInstance:
    """What of a running task is called here."""

    def __init__(self) -> None:
        self.pushed: dict[str, Any] = {}
        self.pulled: dict[str, Any] = {}

    def xcom_push(self, key: str, value: object) -> None:
        self.pushed[key] = value

    def xcom_pull(self, **keywords: object) -> str:
        self.pulled = keywords
        return "pulled"


@pytest.fixture
def ti() -> Iterator[TaskInstance]:
    ti = TaskInstance()
    context: Any = {"ti": ti}
    with set_current_context(context):
        yield ti


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)


# --- in a task ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("supervisor")
async def test_fifty_at_a_time_each_get_their_own() -> None:
    connections = asyncio.gather(*(get_connection(f"c{number}") for number in range(50)))
    variables = asyncio.gather(*(get_variable(f"v{number}") for number in range(50)))
    in_threads = asyncio.gather(*(asyncio.to_thread(Variable.get, f"t{number}") for number in range(50)))
    assert Variable.get("in the loop") == "value of in the loop"
    assert [connection.host for connection in await connections] == [f"c{number}" for number in range(50)]
    assert await variables == [f"value of v{number}" for number in range(50)]
    assert await in_threads == [f"value of t{number}" for number in range(50)]


@pytest.mark.usefixtures("supervisor")
async def test_a_connection_that_is_missing_is_an_error() -> None:
    with pytest.raises(compat.not_found_error(), match="missing"):
        await get_connection("missing")


@pytest.mark.parametrize("kind", [ErrorType.CONNECTION_NOT_FOUND, ErrorType.GENERIC_ERROR])
def test_only_the_supervisors_word_that_there_is_none_means_that_there_is_none(
    monkeypatch: pytest.MonkeyPatch, kind: ErrorType
) -> None:
    said = AirflowRuntimeError(ErrorResponse(error=kind, detail={}))

    def get(_: str) -> Connection:
        raise said  # as core does on 3.0.3

    monkeypatch.setattr(Connection, "get", get)
    expected = compat.not_found_error() if kind == ErrorType.CONNECTION_NOT_FOUND else AirflowRuntimeError
    with pytest.raises(expected) as caught:
        compat.get_connection("missing")
    assert said in (caught.value, caught.value.__cause__)


@pytest.mark.usefixtures("supervisor")
async def test_a_variable_that_is_missing_is_an_error_or_the_default() -> None:
    with pytest.raises(AirflowRuntimeError):
        await get_variable("missing")
    assert await get_variable("missing", None) is None
    assert await get_variable("missing", default=17) == 17


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")  # core's own, in 3.0
@pytest.mark.usefixtures("supervisor")
async def test_a_variable_is_written_and_read() -> None:
    await set_variable("plain", "text", description="for a test")
    await set_variable("structured", {"a": [1, 2]}, serialize_json=True)
    assert await get_variable("plain") == "text"
    assert await get_variable("structured", deserialize_json=True) == {"a": [1, 2]}


async def test_a_full_default_executor_holds_up_nobody(supervisor: Supervisor) -> None:
    release = threading.Event()
    loop = asyncio.get_running_loop()
    waiting = [loop.run_in_executor(None, release.wait) for _ in range(64)]
    async with asyncio.timeout(10):
        assert await get_variable("v") == "value of v"
    release.set()
    await asyncio.gather(*waiting)


async def test_a_cancelled_request_gives_its_answer_to_nobody(supervisor: Supervisor) -> None:
    release = supervisor.hold("slow")
    slow = asyncio.create_task(get_variable("slow"))
    await asyncio.to_thread(supervisor.arrived["slow"].wait)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    following = [asyncio.create_task(get_variable(f"v{number}")) for number in range(20)]
    await asyncio.sleep(0)
    release.set()
    assert await asyncio.gather(*following) == [f"value of v{number}" for number in range(20)]


async def test_an_error_beside_requests_under_way_leaves_the_channel_free(supervisor: Supervisor) -> None:
    async def fails() -> None:
        await asyncio.to_thread(supervisor.arrived["slow"].wait)
        raise ValueError("ordinary")

    release = supervisor.hold("slow")
    threading.Timer(0.1, release.set).start()
    with pytest.raises(ValueError, match="ordinary"):
        await asyncio.gather(fails(), *(get_connection(name) for name in ("slow", "a", "b")))
    assert await get_variable("v") == "value of v"


async def test_a_supervisor_that_is_gone_is_neither_a_missing_connection_nor_a_default(
    supervisor: Supervisor,
) -> None:
    supervisor.go()
    with pytest.raises(SupervisorUnavailable, match="is gone"):
        await get_connection("c")
    with pytest.raises(SupervisorUnavailable, match="is gone"):
        await get_variable("v", default="default")


async def test_xcoms_are_pushed_and_pulled(ti: TaskInstance) -> None:
    await xcom_push("key", {"a": 1})
    assert ti.pushed == {"key": {"a": 1}}
    assert await xcom_pull("upstream", key="key", default=17) == "pulled"
    assert (ti.pulled["task_ids"], ti.pulled["key"], ti.pulled["default"]) == ("upstream", "key", 17)
    assert "map_indexes" not in ti.pulled
    await xcom_pull(["a", "b"], map_indexes=[1, 2], run_id="run", dag_id="dag", include_prior_dates=True)
    assert ti.pulled == {
        "task_ids": ["a", "b"],
        "key": "return_value",
        "map_indexes": [1, 2],
        "run_id": "run",
        "dag_id": "dag",
        "include_prior_dates": True,
        "default": None,
    }


async def test_state_is_kept_where_airflow_can_keep_it(supervisor: Supervisor) -> None:
    accessors = pytest.importorskip("airflow.sdk.execution_time.context")
    if not hasattr(accessors, "TaskStateStoreAccessor"):
        pytest.skip("Airflow has a state store from 3.3 on")
    scope = SimpleNamespace(dag_id="dag", run_id="run", task_id="task", map_index=-1)
    store = accessors.TaskStateStoreAccessor(ti_id="01234567-89ab-cdef-0123-456789abcdef", scope=scope)
    context: Any = {"task_state_store": store}
    with set_current_context(context):
        await state_set("page", [1, 2])
        assert await state_get("page") == [1, 2]
        assert await state_get("none", 17) == 17


async def test_without_a_state_store_the_error_names_both_versions(ti: TaskInstance) -> None:
    from airflow import __version__

    with pytest.raises(UnsupportedAirflow, match=rf"from Airflow 3\.3 on; this is {__version__}"):
        await state_get("page")
    with pytest.raises(UnsupportedAirflow, match=rf"from Airflow 3\.3 on; this is {__version__}"):
        await state_set("page", 1)


# --- outside a task -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("outside")
async def test_outside_a_task_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MY_SFTP", "sftp://user@files.example:2222")
    monkeypatch.setenv("AIRFLOW_VAR_FOLDER", "/out")
    connection = await get_connection("my_sftp")
    assert (connection.host, connection.port, connection.login) == ("files.example", 2222, "user")
    assert await get_variable("folder") == "/out"


@pytest.mark.usefixtures("outside")
async def test_outside_a_task_a_missing_connection_is_just_that() -> None:
    with pytest.raises(compat.not_found_error(), match="no_such") as raised:
        await get_connection("no_such")
    (note,) = raised.value.__notes__
    assert "Admin, Connections" in note
    assert "AIRFLOW_CONN_NO_SUCH" in note


@pytest.mark.usefixtures("outside")
async def test_outside_a_task_there_are_no_xcoms() -> None:
    with pytest.raises(RuntimeError, match="context"):
        await xcom_push("key", 1)
