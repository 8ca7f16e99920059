# SPDX-License-Identifier: Apache-2.0
"""
Every difference between the Airflow versions 3.0 to 3.3, and nothing else.

Airflow is imported inside the functions: which of its modules exist depends on its version.
"""

from __future__ import annotations

import importlib
import sys
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow_provider_async.errors import UnsupportedAirflow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import ModuleType
    from typing import Protocol

    import jinja2
    from airflow.sdk import Connection

    from airflow_provider_async.core.values import JSON

    class StateStore(Protocol):
        """What Airflow 3.3 puts into a task's context as ``task_state_store``."""

        def get(self, key: str, default: object = None) -> object:
            """Return the value under a key."""

        def set(self, key: str, value: object) -> None:
            """Keep a value under a key."""

        def delete(self, key: str) -> None:
            """Remove what is kept under a key, if there is anything."""

    class Metrics(Protocol):
        """What Airflow calls ``Stats``."""

        def incr(self, stat: str, count: int = 1, *, tags: Mapping[str, str] | None = None) -> None:
            """Count something."""

        def gauge(self, stat: str, value: float, *, tags: Mapping[str, str] | None = None) -> None:
            """Tell a number of this moment."""

        def timing(self, stat: str, dt: float, *, tags: Mapping[str, str] | None = None) -> None:
            """Tell how long something took, in milliseconds."""


T = TypeVar("T")


class DecoratedOperatorGap:
    """What 3.0's ``DecoratedOperator`` reads, to no effect, and 3.0's ``BaseOperator`` lacks."""

    xcom_push: ClassVar[None] = None


@cache
def _exceptions() -> ModuleType:
    """Find the module that defines the task's exceptions: moved by 3.2, whose old names warn."""
    try:
        module = importlib.import_module("airflow.sdk.exceptions")
    except ImportError:  # pragma: no cover - none of 3.0 to 3.3 lacks it
        module = None
    if module is not None and hasattr(module, "AirflowTaskTimeout"):
        return module
    return importlib.import_module("airflow.exceptions")


def task_timeout_error() -> type[BaseException]:
    """Find what Airflow's task runner takes for a time-out: no subclass of Exception."""
    error: type[BaseException] = _exceptions().AirflowTaskTimeout
    return error


def task_terminated_error() -> type[BaseException]:
    """Find what it takes for a task that failed for good because it was ended: no subclass of Exception."""
    error: type[BaseException] = _exceptions().AirflowTaskTerminated
    return error


def task_failed_error() -> type[Exception]:
    """Find what it takes for a failure that may be retried."""
    error: type[Exception] = _exceptions().AirflowException
    return error


def not_found_error() -> type[Exception]:
    """Find the error that says that there is no such Connection."""
    error: type[Exception] = _exceptions().AirflowNotFoundException
    return error


def keyword_arguments(
    function: Callable[..., object], args: Collection[object], context: Mapping[str, object]
) -> Mapping[str, object]:
    """
    Choose what of a task's context a function is called with, as core does for ``@task``.

    :param function: what is going to be called
    :param args: its positional arguments
    :param context: the task's context, with the function's own keyword arguments in it
    :raises ValueError: if a positional argument's name is one of the context's
    :return: the keyword arguments
    """
    try:
        from airflow.sdk.bases.decorator import determine_kwargs
    except ImportError:  # before 3.2
        from airflow.utils.operator_helpers import determine_kwargs  # type: ignore[attr-defined]
    chosen: Mapping[str, object] = determine_kwargs(function, args, context)
    return chosen


def get_connection(conn_id: str) -> Connection:
    """
    Read a Connection as core does: secrets backends first, then the API server through the supervisor.

    :param conn_id: the Connection's id
    :raises AirflowNotFoundException: if there is none
    :return: the Connection
    """
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

    try:
        connection: Connection = Connection.get(conn_id)
    except ImportError as error:  # 3.0 outside a task: no supervisor to ask
        raise not_found_error()(f"The conn_id `{conn_id}` isn't defined") from error
    except AirflowRuntimeError as error:
        if error.error.error != ErrorType.CONNECTION_NOT_FOUND:
            raise
        raise not_found_error()(f"The conn_id `{conn_id}` isn't defined") from error  # 3.0.3 leaves that to us
    return connection


