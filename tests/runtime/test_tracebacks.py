# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from airflow_provider_async.runtime import tracebacks
from airflow_provider_async.runtime.runner import Runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator


def error_of(main: Callable[[], Coroutine[Any, Any, Any]]) -> BaseException:
    try:
        Runner[Any]().run(main)
    except BaseException as error:  # noqa: BLE001 - this is about what any error looks like
        return error
    raise AssertionError("no error")


def functions(error: BaseException | None) -> list[str]:
    assert error is not None
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


async def fail() -> NoReturn:
    await asyncio.sleep(0)
    raise ValueError("ordinary")


# --- trim ---------------------------------------------------------------------------------------------------------


def test_the_users_frames_remain() -> None:
    async def main() -> None:
        await asyncio.gather(fail())

    error = error_of(main)
    before = functions(error)
    tracebacks.trim(error)
    assert {"run_forever", "_result"} & set(before)
    assert functions(error) == ["error_of", "main", "fail"]


def test_causes_and_contexts_are_trimmed_too() -> None:
    async def main() -> None:
        try:
            await asyncio.wait_for(asyncio.sleep(3600), 0)
        except TimeoutError as error:
            try:
                await asyncio.gather(fail())
            except ValueError:
                raise KeyError("third") from error

    error = error_of(main)
    tracebacks.trim(error)
    assert functions(error) == ["error_of", "main"]
    assert functions(error.__cause__) == ["main"]
    assert functions(error.__context__) == ["main", "fail"]


def test_the_parts_of_a_group_are_trimmed_too() -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(fail())

    error = error_of(main)
    tracebacks.trim(error)
    assert isinstance(error, ExceptionGroup)
    assert [functions(part) for part in error.exceptions] == [["fail"], ["fail"]]


def test_an_error_of_the_machinery_alone_keeps_its_innermost_frame() -> None:
    async def main() -> None:
        await asyncio.sleep(3600)

    with pytest.raises(TimeoutError) as caught:
        Runner[None](timeout_seconds=0).run(main)
    error = caught.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # without the frame of this test
    tracebacks.trim(error)
    assert functions(error) == ["run"]


def test_errors_that_refer_to_each_other_are_no_trap() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__context__, second.__context__ = second, first
    tracebacks.trim(first)
    assert functions(first) == []


# --- what the log view hides --------------------------------------------------------------------------------------


def test_an_ordinary_error_hides_nothing() -> None:
    assert tracebacks.hidden_text(ValueError("ordinary")) is None


def test_a_group_is_formatted_with_all_its_parts() -> None:
    group = ExceptionGroup("many", [ValueError(f"part {number}") for number in range(100)])
    text = tracebacks.hidden_text(group)
    assert text is not None
    assert all(f"ValueError: part {number}\n" in text for number in range(100))


def test_a_note_of_a_cause_is_formatted() -> None:
    cause = KeyError("inner")
    cause.add_note("item 17 of load")
    error = ValueError("outer")
    error.__cause__ = cause
    text = tracebacks.hidden_text(error)
    assert text is not None
    assert "item 17 of load" in text
    assert text.endswith("ValueError: outer")


# --- where something stands ---------------------------------------------------------------------------------------


async def waits() -> None:
    await asyncio.sleep(3600)


async def test_a_task_stands_at_the_users_innermost_line() -> None:
    async def outer() -> None:
        await waits()

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    place = tracebacks.where(task)
    task.cancel()
    assert place == f"{__file__}:{waits.__code__.co_firstlineno + 1} in waits"


async def test_a_task_in_an_async_generator_stands_there() -> None:
    async def numbers() -> AsyncIterator[int]:
        await waits()
        yield 1

    async def outer() -> None:
        async for _ in numbers():
            pass

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    place = tracebacks.where(task)
    task.cancel()
    assert "test_tracebacks.py" in place


async def test_what_is_no_task_stands_at_an_unknown_place() -> None:
    assert tracebacks.where(asyncio.get_running_loop().create_future()) == "an unknown place"


def test_a_generator_based_coroutine_stands_there_too() -> None:
    class Awaitable:
        def __await__(self) -> Generator[Any, None, None]:
            yield from asyncio.sleep(3600).__await__()

    async def main() -> str:
        async def outer() -> None:
            await Awaitable()

        task = asyncio.create_task(outer())
        await asyncio.sleep(0)
        place = tracebacks.where(task)
        task.cancel()
        return place

    assert "in test_a_generator_based_coroutine_stands_there_too.<locals>.Awaitable.__await__" in asyncio.run(main())


def test_a_thread_stands_at_its_innermost_frame() -> None:
    release = threading.Event()
    thread = threading.Thread(target=release.wait)
    thread.start()
    place = tracebacks.where_thread(thread.ident)
    release.set()
    thread.join()
    assert place is not None
    assert "threading.py" in place
    assert tracebacks.where_thread(thread.ident) is None


def test_outside_an_event_loop_nothing_blocks_one() -> None:
    assert tracebacks.format_blocking_stack(sys._getframe()) is None
    assert tracebacks.format_blocking_stack(None) is None
