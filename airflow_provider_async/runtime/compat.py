# SPDX-License-Identifier: Apache-2.0
"""
Every difference between the Airflow versions 3.0 to 3.3, and nothing else.

Airflow is imported inside the functions: which of its modules exist depends on its version.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from airflow_provider_async.errors import UnsupportedAirflow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from types import ModuleType
    from typing import Protocol

    from airflow.sdk import Connection

    class StateStore(Protocol):
        """What Airflow 3.3 puts into a task's context as ``task_state_store``."""

        def get(self, key: str, default: object = None) -> object:
            """Return the value under a key."""

        def set(self, key: str, value: object) -> None:
            """Keep a value under a key."""


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
    """
    Find the class that Airflow's task runner takes for a time-out.

    :return: ``AirflowTaskTimeout``; a subclass of BaseException, not of Exception
    """
    error: type[BaseException] = _exceptions().AirflowTaskTimeout
    return error


def task_terminated_error() -> type[BaseException]:
    """
    Find the class that Airflow's task runner takes for a task that failed for good because it was ended.

    :return: ``AirflowTaskTerminated``; a subclass of BaseException, not of Exception
    """
    error: type[BaseException] = _exceptions().AirflowTaskTerminated
    return error


def task_failed_error() -> type[Exception]:
    """
    Find the class that Airflow's task runner takes for a failure that may be retried.

    :return: ``AirflowException``
    """
    error: type[Exception] = _exceptions().AirflowException
    return error


def not_found_error() -> type[Exception]:
    """
    Find the class of the error that says that there is no such Connection.

    :return: ``AirflowNotFoundException``
    """
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
