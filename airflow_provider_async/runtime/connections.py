# SPDX-License-Identifier: Apache-2.0
"""
Connections, Variables, XComs and the state store from coroutines, on every version of Airflow.

Each of these is core's own synchronous call in a thread, so that secrets backends, masking and custom XCom
backends do what they do everywhere; the supervisor's channel is kept in order by :mod:`.comms`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import weakref
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_async.errors import InvalidConnection, SupervisorUnavailable
from airflow_provider_async.runtime import compat
from airflow_provider_async.runtime.comms import supervisor_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from airflow.sdk import Connection

__all__ = [
    "get_connection",
    "get_variable",
    "set_variable",
    "state_get",
    "state_set",
    "using_connections",
    "xcom_pull",
    "xcom_push",
]

T = TypeVar("T")

_UNSET: Any = object()

#: Connections that are taken instead of Airflow's: those that a test gives.
_given: contextvars.ContextVar[Mapping[str, Any] | None] = contextvars.ContextVar("given", default=None)

# A secrets backend may take its time, but a thread for each of ten thousand calls would be no help.
_THREADS = 16
_slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = weakref.WeakKeyDictionary()


async def get_connection(conn_id: str) -> Connection:
    """
    Read a Connection.

    :param conn_id: the Connection's id
    :raises AirflowNotFoundException: if there is none, with a note that says how to make one
    :return: the Connection
    """
    given = _given.get()
    if given is not None:
        if conn_id not in given:
            raise InvalidConnection(f"Connection {conn_id!r} is not among those that were given: {sorted(given)}")
        connection: Connection = given[conn_id]
        return connection
    if compat.is_triggerer():
        # Its channel belongs to the loop that runs the triggers.
        return await compat.get_connection_in_triggerer(conn_id)
    try:
        return await in_thread(lambda: compat.get_connection(conn_id))
    except compat.not_found_error() as error:
        error.add_note(
            f"Connection {conn_id!r} is missing: add it in Airflow's UI under Admin, Connections; with `airflow "
            f"connections add`; or in the worker's environment as AIRFLOW_CONN_{conn_id.upper()}"
        )
        raise


@contextmanager
def using_connections(connections: Mapping[str, object]) -> Iterator[None]:
    """
    Find these Connections in this block, and no others.

    :param connections: by their ids; whatever has the fields of one
    """
    token = _given.set(connections)
    try:
        yield
    finally:
        _given.reset(token)


async def get_variable(key: str, default: T = _UNSET, *, deserialize_json: bool = False) -> Any | T:  # noqa: ANN401
    """
    Read a Variable.

    :param key: the Variable's key
    :param default: what to return if there is none; by default that is an error
    :param deserialize_json: whether the value is JSON, to be read as such
    :raises AirflowRuntimeError: if there is none and no default
    :return: its value
    """
    from airflow.sdk import Variable

    keywords = {} if default is _UNSET else {"default": default}
    return await in_thread(lambda: Variable.get(key, deserialize_json=deserialize_json, **keywords))


async def set_variable(
    key: str, value: object, *, description: str | None = None, serialize_json: bool = False
) -> None:
    """
    Write a Variable.

    :param key: the Variable's key
    :param value: its value
    :param description: what it is for
    :param serialize_json: whether to write the value as JSON
    """
    from airflow.sdk import Variable

    await in_thread(lambda: Variable.set(key, value, description=description, serialize_json=serialize_json))


async def xcom_push(key: str, value: object) -> None:
    """
    Push an XCom of the running task.

    :param key: the XCom's key
    :param value: its value
    :raises RuntimeError: outside a task
    """
    ti = _context()["ti"]
    await in_thread(lambda: ti.xcom_push(key=key, value=value))


async def xcom_pull(
    task_ids: str | Iterable[str] | None = None,
    *,
    key: str = "return_value",
    dag_id: str | None = None,
    run_id: str | None = None,
    map_indexes: int | Iterable[int] | None = _UNSET,
    include_prior_dates: bool = False,
    default: object = None,
) -> Any:  # noqa: ANN401
    """
    Pull XComs, with the meaning that ``ti.xcom_pull`` has.

    :param task_ids: whose XComs; by default the running task's
    :param key: the XCom's key
    :param dag_id: of which DAG; by default the running one
    :param run_id: of which run; by default the running one
    :param map_indexes: of which mapped task instances; by default all
    :param include_prior_dates: whether earlier runs count too
    :param default: what stands for a missing XCom
    :raises RuntimeError: outside a task
    :return: a value, or a list of values where several were asked for
    """
    ti = _context()["ti"]
    indexes = {} if map_indexes is _UNSET else {"map_indexes": map_indexes}
    return await in_thread(
        lambda: ti.xcom_pull(
            task_ids=task_ids,
            key=key,
            dag_id=dag_id,
            run_id=run_id,
            include_prior_dates=include_prior_dates,
            default=default,
            **indexes,
        )
    )


async def state_get(key: str, default: object = None) -> Any:  # noqa: ANN401
    """
    Read from the running task's state store, which outlives its tries.

    :param key: the key
    :param default: what to return if there is nothing under it
    :raises UnsupportedAirflow: before Airflow 3.3
    :raises RuntimeError: outside a task
    :return: the value
    """
    store = compat.state_store(_context())
    return await in_thread(lambda: store.get(key, default))


async def state_set(key: str, value: object) -> None:
    """
    Write to the running task's state store.

    :param key: the key
    :param value: a JSON value, but not None
    :raises UnsupportedAirflow: before Airflow 3.3
    :raises RuntimeError: outside a task
    """
    store = compat.state_store(_context())
    await in_thread(lambda: store.set(key, value))


def _context() -> Any:  # noqa: ANN401
    from airflow.sdk import get_current_context

    return get_current_context()


async def in_thread(call: Callable[[], T]) -> T:
    """
    Make one of core's synchronous calls without blocking the event loop, several at a time at most.

    :param call: what is called, in a thread that ends with the process
    :raises SupervisorUnavailable: if Airflow's supervisor can be asked nothing more
    :return: what it returns
    """
    # Not in the loop's default executor, which users may have filled with calls that wait for this one.
    slots = _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_THREADS))
    async with slots:
        result: Future[T] = Future()
        context = contextvars.copy_context()

        def work() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                result.set_result(context.run(call))
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller
                result.set_exception(error)

        threading.Thread(target=work, name="airflow-call", daemon=True).start()
        try:
            value = await asyncio.wrap_future(result)
        except Exception as error:
            _check_supervisor(error)
            raise
        _check_supervisor()
        return value


def _check_supervisor(cause: Exception | None = None) -> None:
    """Say so when nothing can be asked: from 3.1 on, core then says that there is nothing under the name."""
    if (failure := supervisor_failure()) is not None:
        raise SupervisorUnavailable(failure) from cause