def is_triggerer() -> bool:
    """Tell whether this process runs triggers, such as those of missed deadlines, by its channel to the supervisor."""
    runner = sys.modules.get("airflow.jobs.triggerer_job_runner")
    task_runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    if runner is None or task_runner is None:
        return False
    return isinstance(getattr(task_runner, "SUPERVISOR_COMMS", None), runner.TriggerCommsDecoder)


async def get_connection_in_triggerer(conn_id: str) -> Connection:
    """
    Read a Connection in the loop of the triggerer, from Airflow 3.1 on.

    :param conn_id: the Connection's id
    :raises AirflowNotFoundException: if there is none
    :return: the Connection
    """
    from airflow.sdk import Connection

    connection: Connection = await Connection.async_get(conn_id)
    return connection


def current_context() -> Mapping[str, Any] | None:
    """Find the running task's context; None outside of a task."""
    # Whoever has not imported Airflow runs no task, and needs not wait for it.
    if (sdk := sys.modules.get("airflow.sdk")) is None:
        return None
    try:
        context: Mapping[str, Any] = sdk.get_current_context()
    except RuntimeError:
        return None
    return context


def template_environment(context: Mapping[str, Any]) -> jinja2.Environment:
    """
    Make the Jinja environment that Airflow renders a DAG's templates with.

    :param context: of a task or a callback
    :return: it finds templates beside the DAG's file and in its ``template_searchpath``, and gives texts
    """
    # Not the one of native objects, if the DAG asks for that: what it makes of "1" is no text.
    environment: jinja2.Environment = context["dag"].get_template_env(force_sandboxed=True)
    return environment


def state_store(context: Mapping[str, object]) -> StateStore:
    """
    Find the running task's state store.

    :param context: the task's context
    :raises UnsupportedAirflow: before Airflow 3.3
    :return: the store
    """
    try:
        return context["task_state_store"]  # type: ignore[return-value]
    except KeyError:
        from airflow import __version__

        raise UnsupportedAirflow(f"A task has a state store from Airflow 3.3 on; this is {__version__}.") from None


def has_state_store(context: Mapping[str, object]) -> bool:
    """Tell by a task's context whether tasks have a state store: from Airflow 3.3 on."""
    return "task_state_store" in context


def is_first_start(context: Mapping[str, object]) -> bool:
    """
    Tell whether a task instance runs for the first time.

    :param context: the task's context
    :return: False in later tries, and when the first one goes on after it was deferred or rescheduled
    """
    ti: Any = context["ti"]
    server: Any = getattr(ti, "_ti_context_from_server", None)
    goes_on = getattr(server, "next_method", None) or getattr(server, "task_reschedule_count", 0)
    return ti.try_number <= 1 and not goes_on


def run_place(context: Mapping[str, Any]) -> tuple[str, str, str]:
    """
    Tell where a DAG run stands among those of its DAG: by what it is for, not by when it runs.

    That is the end of its data interval: a backfill is as old as what it fills in. A run without a logical date, which
    was triggered by hand or by an asset, stands where it was to begin.

    :param context: the task's context
    :return: texts that sort as the runs do
    """
    run: Any = context["dag_run"]
    began = run.logical_date or run.run_after
    moment = (run.logical_date and run.data_interval_end) or began
    first, second = (f"{date.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}" for date in (moment, began))
    return first, second, run.run_id


