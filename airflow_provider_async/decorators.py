# SPDX-License-Identifier: Apache-2.0
"""``@task.async_python``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from airflow_provider_async.operators import AsyncPythonOperator, check_is_async
from airflow_provider_async.runtime.compat import DecoratedOperatorGap

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from airflow.sdk.bases.decorator import TaskDecorator


class _AsyncPythonDecoratedOperator(DecoratedOperator, AsyncPythonOperator, DecoratedOperatorGap):
    """What a function decorated with ``@task.async_python`` becomes."""

    template_fields = AsyncPythonOperator.template_fields
    template_fields_renderers = AsyncPythonOperator.template_fields_renderers
    shallow_copy_attrs = AsyncPythonOperator.shallow_copy_attrs
    custom_operator_name = "@task.async_python"
    is_async = AsyncPythonOperator.is_async

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any],
        op_kwargs: Mapping[str, Any],
        **kwargs: Any,  # noqa: ANN401 - the operator's
    ) -> None:
        super().__init__(
            kwargs_to_upstream={"python_callable": python_callable, "op_args": op_args, "op_kwargs": op_kwargs},
            python_callable=python_callable,
            op_args=op_args,
            op_kwargs=op_kwargs,
            **kwargs,
        )


def async_python_task(
    python_callable: Callable[..., Any] | None = None,
    multiple_outputs: bool | None = None,  # noqa: FBT001 - as all of core's task decorators
    **kwargs: Any,  # noqa: ANN401 - the operator's
) -> TaskDecorator:
    """
    Make a task of an ``async def`` or of an async generator function, whose values are collected to a list.

    :param python_callable: the function
    :param multiple_outputs: whether the dictionary that it returns becomes one XCom for each key
    :param kwargs: arguments of :class:`~airflow_provider_async.operators.AsyncPythonOperator`
    :raises TypeError: if the function is neither, when the DAG is parsed
    :return: the decorated function, or a decorator
    """
    # A function that is only ever expanded makes no operator when the DAG is parsed: it is checked here.
    if python_callable is not None:
        check_is_async(python_callable)
    decorator = task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=_AsyncPythonDecoratedOperator,
        **kwargs,
    )
    if python_callable is not None:
        return decorator

    def checked(function: Callable[..., Any]) -> Any:  # noqa: ANN401
        check_is_async(function)
        return decorator(function)

    return cast("TaskDecorator", checked)
