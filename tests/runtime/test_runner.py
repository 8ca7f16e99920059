# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.runtime import runner as runner_module
from airflow_provider_async.runtime.runner import Runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    LoopFactory = Callable[[], asyncio.AbstractEventLoop]

pytestmark = [
    pytest.mark.usefixtures("short_bounds", "nothing_left_behind"),
    pytest.mark.timeout(method="thread"),  # the other method needs SIGALRM, which a run takes over
]

FOREVER = 3600.0

#: A bound that no machine is slow enough to reach, and no test waits for but one that fails.
UNSHORTENED = 45.0


class Ended(BaseException):
    """What the runner is told to raise, as core's errors a BaseException."""


class Killed(Ended):
    pass


class TimedOut(Ended):
    pass


def make(loop_factory: LoopFactory = asyncio.new_event_loop, *, timeout_seconds: float | None = None) -> Runner[Any]:
    return Runner(timeout_seconds=timeout_seconds, loop_factory=loop_factory, timeout_error=TimedOut, kill_error=Killed)


@contextmanager
def sigterm_kills(runner: Runner[Any]) -> Iterator[None]:
    """Do what core's signal handler does."""
    previous = signal.signal(signal.SIGTERM, lambda *_: runner.kill())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def send_soon(number: signal.Signals, *, after_seconds: float = 0.05) -> threading.Timer:
    timer = threading.Timer(after_seconds, os.kill, [os.getpid(), number])
    timer.start()
    return timer


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


# --- the ordinary end ---------------------------------------------------------------------------------------------


def test_the_result_is_returned(loop_factory: LoopFactory) -> None:
    async def main() -> int:
        await asyncio.sleep(0)
        return 17

    assert make(loop_factory).run(main) == 17


def test_an_error_is_raised_as_it_is(loop_factory: LoopFactory) -> None:
    error = ValueError("ordinary")

    async def main() -> None:
        raise error

    with pytest.raises(ValueError, match="ordinary") as caught:
        make(loop_factory).run(main)
    assert caught.value is error


def test_a_coroutine_that_cancels_itself_ends_with_that() -> None:
    async def main() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        make().run(main)


def test_each_run_has_a_loop_of_its_own_which_is_closed() -> None:
    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    loops = [make().run(main) for _ in range(2)]

    assert loops[0] is not loops[1]
    assert all(loop.is_closed() for loop in loops)


def test_the_callers_context_variables_are_visible() -> None:
    variable = contextvars.ContextVar[str]("variable")
    variable.set("the caller's")

    async def main() -> str:
        return await asyncio.to_thread(variable.get)

    assert make().run(main) == "the caller's"


def test_asyncios_debug_mode_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> str:
        asyncio.get_running_loop().set_debug(True)
        return await asyncio.to_thread(lambda: "done")

    assert make(timeout_seconds=30).run(main) == "done"
    assert caplog.records == []


async def test_inside_an_event_loop_it_is_refused() -> None:
    async def main() -> None:
        raise AssertionError("not to be reached")

    with pytest.raises(RuntimeError, match="cannot run inside an event loop"):
        make().run(main)


# --- the time-out -------------------------------------------------------------------------------------------------


def test_at_the_time_out_clean_up_runs_and_the_cause_says_where_it_stood(loop_factory: LoopFactory) -> None:
    cleaned_up = []

    async def main() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.01)
            cleaned_up.append(True)

    with at_most(10), pytest.raises(TimedOut, match=r"within its execution_timeout of 0\.4 s") as caught:
        make(loop_factory, timeout_seconds=0.4).run(main)
    assert cleaned_up == [True]
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert caught.value.__cause__.args == ("stopped by its time-out",)


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_time_out_that_is_over_already_starts_nothing(seconds: float) -> None:
    async def main() -> None:
        raise AssertionError("not to be reached")

    with pytest.raises(TimedOut):
        make(timeout_seconds=seconds).run(main)


def test_a_result_after_the_time_out_is_no_success() -> None:
    async def main() -> int:
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            return 17
        return 18

    with pytest.raises(TimedOut):
        make(timeout_seconds=0.3).run(main)


def test_an_error_of_the_clean_up_is_the_cause() -> None:
    async def main() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            raise KeyError("of the clean-up")

    with pytest.raises(TimedOut) as caught:
        make(timeout_seconds=0.3).run(main)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_coroutine_that_goes_on_is_cut_off_and_named(caplog: pytest.LogCaptureFixture) -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        await stubborn()

    with at_most(10), pytest.raises(TimedOut):
        make(timeout_seconds=0.3).run(main)
    assert "The task's coroutine did not end within the time for clean-up and was cut off" in caplog.text
    assert f"{__file__}:" in caplog.text
    assert "stubborn." in caplog.text


