# SPDX-License-Identifier: Apache-2.0
"""Pool: a semaphore and reuse."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import math
import time
from typing import TYPE_CHECKING, Generic, Literal, Self, TypeVar, cast

from airflow_provider_async.core.attached import Attached
from airflow_provider_async.core.checks import check_at_least
from airflow_provider_async.core.connector import Connector
from airflow_provider_async.core.health import Health
from airflow_provider_async.core.lease import Lease
from airflow_provider_async.core.monitor import Monitor
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.core.slots import PoolStatistics, Slot, Slots
from airflow_provider_async.core.waiters import Waiter, Waiters
from airflow_provider_async.errors import PoolClosed, PoolConnectError, PoolTimeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from types import TracebackType

    from tenacity import RetryCallState

    from airflow_provider_async.core.attached import Closeable, Limited

__all__ = ["Pool", "PoolStatistics"]

R = TypeVar("R")
V = TypeVar("V")

log = logging.getLogger(__name__)

#: No more resources than this are being opened at once: OpenSSH refuses logins above ten that are half done.
_CONNECTING_AT_ONCE = 8

#: What each of the three steps of closing may take when the pool is left by a cancellation: two seconds in all.
_HURRIED_STEP_SECONDS = 0.6


class Pool(Generic[R, V]):
    """
    Resources that are opened on demand, leased to many callers, reused, and closed at the end.

    ``async with pool:`` opens the pool (and nothing else), ``async with pool.lease() as resource:`` borrows from it.
    Waiters are served first come, first served. A pool belongs to one event loop and is entered once.

    :param connect: opens one resource.
    :param close: closes one resource; it may be cancelled when it takes longer than ``close_timeout``.
    :param size: how many resources may be open at once, those included that are about to be closed.
    :param leases: how many leases one resource takes at once: 1 is exclusive use, more is multiplexing.
    :param limit: how many leases may be out over all; ``size * leases`` by default.
    :param is_usable: tells whether a resource can still be handed out, without I/O; asked before each lease.
    :param is_broken: tells whether an error that leaves a lease means that its resource is broken. Asked for the error,
        its causes and the parts of exception groups.
    :param after_cancel: ``"discard"`` if a resource is spoiled when whoever leased it is cancelled.
    :param view: makes of a resource what a lease gets; by default the resource itself.
    :param acquire_timeout: seconds that a lease is waited for.
    :param close_timeout: seconds that leases have to return when the pool closes, and that closing a resource may take.
    :param max_idle: seconds after which an unused resource is closed.
    :param max_lifetime: seconds after which a resource is replaced, shortened at random by up to a tenth.
    :param max_uses: leases after which a resource is replaced.
    :param retry: which connect errors are tried again and with what back-off, for as long as somebody waits; its number
        of attempts and its budget do not count here. Any other error is final: the pool does not connect again.
    :param clock: seconds, for ``max_idle`` and ``max_lifetime``.
    :param name: stands in errors.
    """

    _monitor: Monitor

    def __init__(
        self,
        connect: Callable[[], Awaitable[R]],
        *,
        close: Callable[[R], Awaitable[object]],
        size: int,
        leases: int = 1,
        limit: int | None = None,
        is_usable: Callable[[R], bool] | None = None,
        is_broken: Callable[[BaseException], bool] | None = None,
        after_cancel: Literal["keep", "discard"] = "keep",
        view: Callable[[R], V] | None = None,
        acquire_timeout: float = 30.0,
        close_timeout: float = 30.0,
        max_idle: float | None = None,
        max_lifetime: float | None = None,
        max_uses: int | None = None,
        retry: Retry | None = None,
        clock: Callable[[], float] = time.monotonic,
        name: str = "pool",
    ) -> None:
        check_at_least(1, name, size=size, leases=leases, limit=limit, max_uses=max_uses)
        check_at_least(0, name, acquire_timeout=acquire_timeout, close_timeout=close_timeout)
        check_at_least(0, name, max_idle=max_idle, max_lifetime=max_lifetime)
        if after_cancel not in ("keep", "discard"):
            raise ValueError(f"{name}: after_cancel must be 'keep' or 'discard', not {after_cancel!r}")
        self.name = name
        self.is_governed = False  # whether the limit is being found out
        self._close_resource = close
        self._health = Health(is_usable=is_usable, is_broken=is_broken, discards_cancelled=after_cancel == "discard")
        self._connector = Connector(connect, close=close, is_usable=self._health.is_usable)
        self._view = view or (lambda resource: cast("V", resource))
        self._close_timeout = close_timeout
        self._retry = retry or Retry()
        self._slots: Slots[R] = Slots(
            size=size,
            leases=leases,
            limit=size * leases if limit is None else limit,
            is_usable=self._health.is_usable,
            max_idle=max_idle,
            max_lifetime=max_lifetime,
            max_uses=max_uses,
            clock=clock,
        )
        self._waiters: Waiters[Slot[R]] = Waiters(acquire_timeout, self._timeout)
        self._attached = Attached()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._refusal: BaseException | None = None
        self._state: Literal["new", "open", "closing", "closed"] = "new"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._closer: asyncio.Task[None] | None = None
        self._step_seconds = close_timeout
        self._step: asyncio.Timeout | None = None

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise RuntimeError(f"{self.name} was entered before; a pool is entered once")
        self._loop = asyncio.get_running_loop()
        self._state = "open"
        self._monitor = Monitor.current()
        self._monitor.pool_opened(self)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if isinstance(exc, asyncio.CancelledError):
            self._hurry_up()
        await self.close()

    async def close(self) -> None:
        """
        End the iterators, refuse new leases, let those that are out return, and close every resource.

        Leases have ``close_timeout`` seconds to return. A cancellation shortens the rest to two seconds.
        """
        if self._closer is None:
            self._closer = asyncio.get_running_loop().create_task(self._shut_down(), name=f"{self.name}: close")
        cancellation: asyncio.CancelledError | None = None
        while not self._closer.done():
            try:
                await asyncio.wait([self._closer])
            except asyncio.CancelledError as error:
                cancellation = error
                self._hurry_up()
        if cancellation is not None:
            raise cancellation

    def lease(self) -> Lease[R, V]:
        """
        Borrow a resource: ``async with pool.lease() as resource:``.

        An error of the caller's own leaves the resource in use; one that means that it is broken retires it.

        :raises PoolTimeout: if none was free within the acquire time-out.
        :raises PoolConnectError: if a connection was refused for good and none is open.
        :raises PoolClosed: if the pool is closed, or is being closed.
        """
        return Lease(self)

    @property
    def limit(self) -> int:
        """How many leases may be out over all. It can be changed at any time; leases that are out are left alone."""
        return self._slots.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        check_at_least(1, self.name, limit=limit)
        self._slots.limit = limit
        self._attached.set_limit(limit)
        if self._state == "open":
            self._serve()

    def attach(self, iterator: Closeable) -> None:
        """Have an iterator that uses this pool ended (``aclose()``) before the pool closes."""
        self._attached.add(iterator)

    def follow(self, follower: Limited, *, most: int) -> None:
        """Have the limit of something that uses this pool changed with the pool's, but never above ``most``."""
        self._attached.follow(follower, most)

    def statistics(self) -> PoolStatistics:
        """Return the counts of this moment."""
        return self._slots.statistics(
            waiting=len(self._waiters),
            connects=self._connector.connects,
            connect_errors=self._connector.errors,
            waits=self._waiters.waits,
            wait_seconds=self._waiters.wait_seconds,
            auto=self.is_governed,
        )

    def __repr__(self) -> str:
        slots = self._slots
        return (
            f"<Pool {self.name!r} {self._state}: {slots.open} of {slots.size} open, "
            f"{slots.leased} of {slots.limit} leased, {len(self._waiters)} waiting>"
        )

    # Leases. Between taking a slot and handing it to its lease nothing is awaited, so that a cancellation
    # finds it either with the pool or with the lease.

    async def _acquire(self) -> Slot[R]:
        slot = self._take()
        return slot if slot is not None else await self._wait()

    def _take(self) -> Slot[R] | None:
        slots = self._slots
        if self._state == "open" and not self._waiters and (slot := slots.take()) is not None:
            if slots.doomed or slots.is_crowded(slot):
                self._serve()
            return slot
        return None

    async def _wait(self) -> Slot[R]:
        if self._state != "open":
            raise PoolClosed(f"{self.name} is {'not open; use async with' if self._state == 'new' else 'closed'}")
        if (loop := asyncio.get_running_loop()) is not self._loop:
            raise RuntimeError(f"{self.name} belongs to another event loop")
        waiter = self._waiters.join()
        began = loop.time()
        self._serve()
        try:
            return await waiter
        except BaseException:
            self._waiters.leave(waiter)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release(waiter.result(), broken=False)
            raise
        finally:
            self._waiters.count(loop.time() - began)

    def _release(self, slot: Slot[R], *, broken: bool) -> None:
        self._slots.give_back(slot, broken=broken)
        if self._waiters or self._slots.doomed or self._state != "open":
            self._serve()
        if self._slots.ages and slot.leased == 0:
            self._close_idle()

    # Decisions. `_serve` is called after every change: it hands out what can be handed out, begins to close what
    # has to go and begins to open what is missing.

    def _serve(self) -> None:
        slots = self._slots
        if self._state != "open":
            slots.retire_all()
        self._waiters.serve(slots.take)
        while slots.doomed:
            self._start(self._close_one(slots.doomed.pop()), self._closing)
        if self._state == "open":
            if self._refusal is None:
                self._open_missing()
            elif not slots.usable and not slots.connecting:
                self._waiters.fail(self._refused)
        self._changed.set()

    def _open_missing(self) -> None:
        at_once = 1 if self._connector.is_failing else _CONNECTING_AT_ONCE
        while self._slots.connecting < at_once and self._slots.wants_another(len(self._waiters)):
            if self._connector.is_failing and not self._waiters:
                return
            self._slots.connecting += 1
            self._start(self._open_one(), self._connecting)

    def _refused(self) -> PoolConnectError:
        error = PoolConnectError(f"{self.name}: connecting failed and is not tried again: {_describe(self._refusal)}")
        error.__cause__ = self._refusal
        return error

    def _timeout(self, waiter: Waiter, waited: float) -> PoolTimeout:
        slots = self._slots
        cause = self._connector.last_error if self._connector.is_failing else None
        because = f"; connecting fails with {_describe(cause)}" if cause is not None else ""
        error = PoolTimeout(
            f"{self.name}: {waiter.name} waited {waited:.1f} s for a lease: {slots.open} of {slots.size} open, "
            f"{slots.leased} of {slots.limit} leased, {len(self._waiters)} waiting{because}"
        )
        error.__cause__ = cause
        return error

    def _close_idle(self) -> None:
        """Close the idle resources that are due, and come back when the next one is."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._state == "open" and (due_in := self._slots.retire_idle()) < math.inf:
            self._idle_timer = asyncio.get_running_loop().call_later(due_in, self._close_idle)
        if self._slots.doomed:
            self._serve()

    # I/O, in tasks of the pool's own: an acquirer that is cancelled leaves no half-open connection behind.

    def _start(self, work: Coroutine[object, object, None], tasks: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def _open_one(self) -> None:
        def nobody_waits(_: RetryCallState) -> bool:
            return not self._waiters

        opened = functools.partial(self._monitor.connection_opened, self.name)
        try:
            resource: R = await self._retry.retrying(stop=nobody_waits)(self._connector.open, opened)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - those who wait are told
            if self._state == "open" and not self._retry.is_transient(error):
                self._refusal = error
        else:
            self._slots.add(resource)
        self._slots.connecting -= 1
        self._serve()
        if self._slots.ages:
            self._close_idle()

    async def _close_one(self, slot: Slot[R]) -> None:
        try:
            async with asyncio.timeout(self._close_timeout):
                await self._close_resource(slot.resource)
        except Exception as error:
            # It is given up: nothing more can be done about it, and nobody waits for it.
            log.debug("%s: closing a resource failed", self.name, exc_info=error)
        finally:
            self._slots.forget(slot)
            self._monitor.connection_closed(self.name)
            self._serve()

    # Closing.

    def _hurry_up(self) -> None:
        self._step_seconds = min(self._step_seconds, _HURRIED_STEP_SECONDS)
        if self._step is not None:
            in_a_hurry = asyncio.get_running_loop().time() + self._step_seconds
            self._step.reschedule(min(self._step.when() or in_a_hurry, in_a_hurry))

    async def _give_time_to(self, step: Awaitable[object]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._step_seconds) as self._step:
                await step
        self._step = None

    async def _shut_down(self) -> None:
        await self._give_time_to(self._attached.aclose())
        self._state = "closing"
        self._waiters.fail(lambda: PoolClosed(f"{self.name} was closed while a lease was waited for"))
        self._waiters.stop()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        _cancel(self._connecting)
        self._serve()
        await self._give_time_to(self._everything_returned())
        self._slots.retire_all(even_leased=True)
        self._serve()
        await self._give_time_to(self._everything_closed())
        _cancel(self._closing)
        await asyncio.gather(*self._closing, return_exceptions=True)
        self._state = "closed"
        if self._loop is not None:
            self._monitor.pool_closed(self)

    async def _everything_returned(self) -> None:
        while self._slots.leased or self._slots.connecting:
            self._changed.clear()
            await self._changed.wait()

    async def _everything_closed(self) -> None:
        while self._closing:
            await asyncio.wait(self._closing)


def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def _describe(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {error}"
