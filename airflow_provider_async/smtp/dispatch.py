# SPDX-License-Identifier: Apache-2.0
"""What works while ``send_many`` is iterated over: a task that reads messages, and one for each connection."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

from airflow_provider_async.core.work import item_repr, working_on
from airflow_provider_async.errors import ConnectionFailed, InvalidMessage, OperationTimeout, PoolTimeout
from airflow_provider_async.smtp.courier import Courier
from airflow_provider_async.smtp.delivery import Delivery, Shipment
from airflow_provider_async.smtp.envelope import normal_lines, split
from airflow_provider_async.smtp.ledger import DEFAULT_WINDOW, Ledger
from airflow_provider_async.smtp.outbox import Outbox
from airflow_provider_async.smtp.results import SendResult

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.pool import Pool
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.core.work import Work
    from airflow_provider_async.smtp.desk import Desk
    from airflow_provider_async.smtp.mail import Mail
    from airflow_provider_async.smtp.results import Status
    from airflow_provider_async.smtp.session import Session
    from airflow_provider_async.smtp.throttle import Throttle

__all__ = ["Dispatch", "OnUnknown", "SendOptions"]

T = TypeVar("T")

#: What becomes of a mail that the server may have taken.
OnUnknown: TypeAlias = Literal["report", "resend"]

log = logging.getLogger(__name__)

#: So many mails are ready for each connection.
_READY = 16

#: So many mails wait for their time before others are begun.
_MOST_LATER = 1000

#: How long the last answers are waited for when nobody wants results any more: each that comes is one unknown less.
_LAST_ANSWERS_SECONDS = 0.5

_UNKNOWN_BEFORE = "an earlier try was about to send it, and ended before it knew what became of it"


@dataclass(frozen=True, kw_only=True)
class SendOptions(Generic[T]):
    """
    How messages are sent.

    :param prepare: makes a mail of a message, given what all tries have in common if it is resumed.
    :param key: tells one message from another, if it is resumed.
    :param connections: how many are used at once.
    :param recipients_per_envelope: a mail to more of them goes in several envelopes.
    :param retry: how often a mail is tried.
    :param on_unknown: what becomes of a mail that the server may have taken.
    :param label: what the work is called.
    :param resume: a name, if the next try is to go on.
    :param window: how many mails may be on their way without their outcome written down.
    """

    prepare: Callable[[T, str | None], Mail | Awaitable[Mail]]
    key: Callable[[T], Key]
    connections: int
    recipients_per_envelope: int
    retry: Retry
    on_unknown: OnUnknown
    label: str
    resume: str | None = None
    window: int = DEFAULT_WINDOW


class Dispatch(Generic[T]):
    """
    The tasks that read and send, from the first result that is asked for until the last.

    :param pool: of connections.
    :param messages: what is sent.
    :param options: how.
    :param throttle: the limits of the pool.
    :param work: where messages are counted.
    :param desk: where results go.
    :ivar error: what ended it early.
    :ivar outage: why there is no connection any more; what was left is deferred.
    """

    _outbox: Outbox[Delivery]
    _courier: Courier

    def __init__(
        self,
        pool: Pool[Session, Session],
        messages: Iterable[T] | AsyncIterable[T],
        options: SendOptions[T],
        *,
        throttle: Throttle,
        work: Work,
        desk: Desk,
    ) -> None:
        self.error: BaseException | None = None
        self.outage: PoolTimeout | None = None
        self._pool = pool
        self._messages = messages
        self._options = options
        self._throttle = throttle
        self._work = work
        self._desk = desk
        self._ledger: Ledger | None = None
        if options.resume is not None:
            self._ledger = Ledger(options.resume, window=options.window, release=self._release)
        self._source: AsyncIterator[T] | None = None
        self._taken = 0
        self._feeder: asyncio.Task[None] | None = None
        self._writer: asyncio.Task[None] | None = None
        self._workers: set[asyncio.Task[None]] = set()
        # Those of them that have a connection.
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def is_over(self) -> bool:
        """Whether there will be no more results."""
        return not self._workers and (self._feeder is None or self._feeder.done())

    async def begin(self) -> None:
        """
        Begin.

        :raises CheckpointError: if another work of that name goes on.
        """
        options, loop = self._options, asyncio.get_running_loop()
        self._outbox = Outbox(
            self._throttle, low=_READY * options.connections // 2, room=self._desk.room, admit=self._admit
        )
        self._courier = Courier(
            self._outbox,
            self._throttle.pause,
            retry=options.retry,
            resends_unknown=options.on_unknown == "resend",
            settle=self._settle,
            ledger=self._ledger,
            work=self._work,
            clock=loop.time,
        )
        context = copy_context()
        context.run(working_on.set, self._work)

        def start(work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
            task = loop.create_task(work, name=f"{options.label}{name}", context=context.copy())
            task.add_done_callback(self._ended)
            return task

        if self._ledger is not None:
            await self._ledger.open(is_dry=lambda: not self._outbox.ready)
            self._writer = start(self._ledger.work(), ": ledger")
        self._feeder = start(self._feed(), ": messages")
        self._workers = {start(self._send(), f" {number}") for number in range(options.connections)}

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._workers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.error = self.error or error
            self.stop()
        if self._outbox.is_over:
            # They wait for connections that nobody needs any more.
            for worker in self._workers - self._sending:
                worker.cancel()
        self._desk.wake()

    def stop(self) -> None:
        """Begin nothing more."""
        self._outbox.close()
        for task in (self._feeder, self._writer):
            if task is not None:
                task.cancel()

    async def aclose(self) -> None:
        """Begin nothing more, and wait a moment for answers that are on their way."""
        if self._feeder is not None:
            self.stop()
            await asyncio.wait([task for task in (self._feeder, self._writer) if task is not None])
            for worker in self._workers - self._sending:
                worker.cancel()
            if self._workers:
                _, late = await asyncio.wait(self._workers, timeout=_LAST_ANSWERS_SECONDS)
                for worker in late:
                    worker.cancel()
                if late:
                    await asyncio.wait(late)
        if (close_source := getattr(self._source, "aclose", None)) is not None:
            await close_source()
        if self._ledger is not None:
            self._ledger.close()

    # The messages' side: they are read as fast as they leave.

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
            self._desk.room.clear()
            await self._desk.room.wait()
        options, ledger = self._options, self._ledger
        shipment = Shipment(message, self._taken, 1)
        self._taken += 1
        try:
            key = None if ledger is None else options.key(message)
            mail = options.prepare(message, None if ledger is None or key is None else ledger.run_of(key))
            if inspect.isawaitable(mail):
                mail = await mail
        except InvalidMessage as error:
            # A message that is none is a result of its own, and not the end of all.
            to = getattr(message, "to", "")
            recipient = ", ".join(map(str, to)) if isinstance(to, tuple) else str(to)
            self._desk.deliver(shipment, SendResult("", recipient, "rejected", None, str(error)))
            return
        except Exception as error:
            error.add_note(f"{options.label}: item {item_repr(message)}")
            raise
        content = normal_lines(mail.content)
        shipment.left = len(mail.recipients)
        left = mail.recipients
        if ledger is not None and key is not None:
            left = self._resume(ledger, shipment, mail, key)
        for recipients in split(left, options.recipients_per_envelope):
            delivery = Delivery(mail, content, recipients, shipment)
            if self.outage is not None:
                self._courier.give_up(delivery, str(self.outage))
            elif not self._throttle.allows(len(recipients)):
                self._courier.give_up(delivery, self._throttle.refusal)
            else:
                self._admit(delivery)

    @property
    def _has_room(self) -> bool:
        outbox = self._outbox
        return (
            outbox.ready < _READY * self._options.connections
            and outbox.later < _MOST_LATER
            and (self._ledger is None or self._ledger.has_room)
            and self._desk.has_room(self._taken)
        )

    def _resume(self, ledger: Ledger, shipment: Shipment, mail: Mail, key: Key) -> tuple[str, ...]:
        """Return the recipients that are left to be sent to."""
        known = {recipient: ledger.take(key, recipient) for recipient in mail.recipients}
        shipment.hashes = {recipient: hashed for recipient, (hashed, _) in known.items()}
        left = []
        for recipient, (_, status) in known.items():
            if status is None or (status == "unknown" and self._options.on_unknown == "resend"):
                left.append(recipient)
            elif status == "unknown":
                self._desk.deliver(shipment, SendResult(mail.message_id, recipient, status, None, _UNKNOWN_BEFORE))
            else:
                self._desk.resume(shipment, status)
        return tuple(left)

    def _admit(self, delivery: Delivery) -> None:
        if self._ledger is None:
            self._outbox.put(delivery)
        else:
            self._outbox.hold()
            self._ledger.add(delivery)

    def _release(self, delivery: Delivery) -> None:
        self._outbox.release(delivery)

    # The connections' side.

    async def _send(self) -> None:
        me = asyncio.current_task()
        assert me is not None  # noqa: S101 - this is a task
        loop, courier = asyncio.get_running_loop(), self._courier
        while await self._outbox.wait():
            settled, began = courier.settled, loop.time()
            try:
                async with self._pool.lease() as session:
                    self._sending.add(me)
                    self._outbox.arrive()
                    await session.send(courier)
            except PoolTimeout as error:
                # The server may take no more connections than there are.
                if not self._sending:
                    self._give_up(error)
            except (ConnectionFailed, OperationTimeout) as error:
                log.debug("%s: %s", self._options.label, error)
                if courier.settled == settled:
                    # A connection that comes to nothing at all is a reason to slow down.
                    self._throttle.pause.refused(began)
            finally:
                if me not in self._sending:
                    self._outbox.arrive()
                self._sending.discard(me)

    def _give_up(self, error: PoolTimeout) -> None:
        """Defer what is left."""
        self.outage = error
        for delivery in self._outbox.empty():
            self._courier.give_up(delivery, str(error))

    def _settle(self, delivery: Delivery, recipient: str, status: Status, code: int | None, response: str) -> None:
        if self._ledger is not None:
            self._ledger.settle(delivery, recipient, status)
        if status == "sent":
            self._work.tally.bytes += len(delivery.content)
        self._desk.deliver(delivery.shipment, SendResult(delivery.mail.message_id, recipient, status, code, response))
