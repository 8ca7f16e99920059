# SPDX-License-Identifier: Apache-2.0
"""Async tasks without Airflow's processes and its database."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_async.core.resume import resumable
from airflow_provider_async.runtime.connections import using_connections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

__all__ = ["in_task", "run_task"]


def run_task(
    function: Any,  # noqa: ANN401 - what Airflow makes of a function has no type of its own
    *arguments: object,
    connections: Mapping[str, object] | None = None,
    resume_folder: Path | None = None,
    attempt: int = 1,
    **keywords: object,
) -> Any:  # noqa: ANN401
    """
    Run the function of an async task to its end, in an event loop of its own.

    :param function: an async function, what ``@task.async_python`` has made of one, or a task of a DAG
        (``dag.get_task("load")``).
    :param arguments: of the function, like ``keywords``.
    :param connections: Airflow Connections by their ids, or a
        :class:`~airflow_provider_async.testing.Connection` each.
    :param resume_folder: where is kept what was done, until the function succeeds: calling this again goes on from
        there, as the task's next try would. Without one, ``resume=...`` keeps nothing.
    :param attempt: the number of the try.
    :return: what the function returns.
    :raises Exception: what the function raises.
    """

    async def run() -> Any:  # noqa: ANN401
        async with in_task(connections=connections, resume_folder=resume_folder, attempt=attempt):
            return await _callable_of(function)(*arguments, **keywords)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    raise RuntimeError("run_task is for functions that are not async; in others, use 'async with in_task(...)'")


@asynccontextmanager
async def in_task(
    *, connections: Mapping[str, object] | None = None, resume_folder: Path | None = None, attempt: int = 1
) -> AsyncIterator[None]:
    """
    Be in a task: what is awaited in this block finds Connections and what earlier tries have done.

    :param connections: as for :func:`run_task`, like the others.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(using_connections(connections or {}))
        if resume_folder is not None:
            await stack.enter_async_context(resumable(resume_folder, attempt=attempt))
        yield


def _callable_of(function: Any) -> Any:  # noqa: ANN401
    for attribute in ("python_callable", "function"):
        if (found := getattr(function, attribute, None)) is not None:
            function = found
    if not asyncio.iscoroutinefunction(function):
        raise TypeError(f"{function!r} is no async function")
    return function
