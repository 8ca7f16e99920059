# SPDX-License-Identifier: Apache-2.0
"""
One request at a time to the supervisor, whatever thread or coroutine asks.

A task talks to Airflow through one socket to its supervisor: a request goes out, its answer comes back, and
nothing but that order ties the two together. While a coroutine task runs, a :class:`SupervisorProxy` stands in
for core's side of that socket. All requests go through one thread, so that a request that is cancelled, or
whose asker a signal interrupts, is still finished there and its answer read and dropped.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import socket
import struct
import sys
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from types import ModuleType
from typing import TYPE_CHECKING, Any

from airflow_provider_async.errors import SupervisorUnavailable, UnsupportedAirflow

if TYPE_CHECKING:
    from collections.abc import Iterator

_TASK_RUNNER = "airflow.sdk.execution_time.task_runner"
_COMMS = "SUPERVISOR_COMMS"

# The supervisor tries a request to the API server again for a minute or so before it gives up. While it does not
# answer for this long, it has sent no heartbeat either, and Airflow has given the task up.
ANSWER_SECONDS = 300.0

_OVER = "The task is over: what it left behind can ask Airflow's supervisor nothing."

# True in the context of a request that is answered in this process, as under dag.test(), and in whatever thread of
# the API server it is handed to.
_answering: contextvars.ContextVar[bool] = contextvars.ContextVar("answering", default=False)


class SupervisorProxy:
    """
    Stands in for core's ``SUPERVISOR_COMMS`` and lets one request through at a time.

    :param comms: what it stands in for; only it touches the socket
    """

    def __init__(self, comms: Any) -> None:  # noqa: ANN401 - a class of its own on each version
        self._comms = comms
        self._pid = os.getpid()
        self._failure: str | None = None
        self._closed = False
        # Reentrant, because a signal handler may ask too.
        self._gate = threading.RLock()
        self._requests: SimpleQueue[tuple[Future[Any], contextvars.Context, object] | None] = SimpleQueue()
        self._idle = threading.Event()
        self._set_socket_timeout(ANSWER_SECONDS)
        threading.Thread(target=self._serve, name="supervisor-requests", daemon=True).start()

    @property
    def in_process(self) -> bool:
        """Whether requests are answered in this process, as under ``dag.test()``."""
        return not hasattr(self._comms, "socket")

    @property
    def failure(self) -> str | None:
        """Why nothing can be asked any more, or None."""
        return self._failure

    def send(self, msg: object) -> Any:  # noqa: ANN401
        """
        Ask the supervisor and wait for its answer.

        A signal handler that raises interrupts the waiting alone: the answer is read all the same, and dropped.

        :param msg: the request, one of core's models
        :raises SupervisorUnavailable: if the supervisor is gone, or this is another process than the task's
        :return: the answer, one of core's models
        """
        return self._submit(msg).result()

    async def asend(self, msg: object) -> Any:  # noqa: ANN401
        """
        Ask the supervisor without blocking the event loop.

        A request that is cancelled once it is under way is finished in the background, and its answer dropped.

        :param msg: the request, one of core's models
        :raises SupervisorUnavailable: if the supervisor is gone, or this is another process than the task's
        :return: the answer, one of core's models
        """
        return await asyncio.wrap_future(self._submit(msg))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._comms, name)

    def close(self) -> None:
        """Wait for the request under way, so that core finds the socket idle and in step; refuse all others."""
        with self._gate:
            self._closed = True
            self._requests.put(None)
        until = time.monotonic() + ANSWER_SECONDS
        interruption: BaseException | None = None
        # Not Thread.join(): when a signal's handler raises in it, Python 3.11 takes the thread for ended.
        while not self._idle.is_set() and (left := until - time.monotonic()) > 0:
            try:
                self._idle.wait(left)
            except BaseException as error:  # noqa: BLE001 - a signal's: raised when core can be let at the socket
                interruption = error
        self._set_socket_timeout(0)
        if interruption is not None:
            raise interruption

    def _submit(self, msg: object) -> Future[Any]:
        if os.getpid() != self._pid:
            raise SupervisorUnavailable("A process forked by a task cannot ask Airflow's supervisor: ask in the task.")
        answer: Future[Any] = Future()
        with self._gate:
            if self._closed:
                raise SupervisorUnavailable(_OVER)
            self._requests.put((answer, contextvars.copy_context(), msg))
        return answer

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            answer, context, msg = request
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(context.run(self._ask, msg))
                except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
                    answer.set_exception(error)
            del answer, context, msg, request  # or the last one lives until the next
        self._idle.set()

    def _ask(self, msg: object) -> Any:  # noqa: ANN401
        if self._closed:
            raise SupervisorUnavailable(_OVER)
        if self._failure is not None:
            raise SupervisorUnavailable(self._failure)
        if self.in_process:
            _answering.set(True)
            return self._comms.send(msg)
        try:
            return self._comms.send(msg)
        except (OSError, EOFError) as error:
            # Half a frame may have been read or written: what comes next could be anybody's answer.
            silent = isinstance(error, BlockingIOError)
            reason = f"has not answered for {ANSWER_SECONDS:g} s" if silent else f"is gone ({error})"
            self._failure = f"Airflow's supervisor {reason}: the task can ask it nothing more."
            raise SupervisorUnavailable(self._failure) from error

    def _set_socket_timeout(self, seconds: float) -> None:
        """Have the kernel end a wait, because core's code sets the socket to blocking for every answer."""
        if self.in_process:
            return
        fraction, whole = math.modf(seconds)
        timeval = struct.pack("ll", int(whole), int(fraction * 1e6))
        with suppress(OSError):  # closed
            self._comms.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
            self._comms.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)


