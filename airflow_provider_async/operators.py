# SPDX-License-Identifier: Apache-2.0
"""``AsyncPythonOperator``: a coroutine function as a task."""

from __future__ import annotations

import inspect
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from airflow.sdk import BaseOperator

from airflow_provider_async.errors import AsyncProviderError
from airflow_provider_async.links import ProgressLink
from airflow_provider_async.runtime import compat, tracebacks
from airflow_provider_async.runtime.comms import is_supervised, one_request_at_a_time
from airflow_provider_async.runtime.progress import reporting
from airflow_provider_async.runtime.runner import Runner
from airflow_provider_async.runtime.state import known_state, resuming

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Mapping, Sequence

    from airflow.sdk import Context

# How long to wait for the server's word on whether it was the server that ended the task.
_STATE_SECONDS = 0.5

LoopName = Literal["asyncio", "uvloop"]


def check_is_async(function: Callable[..., object]) -> None:
    """
    Refuse what is neither an ``async def`` nor an async generator function.

    Partials, wrapped functions and objects with such a ``__call__`` count as what they call.

    :param function: what is to be a task
    :raises TypeError: if it is neither
    """
    inner: Any = function
    while (wrapped := inner.func if isinstance(inner, partial) else getattr(inner, "__wrapped__", None)) is not None:
        inner = wrapped
    for candidate in (inner, getattr(inner, "__call__", None)):  # noqa: B004 - its kind is asked for
        if inspect.iscoroutinefunction(candidate) or inspect.isasyncgenfunction(candidate):
            return
    name = getattr(inner, "__qualname__", None) or repr(function)
    raise TypeError(
        f"{name} is neither an `async def` nor an async generator function, which is what @task.async_python and "
        f"AsyncPythonOperator run: use @task for it."
    )


def loop_factory(name: LoopName | None) -> Callable[[], asyncio.AbstractEventLoop]:
    """
    Find what makes the event loop.

    :param name: ``asyncio`` or ``uvloop``; None for what ``[async] loop`` in Airflow's configuration says
    :raises ValueError: if it is neither
    :raises AsyncProviderError: if uvloop is asked for but not installed
    :return: a callable that makes a new event loop
    """
    import asyncio

    if name is None:
        from airflow.configuration import conf

        name = cast("LoopName", conf.get("async", "loop", fallback="asyncio"))
    if name == "asyncio":
        return asyncio.new_event_loop
    if name != "uvloop":
        raise ValueError(f"There is no event loop named {name!r}: loop is either 'asyncio' or 'uvloop'.")
    try:
        import uvloop
    except ImportError as error:
        raise AsyncProviderError(
            "loop='uvloop' needs uvloop: pip install 'apache-airflow-providers-async[uvloop]'."
        ) from error
    return uvloop.new_event_loop