def test_a_call_that_blocks_the_loop_is_interrupted_at_the_time_out(loop_factory: LoopFactory) -> None:
    cleaned_up = []

    async def main() -> None:
        try:
            time.sleep(FOREVER)  # noqa: ASYNC251 - the point
        finally:
            await asyncio.sleep(0.01)  # not interrupted by a second cancellation
            cleaned_up.append(True)

    with at_most(10), pytest.raises(TimedOut):
        make(loop_factory, timeout_seconds=0.3).run(main)
    assert cleaned_up == [True]


def test_a_call_that_blocks_the_loop_elsewhere_is_interrupted_too(loop_factory: LoopFactory) -> None:
    cleaned_up = []

    async def blocks() -> None:
        time.sleep(FOREVER)  # noqa: ASYNC251

    async def main() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(blocks())
        finally:
            await asyncio.sleep(0.01)
            cleaned_up.append(True)

    with at_most(10), pytest.raises(TimedOut):
        make(loop_factory, timeout_seconds=0.3).run(main)
    assert cleaned_up == [True]


def test_clean_up_that_blocks_is_interrupted_when_its_time_is_up() -> None:
    async def main() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            time.sleep(FOREVER)  # noqa: ASYNC251

    with at_most(10), pytest.raises(TimedOut):
        make(timeout_seconds=0.3).run(main)


def test_what_is_left_behind_after_the_result_has_its_own_bound() -> None:
    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.3)

    async def main() -> int:
        task = asyncio.create_task(slow_to_end())
        await asyncio.sleep(0)
        assert not task.done()
        return 17

    assert make(timeout_seconds=0.4).run(main) == 17


def test_cores_own_alarm_is_left_to_the_watchdog(loop_factory: LoopFactory) -> None:
    def of_core(*_: object) -> None:
        raise AssertionError("not to be reached")

    async def main() -> int:
        signal.raise_signal(signal.SIGALRM)
        await asyncio.sleep(0)
        return 17

    previous = signal.signal(signal.SIGALRM, of_core)
    try:
        assert make(loop_factory).run(main) == 17
        assert signal.getsignal(signal.SIGALRM) is of_core
    finally:
        signal.signal(signal.SIGALRM, previous)


# --- the kill -----------------------------------------------------------------------------------------------------


def test_a_kill_cancels_and_clean_up_runs(loop_factory: LoopFactory) -> None:
    cleaned_up = []
    runner = make(loop_factory)

    async def main() -> None:
        send_soon(signal.SIGTERM)
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.01)
            cleaned_up.append(True)

    with at_most(10), sigterm_kills(runner), pytest.raises(Killed, match="told to stop from outside"):
        runner.run(main)
    assert cleaned_up == [True]


def test_a_second_signal_does_no_harm(loop_factory: LoopFactory) -> None:
    cleaned_up = []
    runner = make(loop_factory)

    async def main() -> None:
        signal.raise_signal(signal.SIGTERM)
        try:
            await asyncio.sleep(FOREVER)
        finally:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0.05)
            cleaned_up.append(True)

    with sigterm_kills(runner), pytest.raises(Killed):
        runner.run(main)
    runner.kill()  # too late, and as harmless
    assert cleaned_up == [True]


def test_a_result_after_a_kill_is_no_success() -> None:
    runner = make()

    async def main() -> int:
        runner.kill()
        try:
            await asyncio.sleep(FOREVER)
        except asyncio.CancelledError:
            return 17
        return 18

    with pytest.raises(Killed):
        runner.run(main)


def test_a_kill_before_the_start_is_not_forgotten() -> None:
    runner = make()
    runner.kill()

    async def main() -> None:
        await asyncio.sleep(FOREVER)

    with at_most(10), pytest.raises(Killed):
        runner.run(main)


def test_a_kill_reaches_a_blocked_loop(loop_factory: LoopFactory) -> None:
    runner = make(loop_factory)

    async def main() -> None:
        send_soon(signal.SIGTERM)
        time.sleep(FOREVER)  # noqa: ASYNC251

    with at_most(10), sigterm_kills(runner), pytest.raises(Killed):
        runner.run(main)


def test_a_kill_during_clean_up_after_a_time_out_shortens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "CLEAN_UP_SECONDS", UNSHORTENED)
    runner = make(timeout_seconds=0.3)

    async def main() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            runner.kill()
            await asyncio.sleep(FOREVER)

    with at_most(20), pytest.raises(TimedOut):
        runner.run(main)


