# SPDX-License-Identifier: Apache-2.0
"""Many messages over a few connections: what ``send_many`` returns."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sized
from contextvars import copy_context
from typing import TYPE_CHECKING, Generic, Literal, Self, TypeAlias, TypeVar

from airflow_provider_async.core.monitor import Monitor
from airflow_provider_async.core.progress import Tally
from airflow_provider_async.core.work import Work, item_repr, working_on
from airflow_provider_async.errors import (
    ConnectionFailed,
    InvalidMessage,
    IteratorClosed,
    OperationTimeout,
    PoolTimeout,
    SendFailed,
)
from airflow_provider_async.smtp.courier import Courier
from airflow_provider_async.smtp.delivery import Delivery, Shipment
from airflow_provider_async.smtp.envelope import normal_lines, split
from airflow_provider_async.smtp.ledger import DEFAULT_WINDOW, Ledger
from airflow_provider_async.smtp.outbox import Outbox
from airflow_provider_async.smtp.results import SendResult, Summary, describe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.pool import Pool
    from airflow_provider_async.core.progress import Progress
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.smtp.mail import Mail
    from airflow_provider_async.smtp.results import SendReport, Status
    from airflow_provider_async.smtp.session import Session
    from airflow_provider_async.smtp.throttle import Throttle

__all__ = ["OnUnknown", "RaiseOn", "Sending"]

T = TypeVar("T")

#: What becomes of a mail that the server may have taken.
OnUnknown: TypeAlias = Literal["report", "resend"]

#: Which results are an error at the end.
RaiseOn: TypeAlias = Literal["any", "all"]

log = logging.getLogger(__name__)

#: So many mails are ready for each connection.
_READY = 16

#: So many results wait for the consumer, or for their turn, and so many mails for their time, before others are begun.
_MOST_WAITING = 1000

#: How long the last answers are waited for when nobody wants results any more: each that comes is one unknown less.
_LAST_ANSWERS_SECONDS = 0.5

_UNKNOWN_BEFORE = "an earlier try was about to send it, and ended before it knew what became of it"


class Sending(Generic[T]):
    """
    The results of :meth:`~airflow_provider_async.smtp.SMTPClientPool.send_many`, to be iterated over once.

    Nothing is sent before the first result is asked for. Leaving early sends nothing more; ``async with`` also waits
    there for the answers that are on their way.
    """

    def __init__(
        self,
        pool: Pool[Session, Session],
        prepare: Callable[[T, str | None], Mail | Awaitable[Mail]],
        messages: Iterable[T] | AsyncIterable[T],
        *,
        throttle: Throttle,
        connections: int,
        recipients_per_envelope: int,
        ordered: bool,
        retry: Retry,
        on_unknown: OnUnknown,
        raise_on: RaiseOn | None,
        label: str,
        resume: str | None = None,
        key: Callable[[T], Key],
        window: int = DEFAULT_WINDOW,
    ) -> None:
        self._pool = pool
        self._prepare = prepare
        self._messages = messages
        self._throttle = throttle
        self._connections = connections
        self._recipients_per_envelope = recipients_per_envelope
        self._ordered = ordered
        self._retry = retry
        self._on_unknown = on_unknown
        self._raise_on = raise_on
        self._label = label
        self._key = key
        self._ledger = None if resume is None else Ledger(resume, window=window, release=self._release)
        self._writer: asyncio.Task[None] | None = None
        self._tally = Tally()
        self._work = Work(label, total=len(messages) if isinstance(messages, Sized) else None, tally=self._tally)
        self._summary = Summary()
        self._source: AsyncIterator[T] | None = None
        self._feeder: asyncio.Task[None] | None = None
        self._workers: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._began = self._closed = False
        self._closing = asyncio.Lock()
        # What ends the iteration, once all results that there are have been delivered.
        self._error: BaseException | None = None
        # Why there is no connection any more, and never will be.
        self._outage: PoolTimeout | None = None
        self._taken = 0
        self._delivered = 0
        self._out_of_order: dict[int, list[SendResult]] = {}
        self._results: deque[SendResult] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._room = asyncio.Event()

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

        :param size: how many results a list has; the last one may have fewer.
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
        Send what is left, and return the counts: what a task can return.

        :raises SendFailed: as ``raise_on`` says.
        """
        if not self._closed:
            async for _ in self:
                pass
        return self._summary.report

    @property
    def counts(self) -> SendReport:
        """The report of this moment."""
        return self._summary.report

    @property
    def progress(self) -> Progress:
        """The counts of this moment; its items are messages, and those of which a recipient was not sent to failed."""
        return self._work.progress

    async def aclose(self) -> None:
        """Begin nothing more, and wait a moment for answers on their way. Whoever still iterates gets an error."""
        self._closed = True
        async with self._closing:
            if not self._began:
                return
            self._stop()
            if tasks := [task for task in (self._feeder, self._writer) if task is not None]:
                await asyncio.wait(tasks)
            for worker in self._workers - self._sending:
                worker.cancel()
            if self._workers:
                _, late = await asyncio.wait(self._workers, timeout=_LAST_ANSWERS_SECONDS)
                for worker in late:
                    worker.cancel()
                if late:
                    await asyncio.wait(late)
            if self._ledger is not None:
                self._ledger.close()
            if (close_source := getattr(self._source, "aclose", None)) is not None:
                await close_source()
            self._work.end()
            self._tell_consumer()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.aclose()

    # The consumer's side.

    async def _next(self) -> SendResult | None:
        if not self._began and not self._closed:
            await self._begin()
        while True:
            if self._results:
                result = self._results.popleft()
                if len(self._results) < _MOST_WAITING // 2:
                    self._room.set()
                return result
            if self._closed:
                raise IteratorClosed(f"{self._label} was closed while it was iterated over")
            if self._is_over:
                self._check_end()
                return None
            if self._arrival is not None:
                raise RuntimeError(f"{self._label} is iterated over twice at once")
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None

    @property
    def _is_over(self) -> bool:
        return not self._workers and (self._feeder is None or self._feeder.done())

    def _check_end(self) -> None:
        if self._error is not None:
            raise self._error
        if self._raise_on is None:
            return
        report = self._summary.report
        sent, refused = report["sent"], report["rejected"] + report["deferred"] + report["unknown"]
        if refused and (self._outage is not None or self._raise_on == "any" or not sent):
            raise SendFailed(f"{self._label}: {describe(report)}", report=report) from self._outage

    async def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._outbox: Outbox[Delivery] = Outbox(
            self._throttle, low=_READY * self._connections // 2, room=self._room, admit=self._admit
        )
        if self._ledger is not None:
            await self._ledger.open(is_dry=lambda: not self._outbox.ready)
        if self._closed:
            return
        self._began = True
        self._work.begin(Monitor.current())
        context = copy_context()
        context.run(working_on.set, self._work)
        self._courier = Courier(
            self._outbox,
            self._throttle.pause,
            retry=self._retry,
            resends_unknown=self._on_unknown == "resend",
            settle=self._settle,
            ledger=self._ledger,
            work=self._work,
            clock=loop.time,
        )
        self._feeder = loop.create_task(self._feed(), name=f"{self._label}: messages", context=context)
        self._feeder.add_done_callback(self._ended)
        if self._ledger is not None:
            self._writer = loop.create_task(self._ledger.work(), name=f"{self._label}: ledger", context=context)
            self._writer.add_done_callback(self._ended)
        for number in range(self._connections):
            worker = loop.create_task(self._send(), name=f"{self._label} {number}", context=context.copy())
            self._workers.add(worker)
            worker.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._workers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._error = self._error or error
            self._stop()
        if self._outbox.is_over:
            # They wait for connections that nobody needs any more.
            for worker in self._workers - self._sending:
                worker.cancel()
        self._tell_consumer()

    def _stop(self) -> None:
        self._outbox.close()
        for task in (self._feeder, self._writer):
            if task is not None:
                task.cancel()

    # The messages' side: one task reads them, as fast as they leave.

    async def _feed(self) -> None:
        if isinstance(self._messages, AsyncIterable):
            self._source = aiter(self._messages)
            async for message in self._source:
                await self._take(message)
        else:
            for message in self._messages:
                await self._take(message)
        self._work.total = self._taken
        self._outbox.complete()

    async def _take(self, message: T) -> None:
        while not self._has_room:
            self._room.clear()
            await self._room.wait()
        shipment = Shipment(message, self._taken, 0)
        self._taken += 1
        try:
            mail = self._prepare(message, None if self._ledger is None else self._ledger.run)
            if inspect.isawaitable(mail):
                mail = await mail
        except InvalidMessage as error:
            self._refuse(shipment, error)
            return
        except Exception as error:
            error.add_note(f"{self._label}: item {item_repr(message)}")
            raise
        content = normal_lines(mail.content)
        shipment.left = len(mail.recipients)
        to_send: Sequence[str] = mail.recipients
        if self._ledger is not None:
            to_send = self._resume(self._ledger, shipment, mail, self._key(message))
        for recipients in split(to_send, self._recipients_per_envelope):
            delivery = Delivery(mail, content, recipients, shipment)
            if self._outage is not None:
                self._courier.give_up(delivery, str(self._outage))
            elif not self._throttle.allows(len(recipients)):
                self._courier.give_up(delivery, self._throttle.refusal)
            else:
                self._admit(delivery)

    def _resume(self, ledger: Ledger, shipment: Shipment, mail: Mail, key: Key) -> list[str]:
        """Return the recipients that are left to be sent to, when those that earlier tries have settled are counted."""
        to_send, unknown = [], []
        for recipient in mail.recipients:
            hashed, status = ledger.take(key, recipient)
            if status is None or (status == "unknown" and self._on_unknown == "resend"):
                shipment.hashes[recipient] = hashed
                to_send.append(recipient)
            elif status == "unknown":
                unknown.append(recipient)
            else:
                self._summary.resume(status)
        shipment.left = len(to_send) + len(unknown)
        if not shipment.left:
            self._work.resumed += 1
            self._finish(shipment)
        for recipient in unknown:
            self._deliver(shipment, SendResult(mail.message_id, recipient, "unknown", None, _UNKNOWN_BEFORE))
        return to_send

    def _admit(self, delivery: Delivery) -> None:
        if self._ledger is None:
            self._outbox.put(delivery)
        else:
            self._outbox.hold()
            self._ledger.add(delivery)

    def _release(self, delivery: Delivery) -> None:
        self._outbox.release(delivery)

    @property
    def _has_room(self) -> bool:
        outbox = self._outbox
        return (
            outbox.ready < _READY * self._connections
            and outbox.later < _MOST_WAITING
            and len(self._results) < _MOST_WAITING
            and (self._ledger is None or self._ledger.has_room)
            and (not self._ordered or self._taken - self._delivered < _MOST_WAITING)
        )

    def _refuse(self, shipment: Shipment, error: InvalidMessage) -> None:
        """Let a message that is none be the result of its own, and not the end of all."""
        shipment.left = 1
        recipient = getattr(shipment.item, "to", "")
        self._deliver(shipment, SendResult("", str(recipient), "rejected", None, str(error)))

    # The connections' side: a worker for each.

    async def _send(self) -> None:
        me = asyncio.current_task()
        assert me is not None  # noqa: S101 - this is a task
        loop, courier = asyncio.get_running_loop(), self._courier
        while await self._outbox.wait():
            settled, began = courier.settled, loop.time()
            try:
                async with self._pool.lease() as session:
                    self._sending.add(me)
                    await session.send(courier)
            except PoolTimeout as error:
                # The server may take no more connections than there are.
                if not self._sending - {me}:
                    self._give_up(error)
            except (ConnectionFailed, OperationTimeout) as error:
                log.debug("%s: %s", self._label, error)
                if courier.settled == settled:
                    # A connection that comes to nothing at all is a reason to slow down.
                    self._throttle.pause.refused(began)
            finally:
                self._sending.discard(me)

    def _give_up(self, error: PoolTimeout) -> None:
        """Give up what is left: it is deferred, not lost."""
        self._outage = error
        for delivery in self._outbox.empty():
            self._courier.give_up(delivery, str(error))

    def _settle(self, delivery: Delivery, recipient: str, status: Status, code: int | None, response: str) -> None:
        result = SendResult(delivery.mail.message_id, recipient, status, code, response)
        if self._ledger is not None:
            self._ledger.settle(delivery, recipient, status)
        if status == "sent":
            self._tally.bytes += len(delivery.content)
        self._deliver(delivery.shipment, result)

    def _deliver(self, shipment: Shipment, result: SendResult) -> None:
        self._summary.add(result)
        shipment.left -= 1
        if result.status != "sent" and shipment.failure is None:
            shipment.failure = result
        if self._ordered:
            shipment.results.append(result)
        else:
            self._results.append(result)
        if shipment.left == 0:
            self._finish(shipment)
        self._tell_consumer()

    def _finish(self, shipment: Shipment) -> None:
        if (failure := shipment.failure) is None:
            self._work.done += 1
        else:
            code = "" if failure.code is None else f"{failure.code} "
            self._work.note_failure(
                shipment.item, ConnectionFailed(f"{failure.recipient} {failure.status}: {code}{failure.response}")
            )
        if self._ordered:
            self._out_of_order[shipment.index] = shipment.results
            while (results := self._out_of_order.pop(self._delivered, None)) is not None:
                self._delivered += 1
                self._results.extend(results)
            self._room.set()

    def _tell_consumer(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
