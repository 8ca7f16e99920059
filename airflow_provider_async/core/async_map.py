# SPDX-License-Identifier: Apache-2.0
"""What an ``amap`` gives: results that are iterated over while the rest is being worked on."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sized
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from airflow_provider_async.core.arrivals import Arrivals
from airflow_provider_async.core.monitor import Monitor
from airflow_provider_async.core.outcome import Finished, Outcome
from airflow_provider_async.core.work import Work, item_repr, working_on
from airflow_provider_async.errors import CallCancelled, IteratorClosed

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_async.core.progress import Progress, Tally
    from airflow_provider_async.core.resume import Resume
    from airflow_provider_async.core.retry import Retry

__all__ = ["AsyncMap", "Outcome"]

T = TypeVar("T")
R = TypeVar("R")

#: Items that were taken and not yet delivered, as a multiple of the limit: running calls and finished results.
_WINDOW = 2

#: So many workers are begun at once. Each takes an item in the same turn of the loop, which a slow iterable would stop.
_HIRED_AT_ONCE = 16

#: When so many items were left out one after the other, others have their turn.
_LEFT_OUT_AT_ONCE = 1000


class AsyncMap(Generic[T, R]):
    """
    The results of :func:`amap`, to be iterated over once.

    Leaving early cancels what is in flight. ``async with`` also waits there until that has ended, whereas a mere
    ``break`` out of ``async for`` lets it end on its own.
    """

    def __init__(
        self,
        function: Callable[[T], Awaitable[R]],
        items: Iterable[T] | AsyncIterable[T],
        *,
        limit: int,
        ordered: bool,
        retry: Retry | None,
        resume: Resume[T] | None,
        is_manual: bool,
        label: str,
        tally: Tally | None,
    ) -> None:
        self._function = function
        self._items = items
        self._source: Iterator[T] | AsyncIterator[T] | None = None
        self._limit = limit
        self._retry = retry
        self._resume = resume
        self._is_manual = is_manual
        self._label = label
        self._work = Work(label, total=len(items) if isinstance(items, Sized) else None, tally=tally)
        self._context = Context()
        self._workers: set[asyncio.Task[None]] = set()
        self._taken = 0
        self._delivered = 0
        self._left_out = 0
        self._exhausted = False
        self._closed = False
        self._closing = asyncio.Lock()
        self._stops_at_error = True
        # The error that ends the iteration, once what had finished before it is delivered.
        self._error: BaseException | None = None
        self._arrivals: Arrivals[T] = Arrivals(ordered=ordered)
        self._room: deque[asyncio.Future[None]] = deque()

    def __aiter__(self) -> AsyncIterator[R]:
        """Iterate over the values; the first error cancels the rest and is raised, with a note that names its item."""
        return self._values()

    async def outcomes(self) -> AsyncIterator[Outcome[T, R]]:
        """Iterate over one :class:`Outcome` for each item, errors included; an error does not end it."""
        self._stops_at_error = False
        try:
            while (finished := await self._next()) is not None:
                acknowledge = functools.partial(self._acknowledge, finished) if self._is_manual else None
                yield Outcome(finished.item, finished.value, finished.error, acknowledge)
                if acknowledge is None and finished.error is None:
                    self._acknowledge(finished)
        finally:
            await self.aclose()

    async def batches(self, size: int) -> AsyncIterator[list[R]]:
        """
        Iterate over lists of values.

        :param size: how many values a list has; the last one may have fewer, and so may one before an error.
        """
        if size < 1:
            raise ValueError(f"the size of a batch must be at least 1, not {size}")
        self._check_ack()
        batch: list[Finished[T]] = []
        try:
            while True:
                try:
                    finished = self._ready() or await self._next()
                except Exception:
                    if batch:
                        yield [one.value for one in batch]
                        self._acknowledge(*batch)
                    raise
                if finished is not None:
                    batch.append(finished)
                if len(batch) == size or (finished is None and batch):
                    yield [one.value for one in batch]
                    self._acknowledge(*batch)
                    batch = []
                if finished is None:
                    return
        finally:
            await self.aclose()

    @property
    def limit(self) -> int:
        """How many calls run at once at most. It can be changed at any time; calls that run are left alone."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        has_more = limit > self._limit
        self._limit = limit
        if has_more and self._workers and not self._exhausted and not self._closed:
            # It hires the others as it finds work, and there is room for what it finds.
            self._hire()
            self._let_one_in()

    @property
    def progress(self) -> Progress:
        """The counts of this moment."""
        return self._work.progress

    async def aclose(self) -> None:
        """Cancel the calls in flight and wait until they have ended. Whoever still iterates gets an error."""
        self._closed = True
        self._cancel_workers()
        # A mere `break` inside `async with` closes twice at once: when the loop drops the iterator, and at the end.
        async with self._closing:
            if self._workers:
                await asyncio.wait(self._workers)
            self._end_if_over()
            if (close_source := getattr(self._source, "aclose", None)) is not None:
                await close_source()
            if self._resume is not None:
                self._resume.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _values(self) -> AsyncIterator[R]:
        self._check_ack()
        try:
            while (finished := self._ready() or await self._next()) is not None:
                yield finished.value
                # The consumer came back for the next one.
                if finished.hashed is not None:
                    self._acknowledge(finished)
        finally:
            await self.aclose()

    def _check_ack(self) -> None:
        if self._is_manual:
            raise RuntimeError(f'{self._label}: with ack="manual", iterate over .outcomes() and call ack() on each')

    def _acknowledge(self, *finished: Finished[T]) -> None:
        for one in finished:
            if one.hashed is not None and self._resume is not None:
                self._resume.acknowledge(one.hashed, one.value)

    # The consumer's side.

    def _ready(self) -> Finished[T] | None:
        """Return the next result if it is there already: mostly so, and then nothing need be awaited."""
        if not self._arrivals.ready or (self._resume is not None and self._resume.is_held):
            return None
        self._delivered += 1
        if self._room:
            self._let_one_in()
        return self._arrivals.ready.popleft()

    async def _next(self) -> Finished[T] | None:
        if self._source is None:
            await self._begin()
        while True:
            if self._resume is not None:
                await self._resume.keep_up()
            if (finished := self._ready()) is not None:
                return finished
            if self._closed:
                raise IteratorClosed(f"{self._label} was closed while it was iterated over")
            if not self._workers:
                if self._error is not None:
                    raise self._error
                return None
            if self._arrivals.is_awaited:
                raise RuntimeError(f"{self._label} is iterated over twice at once")
            await self._arrivals.wait()

    async def _begin(self) -> None:
        if self._resume is not None:
            await self._resume.open()
        if self._closed:
            return
        self._work.begin(Monitor.current())
        self._context = copy_context()
        self._context.run(working_on.set, self._work)
        resume = self._resume
        self._deal_with = self._call if resume is None else functools.partial(self._call_unless_done, resume)
        if isinstance(self._items, AsyncIterable):
            self._source = aiter(self._items)
            self._run = functools.partial(self._run_on_async, self._source, asyncio.Lock())
        else:
            self._source = iter(self._items)
            self._run = functools.partial(self._run_on_sync, self._source)
        self._hire()

    def _let_one_in(self) -> None:
        while self._room:
            worker = self._room.popleft()
            if not worker.done():
                worker.set_result(None)
                return

    # The workers' side. Each takes an item, calls the function, hands over the result, and so on: a task for each of
    # `limit` workers is much cheaper than one for each item.

    def _hire(self) -> None:
        """Begin some of the missing workers; the last of them begins the next when it has found an item."""
        loop = asyncio.get_running_loop()
        number = min(_HIRED_AT_ONCE, self._limit - len(self._workers))
        if self._work.total is not None:
            # One in any case: there may be more than was counted.
            number = min(number, max(1, self._work.total - self._taken - self._left_out))
        for left in reversed(range(number)):
            name = f"{self._label} {len(self._workers)}"
            worker = loop.create_task(self._run(hires=not left), name=name, context=self._context.copy())
            self._workers.add(worker)
            worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if self._error is None and not self._closed:
            if worker.cancelled():
                self._error = CallCancelled(f"{self._label}: a call was cancelled from outside")
            else:
                self._error = worker.exception()
        if not self._workers:
            self._end_if_over()

    def _end_if_over(self) -> None:
        if self._closed and not self._workers:
            self._work.end()
        self._arrivals.tell()

    async def _run_on_sync(self, source: Iterator[T], *, hires: bool) -> None:
        while not self._exhausted:
            if len(self._workers) > self._limit:
                self._leave()
                break
            if self._taken - self._delivered >= _WINDOW * self._limit:
                await self._wait_for_room()
                continue
            try:
                item = next(source)
            except StopIteration:
                self._end_of_items()
                break
            if hires:
                self._hire()
                hires = False
            await self._deal_with(item)

    async def _run_on_async(self, source: AsyncIterator[T], one_at_a_time: asyncio.Lock, *, hires: bool) -> None:
        while True:
            async with one_at_a_time:
                while self._taken - self._delivered >= _WINDOW * self._limit:
                    await self._wait_for_room()
                if len(self._workers) > self._limit:
                    self._leave()
                    break
                if self._exhausted:
                    break
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    self._end_of_items()
                    break
            if hires:
                self._hire()
                hires = False
            await self._deal_with(item)

    def _leave(self) -> None:
        """Have the running worker count no more: the limit was lowered, and it ends."""
        # At once, lest others take it for one that goes on. Whoever waits for room has its chance.
        self._workers -= {asyncio.current_task()}
        self._let_one_in()

    def _end_of_items(self) -> None:
        self._exhausted = True
        self._work.total = self._taken + self._left_out

    async def _wait_for_room(self) -> None:
        room = asyncio.get_running_loop().create_future()
        self._room.append(room)
        await room

    def _call_unless_done(self, resume: Resume[T], item: T) -> Awaitable[None]:
        # No coroutine of its own around that of the call, which would cost as much as the rest.
        try:
            hashed, is_done = resume.take(item)
        except Exception as error:  # noqa: BLE001 - it reaches the consumer
            self._stop_at(error)
            return asyncio.sleep(0)
        return self._leave_out(resume, item, hashed) if is_done else self._call(item, hashed)

    async def _leave_out(self, resume: Resume[T], item: T, hashed: int) -> None:
        self._work.done += 1
        self._work.resumed += 1
        if resume.keeps_results:
            index = self._taken
            self._taken += 1
            self._arrivals.put(index, Finished(item, resume.result(hashed)))
            return
        self._left_out += 1
        if self._left_out % _LEFT_OUT_AT_ONCE == 0:
            await asyncio.sleep(0)

    async def _call(self, item: T, hashed: int | None = None) -> None:
        index = self._taken
        self._taken += 1
        value: R | None = None
        error: Exception | None = None
        work = self._work
        began = work.clock()
        try:
            if self._retry is None:
                value = await self._function(item)
            else:
                value = await self._retry.call(functools.partial(self._function, item))
            work.done += 1
        except asyncio.CancelledError as cancellation:
            worker = asyncio.current_task()
            if worker is None or worker.cancelling():
                raise
            error = CallCancelled(f"{self._label} cancelled itself")
            error.__cause__ = cancellation
        except Exception as raised:  # noqa: BLE001 - it reaches the consumer
            error = raised
        if (seconds := work.clock() - began) > work.slow_seconds:
            work.note_slow(item, seconds)
        if error is not None:
            work.note_failure(item, error)
            error.add_note(f"{self._label}: item {item_repr(item)}")
            if self._stops_at_error:
                self._stop_at(error)
                return
        self._arrivals.put(index, Finished(item, value, error, hashed))

    def _stop_at(self, error: Exception) -> None:
        if self._error is None:
            self._error = error
        self._exhausted = True
        self._cancel_workers()

    def _cancel_workers(self) -> None:
        for worker in self._workers:
            # Once is enough: a second cancellation would interrupt the clean-up that the first one began.
            if worker is not asyncio.current_task() and not worker.cancelling():
                worker.cancel()