def test_a_time_out_of_the_users_that_ends_in_the_same_moment_does_not_swallow_the_kill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner_module, "KILL_CLEAN_UP_SECONDS", UNSHORTENED)
    runner = make()

    async def main() -> None:
        try:
            async with asyncio.timeout(0):
                runner.kill()
                await asyncio.sleep(FOREVER)
        except TimeoutError:
            pass
        await asyncio.sleep(FOREVER)

    with at_most(20), pytest.raises(Killed):
        runner.run(main)


def test_outside_the_main_thread_it_works_without_signals() -> None:
    outcomes: list[BaseException] = []
    runner = make(timeout_seconds=0.3)

    async def main() -> None:
        await asyncio.sleep(FOREVER)

    def work() -> None:
        try:
            runner.run(main)
        except TimedOut as error:
            outcomes.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    assert len(outcomes) == 1


# --- Ctrl-C and exit ----------------------------------------------------------------------------------------------


@pytest.fixture
def python_handles_sigint() -> Iterator[None]:
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, previous) is signal.default_int_handler


@pytest.mark.usefixtures("python_handles_sigint")
def test_ctrl_c_cancels_and_clean_up_runs(loop_factory: LoopFactory) -> None:
    cleaned_up = []

    async def main() -> None:
        send_soon(signal.SIGINT)
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.01)
            cleaned_up.append(True)

    with pytest.raises(KeyboardInterrupt):
        make(loop_factory).run(main)
    assert cleaned_up == [True]


@pytest.mark.usefixtures("python_handles_sigint")
def test_a_second_ctrl_c_ends_clean_up(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "CLEAN_UP_SECONDS", UNSHORTENED)

    async def main() -> None:
        send_soon(signal.SIGINT)
        try:
            await asyncio.sleep(FOREVER)
        finally:
            send_soon(signal.SIGINT)
            await asyncio.sleep(FOREVER)

    with at_most(20), pytest.raises(KeyboardInterrupt):
        make(loop_factory).run(main)
    assert "was cut off" in caplog.text


def test_an_exit_ends_the_run_with_it(loop_factory: LoopFactory) -> None:
    async def main() -> None:
        sys.exit(3)

    with pytest.raises(SystemExit) as caught:
        make(loop_factory).run(main)
    assert caught.value.code == 3


def test_an_exit_in_a_background_task_cancels_the_coroutine(loop_factory: LoopFactory) -> None:
    cleaned_up = []

    async def exits() -> None:
        sys.exit(3)

    async def main() -> None:
        task = asyncio.create_task(exits())
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.01)
            cleaned_up.append(task.done())

    with at_most(10), pytest.raises(SystemExit) as caught:
        make(loop_factory).run(main)
    assert caught.value.code == 3
    assert cleaned_up == [True]


def test_an_error_of_a_signal_handler_of_the_users_cancels_the_coroutine() -> None:
    cleaned_up = []  # with asyncio's loop: uvloop only logs such an error

    def handler(*_: object) -> None:
        raise Ended("of a signal handler")

    async def main() -> None:
        send_soon(signal.SIGUSR1)
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.01)
            cleaned_up.append(True)

    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        with at_most(10), pytest.raises(Ended, match="of a signal handler"):
            make().run(main)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert cleaned_up == [True]


# --- what is left behind ------------------------------------------------------------------------------------------


def test_background_tasks_are_cancelled_and_awaited(loop_factory: LoopFactory) -> None:
    ended = []

    async def background(number: int) -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            await asyncio.sleep(0.01)
            ended.append(number)

    async def main() -> str:
        tasks = [asyncio.create_task(background(number)) for number in range(3)]
        await asyncio.sleep(0)
        return f"{len(tasks)} left behind"

    assert make(loop_factory).run(main) == "3 left behind"
    assert sorted(ended) == [0, 1, 2]


def test_clean_up_that_has_begun_is_not_cancelled_a_second_time() -> None:
    cleaned_up = []

    async def clean_up() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.1)
            cleaned_up.append(True)

    async def main() -> None:
        # The gather is over as soon as its first branch is, while the other one still cleans up.
        await asyncio.gather(asyncio.sleep(3600), clean_up())

    with pytest.raises(TimeoutError):
        Runner[None](timeout_seconds=0.3).run(main)
    assert cleaned_up == [True]


