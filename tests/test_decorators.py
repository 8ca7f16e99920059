# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003 - core evaluates the annotation
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_provider_async.decorators import async_python_task
from airflow_provider_async.operators import AsyncPythonOperator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def dag() -> Iterator[DAG]:
    with DAG("dag", schedule=None) as dag:
        yield dag


async def load(x: int = 1) -> int:
    return x


async def numbers() -> AsyncIterator[int]:
    yield 1


def test_a_decorated_function_becomes_a_task(dag: DAG) -> None:
    async_python_task(load)()
    task: Any = dag.get_task("load")
    assert isinstance(task, AsyncPythonOperator)
    assert task.operator_name == "@task.async_python"
    assert task.is_async is False
    assert task.template_fields == ("templates_dict", "op_args", "op_kwargs")


def test_the_operators_arguments_are_taken(dag: DAG) -> None:
    async_python_task(
        task_id="named",
        retries=3,
        execution_timeout=timedelta(seconds=9),
        multiple_outputs=True,
        show_return_value_in_logs=False,
        loop="asyncio",
    )(load)(x=5)
    task: Any = dag.get_task("named")
    assert (task.retries, task.execution_timeout.total_seconds()) == (3, 9)
    assert (task.multiple_outputs, task.show_return_value_in_logs, task.loop) == (True, False, "asyncio")
    assert task.op_kwargs == {"x": 5}


def test_multiple_outputs_follow_from_the_annotation(dag: DAG) -> None:
    async def split() -> dict[str, int]:
        return {"a": 1}

    async_python_task(split)()
    task: Any = dag.get_task("split")
    assert task.multiple_outputs is True


def test_async_generator_functions_are_tasks_too(dag: DAG) -> None:
    async_python_task(numbers)()
    assert isinstance(dag.get_task("numbers"), AsyncPythonOperator)


def test_it_is_expanded(dag: DAG) -> None:
    async_python_task(retries=2)(load).expand(x=[1, 2, 3])
    task = dag.get_task("load")
    assert task.is_mapped
    assert task.retries == 2


def test_it_is_overridden(dag: DAG) -> None:
    async_python_task(load).override(task_id="other", retries=4)()
    assert dag.get_task("other").retries == 4


@pytest.mark.parametrize("arguments", [{}, {"retries": 3}])
def test_a_synchronous_function_is_refused_when_the_dag_is_parsed_even_if_it_is_only_expanded(
    arguments: dict[str, Any],
) -> None:
    with pytest.raises(TypeError, match="use @task for it"):

        @async_python_task(**arguments)
        def sync(x: int) -> None: ...


def test_a_synchronous_function_is_refused_without_brackets_too() -> None:
    with pytest.raises(TypeError, match="use @task for it"):

        @async_python_task
        def sync(x: int) -> None: ...


def test_something_that_is_no_function_is_refused() -> None:
    arguments: Any = 17
    with pytest.raises(TypeError):
        async_python_task(arguments)
