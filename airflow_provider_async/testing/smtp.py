# SPDX-License-Identifier: Apache-2.0
"""An SMTP server that keeps the mails that it takes, and fails on demand; RFC 5321, with the usual extensions."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from airflow_provider_async.testing.certificates import self_signed, server_context
from airflow_provider_async.testing.connection import Connection
from airflow_provider_async.testing.smtp_session import Fault, Received, Session, Step

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Iterator
    from email.message import EmailMessage

__all__ = ["Received", "SMTPServer", "Step"]


class SMTPServer:
    """
    A server on a free port of the loopback.

    It offers PIPELINING, 8BITMIME, SMTPUTF8 and SIZE, with a login AUTH PLAIN and AUTH LOGIN, and STARTTLS if it is
    encrypted so.

    :param encryption: ``tls`` from the first byte on, ``starttls``, without which it takes no mail, or ``none``.
    :param login: a user's name; without one, nobody has to log in, nor can.
    :param password: the user's password.
    :param max_bytes: no mail may be larger.
    :param offers: fewer extensions, for clients that must do without: beside SIZE, it knows no more than these three.
    :ivar received: the mails that were taken, in their order.
    :ivar connections: how many connections there were.
    :ivar most_connections: how many there were at once, at the most.
    :ivar logins: how many logins were tried.
    """

    def __init__(
        self,
        *,
        encryption: Literal["none", "starttls", "tls"] = "none",
        login: str | None = None,
        password: str | None = None,
        max_bytes: int = 10_000_000,
        offers: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8"),
    ) -> None:
        if (login is None) != (password is None):
            raise ValueError("a login needs a password, and a password a login")
        self.encryption = encryption
        self.login = login
        self.password = password
        self.max_bytes = max_bytes
        self.offers = offers
        self.port = 0
        self.received: list[Received] = []
        self.connections = 0
        self.most_connections = 0
        self.logins = 0
        self._tls: ssl.SSLContext | None = None
        self._certificate: Path | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._faults: defaultdict[Step, list[Fault]] = defaultdict(list)
        self._rejected: dict[str, str] = {}
        self._deferred: defaultdict[str, list[str]] = defaultdict(list)
        #: Errors of the server itself, which must not look like a fault that was asked for.
        self._mistakes: list[Exception] = []

    def __repr__(self) -> str:
        return f"<SMTPServer on port {self.port}, {self.encryption}, {len(self.received)} received>"

    @property
    def messages(self) -> list[EmailMessage]:
        """The mails that were taken, parsed."""
        return [mail.message for mail in self.received]

    @property
    def recipients(self) -> list[str]:
        """The recipients of all mails that were taken, in their order."""
        return [recipient for mail in self.received for recipient in mail.recipients]

    @property
    def open_connections(self) -> int:
        """How many connections there are."""
        return len(self._open)

    def connection(self, **extras: object) -> Connection:
        """
        Return a Connection that works, unless the extras say otherwise.

        :param extras: such as ``from_email``; ``None`` leaves out one that would be there.
        """
        given: dict[str, object] = {
            "disable_ssl": self.encryption != "tls",
            "disable_tls": self.encryption != "starttls",
            "verify": None if self._certificate is None else str(self._certificate),
            "local_hostname": "client.example",
            **extras,
        }
        known = {name: value for name, value in given.items() if value is not None}
        return Connection("127.0.0.1", self.port, self.login, self.password, known, conn_id="smtp_test")

    def reject(self, recipient: str, *, answer: str = "550 5.1.1 no such mailbox") -> None:
        """
        Refuse a recipient, for good.

        :param recipient: an address.
        :param answer: one of 5xx.
        """
        self._rejected[recipient.lower()] = answer

    def defer(self, recipient: str, *, times: int = 1, answer: str = "451 4.7.1 try again later") -> None:
        """
        Refuse a recipient for now, and then take it, as greylisting does.

        :param recipient: an address.
        :param times: how often.
        :param answer: one of 4xx. A pool waits for a minute if it speaks of greylisting, and as long as it asks for.
        """
        self._deferred[recipient.lower()] += [answer] * times

    def fail(self, step: Step, *, answer: str = "451 4.3.0 failing on demand", times: int = 1) -> None:
        """
        Answer with an error.

        :param step: at which.
        :param answer: one of 4xx or 5xx; after 421 the server hangs up.
        :param times: how often.
        """
        self._faults[step] += [Fault(answer=answer)] * times

    def refuse_logins(self, times: int, *, answer: str = "535 5.7.8 authentication failed") -> None:
        """
        Refuse the next logins, right or not.

        :param times: how many.
        :param answer: one of 4xx or 5xx.
        """
        self.fail("AUTH", answer=answer, times=times)

    def lose_connection_at(self, step: Step, *, times: int = 1, is_taken: bool = False) -> None:
        """
        End the connection instead of answering.

        :param step: at which.
        :param times: how often.
        :param is_taken: at ``DOT``, whether the mail is taken before, of which the client learns nothing.
        """
        if is_taken and step != "DOT":
            raise ValueError(f"at {step} there is no mail that could be taken")
        self._faults[step] += [Fault(is_lost=True, is_taken=is_taken)] * times

    def delay(self, step: Step, seconds: float, *, times: int = 1) -> None:
        """
        Answer late, and then as usual.

        :param step: at which.
        :param seconds: how late.
        :param times: how often.
        """
        self._faults[step] += [Fault(delay_seconds=seconds)] * times

    def lose_all_connections(self) -> None:
        """Cut all connections; new ones are accepted."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SMTPServer]:
        """Run it, until the block is left; then an error of the server itself is raised."""
        self._loop = asyncio.get_running_loop()
        with self._certified():
            tls = self._tls if self.encryption == "tls" else None
            listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls, backlog=256, limit=1 << 16)
            self.port = listener.sockets[0].getsockname()[1]
            try:
                yield self
            finally:
                self._loop = None
                listener.close()
                self._cut()
                for task in self._open:
                    task.cancel()
                if self._open:
                    await asyncio.wait([*self._open])
        if self._mistakes:
            raise ExceptionGroup("the server failed", self._mistakes)

    @contextmanager
    def _certified(self) -> Iterator[None]:
        if self.encryption == "none":
            yield
            return
        with tempfile.TemporaryDirectory(prefix="smtp-server-") as folder:
            self._certificate = self_signed(Path(folder))
            self._tls = server_context(self._certificate)
            yield

    def _cut(self) -> None:
        for writer in self._open.values():
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served in a task")
        self._open[task] = writer
        self.connections += 1
        self.most_connections = max(self.most_connections, self.open_connections)
        try:
            await Session(self, reader, writer, number=self.connections).serve()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # A client that goes away is no error of the server, nor is the end of the test.
            writer.transport.abort()
        except Exception as error:  # noqa: BLE001 - raised at the end
            self._mistakes.append(error)
            writer.transport.abort()
        finally:
            del self._open[task]

    def _fault_at(self, step: Step) -> Fault:
        """Return what goes wrong at a step this time, if anything does."""
        return self._faults[step].pop(0) if self._faults[step] else Fault()

    def _refusal_of(self, recipient: str) -> str | None:
        """Return the answer by which a recipient is refused this time, if it is."""
        deferrals = self._deferred[recipient.lower()]
        return deferrals.pop(0) if deferrals else self._rejected.get(recipient.lower())