def read_variable(key: str) -> str | None:
    """
    Ask the API server for a Variable, and no secrets backend.

    Core's ``Variable.get`` cannot tell from 3.1 on whether there is none or the server did not answer.

    :param key: the Variable's key
    :raises AirflowRuntimeError: if the server does not say
    :return: its value, or None if there is no such Variable
    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time.comms import ErrorResponse, GetVariable

    answer: Any = _ask_supervisor(GetVariable(key=key))
    if isinstance(answer, ErrorResponse):
        if answer.error == ErrorType.VARIABLE_NOT_FOUND:
            return None
        raise AirflowRuntimeError(answer)
    value: str | None = answer.value
    return value


def write_variable(key: str, value: str, description: str) -> None:
    """
    Have the API server keep a Variable. Core's ``Variable.set`` asks secrets backends too, and hides errors on 3.0.

    :param key: the Variable's key
    :param value: its value
    :param description: what it is for
    :raises AirflowRuntimeError: if the server does not do it
    """
    from airflow.sdk.execution_time.comms import PutVariable

    _check(_ask_supervisor(PutVariable(key=key, value=value, description=description)))


def delete_variable(key: str) -> None:
    """
    Have the API server remove a Variable, if there is one.

    :param key: the Variable's key
    :raises AirflowRuntimeError: if the server does not do it
    """
    from airflow.sdk.execution_time.comms import DeleteVariable

    _check(_ask_supervisor(DeleteVariable(key=key)))


def _ask_supervisor(message: Any) -> Any:  # noqa: ANN401 - core's models
    from airflow.sdk.execution_time import task_runner

    return task_runner.SUPERVISOR_COMMS.send(message)


def _check(answer: object) -> None:
    from airflow.sdk.exceptions import AirflowRuntimeError
    from airflow.sdk.execution_time.comms import ErrorResponse

    if isinstance(answer, ErrorResponse):
        raise AirflowRuntimeError(answer)


def has_task_tabs() -> bool:
    """Tell whether plugins can add tabs to the page of a task instance: from Airflow 3.1 on."""
    from airflow import __version__

    major, minor = __version__.split(".")[:2]
    return (int(major), int(minor)) >= (3, 1)


def plugin_base() -> type:
    """Find the class that Airflow's plugins inherit from: from 3.2 on a task loads them without Airflow's core."""
    try:
        module = importlib.import_module("airflow.sdk.plugins_manager")
    except ImportError:
        module = importlib.import_module("airflow.plugins_manager")
    base: type = module.AirflowPlugin
    return base


def metrics() -> Metrics:
    """Find what sends metrics to where Airflow's configuration says, if that is anywhere."""
    try:
        # Where core's task runner finds it, too: the public name for it takes 3.2 a second to import.
        module = importlib.import_module("airflow.sdk._shared.observability.metrics.stats")
    except ImportError:  # before 3.2
        module = importlib.import_module("airflow.stats")
    found: Metrics = module.Stats
    return found


def redact(value: T) -> T:
    """
    Replace the secrets that Airflow knows of in a value, as in a task's log.

    :param value: of strings, lists and dictionaries
    :return: a copy
    """
    module = importlib.import_module("airflow.sdk.log")
    if not hasattr(module, "redact"):  # 3.0
        module = importlib.import_module("airflow.sdk.execution_time.secrets_masker")
    redacted: T = module.redact(value)
    return redacted


def publish(context: Mapping[str, Any], key: str, value: JSON) -> None:
    """
    Keep a small value where Airflow's REST API gives it as it is, past custom backends, which keep it elsewhere.

    :param context: the task's context
    :param key: of the task's state store, or of an XCom before Airflow 3.3
    :param value: a JSON value
    :raises AirflowRuntimeError: if the server does not do it
    """
    if not has_state_store(context):
        publish_xcom(context, key, value)
        return
    from airflow.configuration import conf
    from airflow.sdk.execution_time.comms import SetTaskStateStore

    days = conf.getint("state_store", "default_retention_days")
    expires_at = datetime.now(UTC) + timedelta(days=days) if days > 0 else None
    message = SetTaskStateStore(ti_id=context["ti"].id, key=key, value=value, expires_at=expires_at)
    _check(_ask_supervisor(message))


def publish_xcom(context: Mapping[str, Any], key: str, value: JSON) -> None:
    """
    Push an XCom past a custom backend, as core does with links.

    :param context: the task's context
    :param key: the XCom's key
    :param value: a JSON value
    """
    from airflow.sdk.bases.xcom import BaseXCom

    ti = context["ti"]
    BaseXCom._set_xcom_in_db(  # noqa: SLF001 - the only way past the backend
        key=key, value=value, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
    )
