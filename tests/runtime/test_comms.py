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
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import CommsDecoder, GetVariable, ResendLoggingFD
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_async.errors import SupervisorUnavailable, UnsupportedAirflow
from airflow_provider_async.runtime import comms
from airflow_provider_async.runtime.comms import SupervisorProxy, one_request_at_a_time, supervisor_failure
from tests.servers.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def decoder_of(supervisor: Supervisor) -> Any:  # noqa: ANN401 - generic, and not always over the same
    return CommsDecoder(socket=supervisor.task_side)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor() as supervisor:
        yield supervisor
        assert supervisor.disorder == []


@pytest.fixture
def proxy(supervisor: Supervisor) -> Iterator[SupervisorProxy]:
    proxy = SupervisorProxy(decoder_of(supervisor))
    yield proxy
    for event in supervisor.held.values():
        event.set()
    proxy.close()


def ask(proxy: SupervisorProxy, name: str) -> str:
    value: str = proxy.send(msg=GetVariable(key=name)).value
    return value


async def ask_async(proxy: SupervisorProxy, name: str) -> str:
    value: str = (await proxy.asend(GetVariable(key=name))).value
    return value


# --- each answer to its asker -------------------------------------------------------------------------------------


async def test_fifty_coroutines_and_fifty_threads_each_get_their_own_answer(proxy: SupervisorProxy) -> None:
    coroutines = [ask_async(proxy, f"c{number}") for number in range(50)]
    threads = [asyncio.to_thread(ask, proxy, f"t{number}") for number in range(50)]
    answers = await asyncio.gather(*coroutines, *threads)
    assert answers == [f"value of c{n}" for n in range(50)] + [f"value of t{n}" for n in range(50)]


async def test_a_synchronous_request_in_the_loop_waits_for_those_under_way(proxy: SupervisorProxy) -> None:
    tasks = [asyncio.create_task(ask_async(proxy, f"c{number}")) for number in range(5)]
    await asyncio.sleep(0)
    assert ask(proxy, "sync") == "value of sync"
    assert await asyncio.gather(*tasks) == [f"value of c{n}" for n in range(5)]


async def test_asyncios_debug_mode_changes_nothing(proxy: SupervisorProxy) -> None:
    asyncio.get_running_loop().set_debug(True)
    answers = await asyncio.gather(*(ask_async(proxy, f"c{number}") for number in range(5)))
    assert answers == [f"value of c{n}" for n in range(5)]


async def test_a_request_that_is_cancelled_under_way_gives_its_answer_to_nobody(
    proxy: SupervisorProxy, supervisor: Supervisor
) -> None:
    release = supervisor.hold("first")
    first = asyncio.create_task(ask_async(proxy, "first"))
    await asyncio.to_thread(supervisor.arrived["first"].wait)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(ask_async(proxy, "second"))
    await asyncio.sleep(0)
    release.set()
    assert await second == "value of second"
    assert supervisor.asked == ["first", "second"]


async def test_a_request_that_is_cancelled_in_the_queue_is_never_sent(
    proxy: SupervisorProxy, supervisor: Supervisor
) -> None:
    release = supervisor.hold("first")
    first = asyncio.create_task(ask_async(proxy, "first"))
    await asyncio.to_thread(supervisor.arrived["first"].wait)
    second = asyncio.create_task(ask_async(proxy, "second"))
    await asyncio.sleep(0)
    second.cancel()
    third = asyncio.create_task(ask_async(proxy, "third"))
    await asyncio.sleep(0)
    release.set()
    assert (await first, await third) == ("value of first", "value of third")
    assert supervisor.asked == ["first", "third"]


@contextmanager
def alarm_raises(error: type[BaseException]) -> Iterator[None]:
    """Do what core's handler does at the end of ``execution_timeout``."""

    def handler(*_: object) -> None:
        raise error

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, previous)


class Alarm(BaseException):
    pass