class AsyncPythonOperator(BaseOperator):
    """
    Runs a coroutine function, or collects to a list what an async generator function yields.

    Asset metadata that a generator yields goes to the asset's event, as with core's generators, not to the list.

    :param python_callable: an ``async def`` or an async generator function
    :param op_args: positional arguments for it (templated)
    :param op_kwargs: keyword arguments for it (templated)
    :param templates_dict: values that are templated and given to it as ``templates_dict``
    :param templates_exts: endings of files that are templates, such as ``.sql``
    :param show_return_value_in_logs: whether the log shows what it returned
    :param loop: the event loop, ``asyncio`` or ``uvloop``; by default what ``[async] loop`` in Airflow's
        configuration says, and asyncio's if it says nothing
    """

    template_fields: Sequence[str] = ("templates_dict", "op_args", "op_kwargs")
    template_fields_renderers: ClassVar[dict[str, str]] = {"templates_dict": "json", "op_args": "py", "op_kwargs": "py"}
    operator_extra_links = (ProgressLink(),)
    ui_color = "#ffefeb"
    # Arguments such as protobuf messages cannot be copied deeply, and nothing here changes them.
    shallow_copy_attrs: Sequence[str] = ("python_callable", "op_kwargs")

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        templates_dict: dict[str, Any] | None = None,
        templates_exts: Sequence[str] | None = None,
        show_return_value_in_logs: bool = True,
        loop: LoopName | None = None,
        **kwargs: Any,  # noqa: ANN401 - BaseOperator's
    ) -> None:
        super().__init__(**kwargs)
        check_is_async(python_callable)
        self.python_callable = python_callable
        self.op_args = op_args or ()
        self.op_kwargs = op_kwargs or {}
        self.templates_dict = templates_dict
        if templates_exts:
            self.template_ext = templates_exts
        self.show_return_value_in_logs = show_return_value_in_logs
        self.loop = loop
        self._runner: Runner[Any] | None = None

    @property
    def is_async(self) -> bool:
        """Core asks this to choose its own way of running coroutines, which is not what happens here."""
        return False

    def execute(self, context: Context) -> Any:  # noqa: ANN401
        """
        Run the coroutine function to its end.

        :param context: the task's context
        :return: what it returns, or a list of what it yields
        """
        cast("dict[str, Any]", context).update(self.op_kwargs, templates_dict=self.templates_dict)
        self.op_kwargs = compat.keyword_arguments(self.python_callable, self.op_args, context)
        timeout = self.execution_timeout
        _keep_links_to_oneself(getattr(context.get("ti"), "task", self))
        self._runner = runner = Runner[Any](
            timeout_seconds=None if timeout is None else timeout.total_seconds(),
            loop_factory=loop_factory(self.loop),
            timeout_error=compat.task_timeout_error(),
            kill_error=partial(_kill_error, context),
            is_orphaned=partial(_is_orphaned, os.getppid()),
        )
        try:
            with one_request_at_a_time():
                value = runner.run(partial(self._call, context))
        except BaseException as error:
            tracebacks.trim(error)
            if (text := tracebacks.hidden_text(error)) is not None:
                self.log.error("The error with all its parts and notes:\n%s", text)  # noqa: TRY400 - core logs it too
            raise
        finally:
            self._runner = None
        if self.show_return_value_in_logs:
            self.log.info("Done. Returned value was: %s", value)
        else:
            self.log.info("Done. Returned value not shown")
        return value

    async def _call(self, context: Context) -> Any:  # noqa: ANN401
        values = cast("dict[str, Any]", context)
        # What is done is saved before the last report.
        async with reporting(values), resuming(values):
            return await self._result(context)

    async def _result(self, context: Context) -> Any:  # noqa: ANN401
        result = self.python_callable(*self.op_args, **self.op_kwargs)
        if not hasattr(result, "__aiter__"):
            return await result
        from airflow.sdk.definitions.asset.metadata import Metadata
        from airflow.sdk.execution_time.context import context_get_outlet_events

        outlet_events = context_get_outlet_events(context)
        values = []
        async for value in result:
            if isinstance(value, Metadata):
                outlet_events[value.asset].extra.update(value.extra)
                if value.alias:
                    outlet_events[value.alias].add(value.asset, extra=value.extra)
            else:
                values.append(value)
        return values

    def on_kill(self) -> None:
        """Cancel the coroutine; its clean-up runs, and the task fails."""
        if self._runner is not None:
            self._runner.kill()


def _keep_links_to_oneself(task: BaseOperator) -> None:
    """Have core not store the link of each task at its end: one that has something to show stores it itself."""
    links = [link for link in task.operator_extra_links if not isinstance(link, ProgressLink)]
    task.operator_extra_links = links


def _is_orphaned(parent: int) -> bool:
    """Tell whether the supervisor is gone: the task would run on beside its next try, and could report nothing."""
    return os.getppid() != parent and is_supervised()


def _kill_error(context: Context, message: str) -> BaseException:
    """Make an error that fails a task for good if it was marked or cleared, and lets it be retried otherwise."""
    states: list[str] = []

    def ask() -> None:
        if (state := known_state(cast("Mapping[str, Any]", context))) is not None:
            states.append(state)

    # In a thread because it is bounded: the supervisor sends SIGKILL before long.
    thread = threading.Thread(target=ask, name="task-state", daemon=True)
    thread.start()
    thread.join(_STATE_SECONDS)
    if states and states[0] != "running":
        return compat.task_terminated_error()(f"{message} Airflow's server has it as {states[0]}.")
    return compat.task_failed_error()(message)
