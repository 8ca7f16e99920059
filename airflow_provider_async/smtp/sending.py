# SPDX-License-Identifier: Apache-2.0
"""What ``send_many`` returns: results that are iterated over while the rest is being sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sized
from typing import TYPE_CHECKING, Generic, Literal, Self, TypeAlias, TypeVar

from airflow_provider_async.core.monitor import Monitor
from airflow_provider_async.core.work import Work
from airflow_provider_async.errors import IteratorClosed, SendFailed
from airflow_provider_async.smtp.desk import Desk
from airflow_provider_async.smtp.dispatch import Dispatch
from airflow_provider_async.smtp.results import SendResult, describe

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_async.core.pool import Pool
    from airflow_provider_async.core.progress import Progress
    from airflow_provider_async.smtp.dispatch import SendOptions
    from airflow_provider_async.smtp.results import SendReport
    from airflow_provider_async.smtp.session import Session
    from airflow_provider_async.smtp.throttle import Throttle

__all__ = ["RaiseOn", "Sending"]

T = TypeVar("T")

#: Which results are an error at the end.
RaiseOn: TypeAlias = Literal["any", "all"]


class Sending(Generic[T]):
    """
    The results of :meth:`~airflow_provider_async.smtp.SMTPClientPool.send_many`, to be iterated over once.

    Nothing is sent before the first result is asked for. Leaving early sends nothing more; ``async with`` also waits
    there for the answers that are on their way.
    """

    def __init__(
        self,
        pool: Pool[Session, Session],
        messages: Iterable[T] | AsyncIterable[T],
        options: SendOptions[T],
        *,
        throttle: Throttle,
        ordered: bool,
        raise_on: RaiseOn | None,
    ) -> None:
        self._label = options.label
        self._raise_on = raise_on
        self._work = Work(options.label, total=len(messages) if isinstance(messages, Sized) else None)
        self._desk = Desk(self._work, ordered=ordered)
        self._dispatch = Dispatch(pool, messages, options, throttle=throttle, work=self._work, desk=self._desk)
        self._began = self._closed = False
        self._closing = asyncio.Lock()

    async def __aiter__(self) -> AsyncIterator[SendResult]:
        """Iterate over one :class:`SendResult` for each recipient of each message, as they come."""
        try:
            while (result := await self._next()) is not None:
                yield result
        finally:
            await self.aclose()

    async def batches(self, size: int) -> AsyncIterator[list[SendResult]]:
        """
        Iterate over lists of results.

        :param size: how many results a list has; the last one may have fewer, and so may one before an error.
        """
        if size < 1:
            raise ValueError(f"the size of a batch must be at least 1, not {size}")
        batch: list[SendResult] = []
        try:
            while True:
                try:
                    result = await self._next()
                except Exception:
                    if batch:
                        yield batch
                    raise
                if result is not None:
                    batch.append(result)
                if batch and (result is None or len(batch) == size):
                    yield batch
                    batch = []
                if result is None:
                    return
        finally:
            await self.aclose()

    async def report(self) -> SendReport:
        """
        Send everything, and return the counts: what a task can return.

        :raises SendFailed: as ``raise_on`` says.
        """
        async for _ in self:
            pass
        return self.counts

    @property
    def counts(self) -> SendReport:
        """The report of this moment."""
        return self._desk.summary.report

    @property
    def progress(self) -> Progress:
        """The counts of this moment; its items are messages, of which those failed that were not sent to everyone."""
        return self._work.progress

    async def aclose(self) -> None:
        """Begin nothing more, and wait a moment for answers on their way. Whoever still iterates gets an error."""
        self._closed = True
        # A mere `break` inside `async with` closes twice at once: when the loop drops the iterator, and at the end.
        async with self._closing:
            await self._dispatch.aclose()
            self._work.end()
            self._desk.wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _next(self) -> SendResult | None:
        if self._closed:
            raise IteratorClosed(f"{self._label} was closed while it was iterated over")
        if not self._began:
            self._began = True
            await self._begin()
        while (result := self._desk.take()) is None:
            if self._closed:
                raise IteratorClosed(f"{self._label} was closed while it was iterated over")
            if self._dispatch.is_over:
                self._check_end()
                return None
            await self._desk.wait()
        return result

    async def _begin(self) -> None:
        # Under the lock: a pool that closes at this moment waits, and then ends what has begun.
        async with self._closing:
            if not self._closed:
                self._work.begin(Monitor.current())
                await self._dispatch.begin()

    def _check_end(self) -> None:
        if self._dispatch.error is not None:
            raise self._dispatch.error
        if self._raise_on is None:
            return
        report, outage = self.counts, self._dispatch.outage
        refused = report["rejected"] + report["deferred"] + report["unknown"]
        if refused and (outage is not None or self._raise_on == "any" or not report["sent"]):
            raise SendFailed(f"{self._label}: {describe(report)}", report=report) from outage