def ring_when(condition: Callable[[], object]) -> None:
    """Send the main thread an alarm once the condition holds."""
    thread = threading.main_thread().ident
    assert thread is not None

    def ring() -> None:
        while not condition():
            time.sleep(0.01)
        signal.pthread_kill(thread, signal.SIGALRM)

    threading.Thread(target=ring, daemon=True).start()


def test_a_signal_handler_that_raises_interrupts_only_the_waiting(
    proxy: SupervisorProxy, supervisor: Supervisor
) -> None:
    release = supervisor.hold("first")
    with alarm_raises(Alarm):
        ring_when(supervisor.arrived["first"].is_set)
        with pytest.raises(Alarm):
            ask(proxy, "first")
    release.set()
    assert ask(proxy, "second") == "value of second"


def test_an_error_that_the_supervisor_answers_with_is_the_askers(proxy: SupervisorProxy) -> None:
    from airflow.sdk.exceptions import AirflowRuntimeError

    with pytest.raises(AirflowRuntimeError):
        ask(proxy, "failing")
    assert proxy.failure is None
    assert ask(proxy, "second") == "value of second"


def test_a_request_that_cannot_be_written_leaves_the_channel_in_step(proxy: SupervisorProxy) -> None:
    request: Any = object()
    with pytest.raises(AttributeError):
        proxy.send(request)
    assert ask(proxy, "second") == "value of second"


def test_a_file_descriptor_comes_through(proxy: SupervisorProxy) -> None:
    answer = proxy.send(ResendLoggingFD())
    assert len(answer.fds) == 1
    os.close(answer.fds[0])
    assert ask(proxy, "second") == "value of second"


def test_context_variables_of_the_asker_are_seen_where_the_request_is_written() -> None:
    variable = contextvars.ContextVar("variable", default="nobody's")

    class InProcess:
        def send(self, msg: object) -> str:
            return variable.get()

    proxy = SupervisorProxy(InProcess())
    variable.set("the asker's")
    assert proxy.send(msg=None) == "the asker's"
    proxy.close()


def test_everything_else_is_cores_own(proxy: SupervisorProxy, supervisor: Supervisor) -> None:
    assert proxy.socket is supervisor.task_side
    assert callable(proxy._get_response)
    with pytest.raises(AttributeError):
        _ = proxy.no_such_thing


# --- a supervisor that is gone, or silent -------------------------------------------------------------------------


async def test_when_the_supervisor_goes_all_requests_fail_and_none_hangs(
    proxy: SupervisorProxy, supervisor: Supervisor
) -> None:
    supervisor.hold("first")
    tasks = [asyncio.create_task(ask_async(proxy, name)) for name in ("first", "second")]
    tasks.append(asyncio.create_task(asyncio.to_thread(ask, proxy, "third")))
    await asyncio.to_thread(supervisor.arrived["first"].wait)
    supervisor.go()
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(error, SupervisorUnavailable)
        assert "is gone" in str(error)
    with pytest.raises(SupervisorUnavailable, match="is gone"):
        ask(proxy, "fourth")
    assert proxy.failure is not None


def test_half_an_answer_is_none(proxy: SupervisorProxy, supervisor: Supervisor) -> None:
    supervisor.hold("first")

    def half() -> None:
        supervisor.arrived["first"].wait()
        supervisor.send((100).to_bytes(4, "big") + b"half")
        supervisor.go()

    threading.Thread(target=half).start()
    with pytest.raises(SupervisorUnavailable, match="is gone"):
        ask(proxy, "first")


def test_a_supervisor_that_never_answers_is_given_up(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comms, "ANSWER_SECONDS", 0.2)
    proxy = SupervisorProxy(decoder_of(supervisor))
    supervisor.hold("first")
    with pytest.raises(SupervisorUnavailable, match=r"has not answered for 0\.2 s"):
        ask(proxy, "first")
    with pytest.raises(SupervisorUnavailable, match=r"has not answered for 0\.2 s"):
        ask(proxy, "second")
    proxy.close()