class _TaskRunnerModule(ModuleType):
    """
    Core's module, in which a request that is answered in this process finds no supervisor.

    Under ``dag.test()`` core takes the module's global away during each request, because code of the API server
    takes its presence to mean "inside a task". Other threads of the task would then find none either. Here the
    global stays, and only the answering side is kept from seeing it.
    """

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        if name == _COMMS and _answering.get():
            raise AttributeError(name)
        return super().__getattribute__(name)


@contextmanager
def one_request_at_a_time() -> Iterator[None]:
    """
    Put a :class:`SupervisorProxy` in the place of core's ``SUPERVISOR_COMMS``; outside a task, do nothing.

    :raises UnsupportedAirflow: before Airflow 3.0.3, whose supervisor is asked in another way
    :return: a context manager, on whose exit everything is as it was
    """
    module = sys.modules.get(_TASK_RUNNER)
    comms = getattr(module, _COMMS, None)
    if module is None or comms is None:
        yield
        return
    if not hasattr(comms, "send"):
        raise UnsupportedAirflow("Async tasks need Airflow 3.0.3 or newer.")
    proxy = SupervisorProxy(comms)
    module_class = module.__class__
    if proxy.in_process:
        module.__class__ = _TaskRunnerModule
    setattr(module, _COMMS, proxy)
    try:
        yield
    finally:
        try:
            proxy.close()
        finally:
            setattr(module, _COMMS, comms)
            module.__class__ = module_class


def supervisor_failure() -> str | None:
    """
    Say why the running task's supervisor can be asked nothing more.

    :return: a sentence, or None if it can be, or if there is none
    """
    comms = getattr(sys.modules.get(_TASK_RUNNER), _COMMS, None)
    return comms.failure if isinstance(comms, SupervisorProxy) else None


def is_supervised() -> bool:
    """Tell whether a task runs in a process that its supervisor has started."""
    comms = getattr(sys.modules.get(_TASK_RUNNER), _COMMS, None)
    return isinstance(comms, SupervisorProxy) and not comms.in_process


def is_in_process() -> bool:
    """Tell whether a task runs in the process that started it, as under ``dag.test()``."""
    comms = getattr(sys.modules.get(_TASK_RUNNER), _COMMS, None)
    return isinstance(comms, SupervisorProxy) and comms.in_process
