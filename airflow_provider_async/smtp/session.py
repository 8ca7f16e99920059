# SPDX-License-Identifier: Apache-2.0
"""One connection on which mails are sent: where the dialogue meets the network and the clock."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol, cast

import aiosmtplib

from airflow_provider_async.errors import ConnectionFailed, OperationTimeout
from airflow_provider_async.smtp.dialogue import Dialogue
from airflow_provider_async.smtp.envelope import Extensions

if TYPE_CHECKING:
    from airflow_provider_async.smtp.dialogue import Transaction
    from airflow_provider_async.smtp.login import Connecting
    from airflow_provider_async.smtp.options import SMTPOptions

__all__ = ["Session", "Source", "is_broken", "quit_politely"]

#: How long a server may take to say goodbye.
_QUIT_SECONDS = 5.0


#: Of this package, and of aiosmtplib where the connection is lent.
_BROKEN = (ConnectionFailed, OperationTimeout, aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError)


class Source(Protocol):
    """Where a session gets its mails from."""

    def next(self, extensions: Extensions, *, chunks: bool) -> Transaction | None:
        """Return what is to be sent next; ``None`` if there is nothing now."""

    def ended(self, transaction: Transaction) -> None:
        """Hear that one has come to an end, one way or another."""


def is_broken(error: BaseException) -> bool:
    """Tell whether an error that left a lease means that its connection cannot be used again."""
    return isinstance(error, _BROKEN)


async def quit_politely(client: aiosmtplib.SMTP) -> None:
    """Say QUIT and close the connection, whatever the server says to that."""
    try:
        with contextlib.suppress(aiosmtplib.SMTPException, TimeoutError, OSError):
            await client.quit(timeout=_QUIT_SECONDS)
    finally:
        client.close()


class Session(asyncio.Protocol):
    """
    A connection, taken over from aiosmtplib when it is logged in.

    :param client: connected and logged in.
    :param options: of the Connection.
    :ivar mails: how many were begun on it.
    """

    def __init__(self, client: aiosmtplib.SMTP, options: SMTPOptions) -> None:
        self.client = client
        self.extensions = Extensions.of(client.esmtp_extensions)
        self.mails = 0
        self._options = options
        self._dialogue = Dialogue(
            pipelining=self.extensions.pipelining,
            window=options.chunking_window if self.extensions.chunking else 0,
        )
        self._loop = asyncio.get_running_loop()
        self._source: Source | None = None
        self._finished: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._is_paused = False
        self._is_lost = False
        self._heard_at = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._transport = self._take_over()

    @classmethod
    async def open(cls, connecting: Connecting, options: SMTPOptions) -> Session:
        """
        Connect and log in.

        :raises aiosmtplib.SMTPException: if that fails.
        """
        return cls(await connecting(), options)

    async def close(self) -> None:
        """Say goodbye, if there is somebody to hear it."""
        if self._is_alive and self._dialogue.is_idle:
            self.hand_back()
            await quit_politely(self.client)
        else:
            self._transport.abort()
            self.client.close()

    @property
    def is_usable(self) -> bool:
        """Whether another mail can be sent on it."""
        return self._is_alive and self.mails < self._options.limits.messages_per_connection

    @property
    def _is_alive(self) -> bool:
        return not (
            self._is_lost or self._dialogue.is_closing or self._failure is not None or self._transport.is_closing()
        )

    def hand_back(self) -> aiosmtplib.SMTP:
        """Let aiosmtplib have the connection, between two mails; :meth:`take_back` ends that."""
        if self.client.protocol is not None:
            self._transport.set_protocol(self.client.protocol)
        return self.client

    def take_back(self) -> None:
        """Take the connection over again."""
        if self.client.transport is None or self.client.transport.is_closing():
            self._is_lost = True
        else:
            self._take_over()
            # Who had it may have left an envelope half written.
            self._dialogue.needs_reset = True

    def _take_over(self) -> asyncio.Transport:
        transport = cast("asyncio.Transport | None", self.client.transport)
        if transport is None:
            raise ConnectionFailed("the connection was lost as soon as it was open")
        transport.set_protocol(self)
        # What is not with the operating system yet is not sent: so it is known whether a final dot can have arrived.
        # One, for to asyncio's TLS an empty buffer has reached a limit of zero.
        transport.set_write_buffer_limits(high=1, low=0)
        return transport

    async def send(self, source: Source) -> None:
        """
        Send what a source has, until it has nothing more or the connection takes no more.

        :param source: told what becomes of each mail, also when this raises an error or is cancelled.
        :raises ConnectionFailed: if the connection was lost, or the server says that it will be.
        :raises OperationTimeout: if the server did not answer in time.
        """
        self._source = source
        self._finished = self._loop.create_future()
        self._heard_at = self._loop.time()
        try:
            self._proceed()
            await self._finished
        finally:
            if self._watch is not None:
                self._watch.cancel()
                self._watch = None
            if not self._dialogue.is_idle:
                # It was cancelled; what the server would answer now belongs to nothing any more.
                self._dialogue.lose()
                self._transport.abort()
            self._tell(source)
            self._source = self._finished = None

    # The network's side. What goes wrong in here would look like a lost connection, so it is caught.

    def data_received(self, data: bytes) -> None:
        """Hear the server."""
        self._heard_at = self._loop.time()
        try:
            self._dialogue.receive(data)
            self._proceed()
        except Exception as error:  # noqa: BLE001 - whoever sends is told
            self._fail(error)

    def eof_received(self) -> bool:
        """Hear that the server closes the connection; there is nothing more to be said then."""
        return False

    def pause_writing(self) -> None:
        """Hear that what was written has not all gone."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Hear that it has."""
        self._is_paused = False
        self._heard_at = self._loop.time()
        try:
            self._write()
        except Exception as error:  # noqa: BLE001 - whoever sends is told
            self._fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that there is no connection any more."""
        self._is_lost = True
        self.client.close()
        self._fail(ConnectionFailed(f"the connection was lost{f': {exc}' if exc is not None else ''}"))

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._dialogue.lose()
        self._transport.abort()
        self._finish()

    def _proceed(self) -> None:
        source, dialogue = self._source, self._dialogue
        if source is None:
            return
        self._tell(source)
        most = self._options.limits.messages_per_connection
        while dialogue.takes_another and self.mails < most:
            transaction = source.next(self.extensions, chunks=dialogue.chunks)
            if transaction is None:
                break
            self.mails += 1
            dialogue.begin(transaction)
        self._write()
        if dialogue.is_closing or dialogue.is_idle:
            self._finish()
        elif self._watch is None:
            self._look()

    def _tell(self, source: Source) -> None:
        ended = self._dialogue.ended
        if ended:
            self._dialogue.ended = []
            for transaction in ended:
                source.ended(transaction)

    def _write(self) -> None:
        while not self._is_paused and not self._transport.is_closing() and (piece := self._dialogue.next_piece()):
            self._transport.write(piece)

    def _finish(self) -> None:
        if self._finished is None or self._finished.done():
            return
        error: Exception
        if self._failure is not None:
            error = self._failure
            if not isinstance(error, (ConnectionFailed, OperationTimeout)):
                error = ConnectionFailed(f"the connection is given up: {self._failure}")
                error.__cause__ = self._failure
        elif self._dialogue.is_closing:
            error = ConnectionFailed("the server closes the connection")
        else:
            self._finished.set_result(None)
            return
        self._finished.set_exception(error)
        # Who waits may be cancelled at this moment, and never look.
        self._finished.exception()

    # The clock's side: one timer for each connection, which looks whether something was heard since it was set.

    @property
    def _patience(self) -> float:
        options = self._options
        return options.content_seconds if self._dialogue.owes_content else options.command_seconds

    def _look(self) -> None:
        self._watch = None
        if self._finished is None or self._finished.done():
            return
        left = self._heard_at + self._patience - self._loop.time()
        if left > 0:
            # No later than a command may take: what is owed next may be the answer to one.
            self._watch = self._loop.call_later(min(left, self._options.command_seconds), self._look)
        else:
            self._fail(OperationTimeout(f"the server did not answer within {self._patience:g} s"))