def test_a_forked_process_is_refused(proxy: SupervisorProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(SupervisorUnavailable, match="forked"):
            ask(proxy, "first")
    assert ask(proxy, "second") == "value of second"


# --- the hand-over to core ----------------------------------------------------------------------------------------


def test_closing_waits_for_the_request_under_way_and_leaves_the_channel_in_step(supervisor: Supervisor) -> None:
    decoder = decoder_of(supervisor)
    proxy = SupervisorProxy(decoder)
    release = supervisor.hold("first")
    threading.Thread(target=ask, args=[proxy, "first"]).start()
    supervisor.arrived["first"].wait()
    threading.Timer(0.1, release.set).start()
    proxy.close()
    assert release.is_set()
    assert decoder.send(GetVariable(key="core's")).value == "value of core's"
    with pytest.raises(SupervisorUnavailable, match="The task is over"):
        ask(proxy, "late")


async def test_closing_refuses_what_is_in_the_queue(supervisor: Supervisor) -> None:
    proxy = SupervisorProxy(decoder_of(supervisor))
    release = supervisor.hold("first")
    tasks = [asyncio.create_task(ask_async(proxy, name)) for name in ("first", "second")]
    await asyncio.to_thread(supervisor.arrived["first"].wait)
    closing = asyncio.create_task(asyncio.to_thread(proxy.close))
    while not proxy._closed:  # noqa: ASYNC110 - set by the other thread
        await asyncio.sleep(0.01)
    release.set()
    await closing
    assert await tasks[0] == "value of first"
    with pytest.raises(SupervisorUnavailable, match="The task is over"):
        await tasks[1]


def test_a_signal_handler_that_raises_while_closing_is_heard_when_the_channel_is_in_step(
    supervisor: Supervisor,
) -> None:
    decoder = decoder_of(supervisor)
    proxy = SupervisorProxy(decoder)
    release = supervisor.hold("first")
    threading.Thread(target=ask, args=[proxy, "first"]).start()
    supervisor.arrived["first"].wait()
    with alarm_raises(Alarm):
        ring_when(lambda: proxy._closed)
        threading.Timer(0.2, release.set).start()
        with pytest.raises(Alarm):
            proxy.close()
    assert release.is_set()
    assert decoder.send(GetVariable(key="core's")).value == "value of core's"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    def install(instance: object) -> None:
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", instance, raising=False)

    return install


def in_task_runner() -> Any:  # noqa: ANN401 - the global, whatever it is
    return vars(task_runner)["SUPERVISOR_COMMS"]


def test_core_finds_the_proxy_for_the_time_being(supervisor: Supervisor, install: Callable[[Any], None]) -> None:
    decoder = decoder_of(supervisor)
    install(decoder)
    with one_request_at_a_time():
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

        assert isinstance(SUPERVISOR_COMMS, SupervisorProxy)
        assert in_task_runner() is SUPERVISOR_COMMS
        assert supervisor_failure() is None
        supervisor.go()
        with pytest.raises(SupervisorUnavailable):
            ask(SUPERVISOR_COMMS, "first")
        assert "is gone" in str(supervisor_failure())
    assert in_task_runner() is decoder
    assert supervisor_failure() is None


def test_outside_a_task_nothing_is_put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(task_runner, "SUPERVISOR_COMMS", raising=False)
    with one_request_at_a_time():
        assert not hasattr(task_runner, "SUPERVISOR_COMMS")
    monkeypatch.delitem(sys.modules, task_runner.__name__)
    with one_request_at_a_time():
        assert supervisor_failure() is None


def test_an_airflow_whose_supervisor_is_asked_in_two_steps_is_refused(install: Callable[[Any], None]) -> None:
    install(object())
    with pytest.raises(UnsupportedAirflow, match=r"3\.0\.3"), one_request_at_a_time():
        pass


class InProcess:
    """Answers as core does under ``dag.test()``: it hides the global, and has other threads do the work."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.answering = threading.Event()
        self.may_end = threading.Event()

    def send(self, msg: object) -> str:
        from airflow.sdk.execution_time.supervisor import set_supervisor_comms

        with set_supervisor_comms(None):
            server = threading.Thread(target=contextvars.copy_context().run, args=[self._serve])
            server.start()
            server.join()
        return "answer"

    def _serve(self) -> None:
        if hasattr(task_runner, "SUPERVISOR_COMMS"):
            self.problems.append("the answering side sees the task's supervisor")
        self.answering.set()
        self.may_end.wait(5)


def test_under_dag_test_other_threads_find_the_supervisor_while_the_answering_side_finds_none(
    install: Callable[[Any], None],
) -> None:
    in_process = InProcess()
    install(in_process)
    module_class = task_runner.__class__
    with one_request_at_a_time():
        asking = threading.Thread(target=in_task_runner().send, args=[None])
        asking.start()
        in_process.answering.wait(5)
        assert isinstance(task_runner.SUPERVISOR_COMMS, SupervisorProxy)
        assert in_task_runner() is task_runner.SUPERVISOR_COMMS
        in_process.may_end.set()
        asking.join()
        assert task_runner.SUPERVISOR_COMMS.send(None) == "answer"
    assert in_process.problems == []
    assert in_task_runner() is in_process
    assert task_runner.__class__ is module_class


def test_under_dag_test_an_error_is_the_askers_and_the_channel_goes_on(install: Callable[[Any], None]) -> None:
    class Failing:
        def send(self, msg: object) -> object:
            if msg is None:
                raise ConnectionError("of the server in this process")
            return msg

    install(Failing())
    with one_request_at_a_time():
        with pytest.raises(ConnectionError, match="of the server"):
            in_task_runner().send(None)
        assert in_task_runner().send(17) == 17


# --- whatever happens, in whatever order --------------------------------------------------------------------------

REQUEST = st.tuples(
    st.sampled_from(["coroutine", "thread", "loop"]),
    st.integers(min_value=0, max_value=6),  # turns of the loop before the next
    st.none() | st.integers(min_value=0, max_value=6),  # turns of the loop before it is cancelled
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(REQUEST, max_size=25))
def test_any_mixture_of_requests_and_cancellations_leaves_each_answer_to_its_asker(
    requests: list[tuple[str, int, int | None]],
) -> None:
    async def main(proxy: SupervisorProxy) -> None:
        tasks: list[tuple[str, asyncio.Task[str]]] = []
        cancelling = []

        async def cancel_after(task: asyncio.Task[str], turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0.0005)
            task.cancel()

        for number, (kind, pause, cancelled_after) in enumerate(requests):
            name = f"n{number}"
            if kind == "loop":
                assert ask(proxy, name) == f"value of {name}"
            elif kind == "thread":
                tasks.append((name, asyncio.create_task(asyncio.to_thread(ask, proxy, name))))
            else:
                task = asyncio.create_task(ask_async(proxy, name))
                tasks.append((name, task))
                if cancelled_after is not None:
                    cancelling.append(asyncio.create_task(cancel_after(task, cancelled_after)))
            for _ in range(pause):
                await asyncio.sleep(0)
        for name, task in tasks:
            with suppress(asyncio.CancelledError):
                assert await task == f"value of {name}"
        await asyncio.gather(*cancelling)

    with Supervisor() as supervisor:
        decoder = decoder_of(supervisor)
        proxy = SupervisorProxy(decoder)
        started = time.monotonic()
        asyncio.run(main(proxy))
        proxy.close()
        assert decoder.send(GetVariable(key="core's")).value == "value of core's"
        assert time.monotonic() - started < 5
        assert supervisor.disorder == []