def test_a_task_that_swallowed_its_first_cancellation_is_given_another() -> None:
    ended = []

    async def go_on() -> None:
        try:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
            await asyncio.sleep(3600)
        finally:
            ended.append(True)

    async def main() -> None:
        await asyncio.gather(asyncio.sleep(3600), go_on())

    with pytest.raises(TimeoutError):
        Runner[None](timeout_seconds=0.3).run(main)
    assert ended == [True]


def test_tasks_that_clean_up_starts_are_ended_too() -> None:
    ended = []

    async def second() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            ended.append("second")

    async def first(tasks: list[asyncio.Task[None]]) -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            tasks.append(asyncio.create_task(second()))
            await asyncio.sleep(0)
            ended.append("first")

    async def main() -> None:
        tasks: list[asyncio.Task[None]] = []
        tasks.append(asyncio.create_task(first(tasks)))
        await asyncio.sleep(0)

    make().run(main)
    assert ended == ["first", "second"]


def test_a_background_task_that_goes_on_is_cut_off_named_and_never_resumed(caplog: pytest.LogCaptureFixture) -> None:
    turns = []

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
            finally:
                turns.append(time.monotonic())

    async def main() -> None:
        task = asyncio.create_task(stubborn(), name="stubborn")
        await asyncio.sleep(0)
        assert not task.done()

    with at_most(10):
        make().run(main)
    ended_at = time.monotonic()
    assert "The background task stubborn did not end" in caplog.text
    assert max(turns) < ended_at


def test_async_generators_are_closed(loop_factory: LoopFactory) -> None:
    closed = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    generator = numbers()

    async def main() -> int:
        return await anext(generator)

    assert make(loop_factory).run(main) == 1
    assert closed == [True]


def test_an_async_generator_that_does_not_close_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            while True:
                try:
                    await asyncio.sleep(FOREVER)
                except asyncio.CancelledError:
                    continue

    generator = numbers()

    async def main() -> int:
        return await anext(generator)

    with at_most(10):
        assert make().run(main) == 1
    assert "The closing of async generators did not end" in caplog.text


def test_async_generators_are_closed_although_the_tasks_used_up_the_time() -> None:
    closed = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closed.append(True)

    generator = numbers()

    async def main() -> None:
        await anext(generator)
        while True:
            try:
                await asyncio.sleep(FOREVER)
            except asyncio.CancelledError:
                continue

    with pytest.raises(TimedOut):
        make(timeout_seconds=0.3).run(main)
    assert closed == [True]


def test_the_error_of_a_background_task_that_nobody_awaited_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise KeyError("unseen")

    async def main() -> None:
        task = asyncio.create_task(fails(), name="loader")
        await asyncio.sleep(0)
        raise ValueError(f"seen, and its traceback keeps {task.get_name()}")

    with pytest.raises(ValueError, match="seen"):
        make().run(main)
    record = next(record for record in caplog.records if "nobody awaited it" in record.getMessage())
    assert "The background task loader failed" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


def test_errors_that_somebody_awaited_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fails() -> None:
        raise KeyError("seen")

    async def main() -> None:
        tasks = [asyncio.create_task(fails()) for _ in range(2)]
        await asyncio.gather(*tasks, return_exceptions=True)

    make().run(main)
    assert caplog.records == []


def test_a_task_whose_supervisor_is_gone_ends_itself() -> None:
    orphaned = threading.Event()
    cleaned_up: list[str] = []

    async def main() -> None:
        orphaned.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.append("all")

    with pytest.raises(InterruptedError, match="supervisor is gone"):
        Runner[None](is_orphaned=orphaned.is_set).run(main)
    assert cleaned_up == ["all"]


def test_calls_in_threads_are_waited_for() -> None:
    ended = []
    started = threading.Event()

    def work() -> None:
        started.set()
        time.sleep(0.1)
        ended.append(True)

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, work)
        await asyncio.to_thread(started.wait)

    make().run(main)
    assert ended == [True]


def test_calls_in_threads_that_take_longer_are_named_and_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    started, release = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait()

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, work)
        await asyncio.to_thread(started.wait)

    try:
        with at_most(10):
            make().run(main)
        assert "1 calls of asyncio.to_thread() or run_in_executor() still run and were left behind" in caplog.text
        assert "threading.py" in caplog.text
    finally:
        release.set()


def test_a_kill_does_not_wait_for_threads_beyond_its_bound() -> None:
    release = threading.Event()
    runner = make()

    async def main() -> None:
        runner.kill()
        await asyncio.to_thread(release.wait)

    try:
        with at_most(10), pytest.raises(Killed):
            runner.run(main)
    finally:
        release.set()
