# SPDX-License-Identifier: Apache-2.0
"""One connection to the SMTP server of tests."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from email.message import EmailMessage

    from airflow_provider_async.testing.smtp import SMTPServer

__all__ = ["Fault", "Received", "Session", "Step"]

#: Where something goes wrong: when a client connects, at a command, or when the whole mail is there (``DOT``).
Step: TypeAlias = Literal["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "DOT", "RSET", "NOOP", "QUIT"]

#: RFC 5321, section 3.8: with this answer, a server hangs up.
_CLOSING = "421"


@dataclass(frozen=True)
class Received:
    """
    A mail that was taken.

    :param sender: of the envelope; empty for none.
    :param recipients: of the envelope: those that were not refused.
    :param content: its bytes.
    :param login: who sent it, if somebody logged in.
    :param is_encrypted: whether it came over TLS.
    :param connection: which connection it came on, counted from 1.
    """

    sender: str
    recipients: tuple[str, ...]
    content: bytes = field(repr=False)
    login: str | None = None
    is_encrypted: bool = False
    connection: int = 0

    @property
    def message(self) -> EmailMessage:
        """The mail, parsed; its lines end as Python's do."""
        return message_from_bytes(self.content.replace(b"\r\n", b"\n"), policy=default)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    What goes wrong at a step.

    :param answer: instead of the right one, such as ``451 4.3.0 try again``; ``None`` for the right one, if any.
    :param is_lost: the connection ends without an answer.
    :param is_taken: the mail is taken all the same.
    :param delay_seconds: how long the answer takes.
    """

    answer: str | None = None
    is_lost: bool = False
    is_taken: bool = False
    delay_seconds: float = 0.0


_PATH = re.compile(r"<([^>]*)>(.*)")
_SIZE = re.compile(r"\bSIZE=(\d+)", re.IGNORECASE)

_STEPS: dict[str, Step] = {
    "EHLO": "EHLO",
    "HELO": "EHLO",
    "STARTTLS": "STARTTLS",
    "AUTH": "AUTH",
    "MAIL": "MAIL",
    "RCPT": "RCPT",
    "DATA": "DATA",
    "RSET": "RSET",
    "NOOP": "NOOP",
    "QUIT": "QUIT",
}


class Session:
    """
    A connection, from the greeting on.

    :param server: knows what goes wrong, and keeps the mails.
    :param number: of the connection, counted from 1.
    """

    def __init__(
        self, server: SMTPServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, number: int
    ) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._number = number
        self._is_encrypted = server.encryption == "tls"
        self._login: str | None = None
        self._is_over = False
        self._sender: str | None = None
        self._recipients: list[str] = []

    async def serve(self) -> None:
        """
        Greet the client, and answer until one of the two ends it.

        :raises ConnectionError: if the client, or a fault, has ended it; or ``asyncio.IncompleteReadError``.
        """
        await self._answer("CONNECT", "220 mail.example ESMTP")
        while not self._is_over:
            line = (await self._reader.readuntil(b"\r\n"))[:-2].decode("utf-8", "surrogateescape")
            word, _, rest = line.partition(" ")
            step = _STEPS.get(word.upper())
            if step is None:
                await self._say("500 5.5.2 what?")
            else:
                await getattr(self, f"_{word.lower()}")(step, rest)
        self._writer.close()
        await self._writer.wait_closed()

    async def _ehlo(self, step: Step, _: str) -> None:
        self._forget()
        server = self._server
        lines = ["mail.example", *server.offers, f"SIZE {server.max_bytes}"]
        if self._needs_tls:
            lines.append("STARTTLS")
        elif server.login is not None:
            lines.append("AUTH PLAIN LOGIN")
        await self._answer(step, *(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}")

    async def _helo(self, step: Step, _: str) -> None:
        self._forget()
        await self._answer(step, "250 mail.example")

    async def _starttls(self, step: Step, _: str) -> None:
        if not self._needs_tls or self._server._tls is None:
            await self._say("503 5.5.1 there is no STARTTLS now")
        elif await self._answer(step, "220 2.0.0 go ahead"):
            await self._writer.start_tls(self._server._tls)
            self._is_encrypted = True
            # RFC 3207, section 4.2: nothing that was said before counts.
            self._forget()

    async def _auth(self, step: Step, rest: str) -> None:
        if self._server.login is None or self._needs_tls or self._login is not None:
            await self._say("503 5.5.1 there is no AUTH now")
            return
        method, _, first = rest.partition(" ")
        try:
            login, password = await self._read_login(method.upper(), first)
        except (ValueError, binascii.Error):
            await self._say("501 5.5.2 that is no login")
            return
        self._server.logins += 1
        if (login, password) != (self._server.login, self._server.password):
            await self._say("535 5.7.8 authentication failed")
        elif await self._answer(step, "235 2.7.0 welcome"):
            self._login = login

    async def _read_login(self, method: str, first: str) -> tuple[str, str]:
        """RFC 4616, and what Microsoft has written of LOGIN."""
        if method == "PLAIN":
            _, login, password = _decode(first or await self._ask("334 ")).split("\0")
            return login, password
        if method != "LOGIN":
            raise ValueError(method)
        login = _decode(first or await self._ask("334 VXNlcm5hbWU6"))
        return login, _decode(await self._ask("334 UGFzc3dvcmQ6"))

    async def _ask(self, question: str) -> str:
        await self._say(question)
        return (await self._reader.readuntil(b"\r\n"))[:-2].decode("ascii")

    async def _mail(self, step: Step, rest: str) -> None:
        sender, size = _PATH.search(rest), _SIZE.search(rest)
        if self._needs_tls:
            await self._say("530 5.7.0 STARTTLS comes first")
        elif self._server.login is not None and self._login is None:
            await self._say("530 5.7.0 authentication required")
        elif self._sender is not None:
            await self._say("503 5.5.1 there is a sender already")
        elif sender is None:
            await self._say("501 5.5.4 MAIL FROM:<address>")
        elif size is not None and int(size[1]) > self._server.max_bytes:
            await self._say("552 5.3.4 too large")
        elif await self._answer(step, f"250 2.1.0 from {sender[1]}"):
            self._sender = sender[1]

    async def _rcpt(self, step: Step, rest: str) -> None:
        recipient = _PATH.search(rest)
        if self._sender is None:
            await self._say("503 5.5.1 MAIL comes first")
        elif recipient is None:
            await self._say("501 5.5.4 RCPT TO:<address>")
        elif (refusal := self._server._refusal_of(recipient[1])) is not None:
            await self._say(refusal)
        elif await self._answer(step, f"250 2.1.5 to {recipient[1]}"):
            self._recipients.append(recipient[1])

    async def _data(self, step: Step, _: str) -> None:
        if self._sender is None:
            await self._say("503 5.5.1 MAIL comes first")
        elif not self._recipients:
            await self._say("554 5.5.1 no valid recipients")
        elif await self._answer(step, "354 go ahead"):
            content = await self._read_content()
            sender, recipients = self._sender, tuple(self._recipients)
            self._forget()
            if len(content) > self._server.max_bytes:
                await self._say("552 5.3.4 too large")
                return
            mail = Received(sender, recipients, content, self._login, self._is_encrypted, self._number)
            fault = self._server._fault_at("DOT")
            if fault.is_taken or not (fault.is_lost or fault.answer):
                self._server.received.append(mail)
            await self._answer("DOT", "250 2.0.0 taken", fault=fault)

    async def _read_content(self) -> bytes:
        """Read to the lone dot; RFC 5321, section 4.5.2."""
        lines = []
        while (line := await self._read_line()) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    async def _read_line(self) -> bytes:
        pieces: list[bytes] = []
        while True:
            try:
                return b"".join([*pieces, await self._reader.readuntil(b"\r\n")])
            except asyncio.LimitOverrunError as error:
                pieces.append(await self._reader.readexactly(error.consumed))

    async def _rset(self, step: Step, _: str) -> None:
        self._forget()
        await self._answer(step, "250 2.0.0 forgotten")

    async def _noop(self, step: Step, _: str) -> None:
        await self._answer(step, "250 2.0.0 nothing done")

    async def _quit(self, step: Step, _: str) -> None:
        await self._answer(step, "221 2.0.0 bye")
        self._is_over = True

    @property
    def _needs_tls(self) -> bool:
        return self._server.encryption == "starttls" and not self._is_encrypted

    def _forget(self) -> None:
        self._sender, self._recipients = None, []

    async def _answer(self, step: Step, *lines: str, fault: Fault | None = None) -> bool:
        """
        Give the right answer, unless something goes wrong, and tell whether it was given.

        :raises ConnectionAbortedError: if the connection ends instead.
        """
        fault = fault or self._server._fault_at(step)
        if fault.delay_seconds:
            await self._writer.drain()
            await asyncio.sleep(fault.delay_seconds)
        if fault.is_lost:
            raise ConnectionAbortedError("on demand")
        await self._say(*(lines if fault.answer is None else [fault.answer]))
        return fault.answer is None

    async def _say(self, *lines: str) -> None:
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape"))
        await self._writer.drain()
        if lines[-1].startswith(_CLOSING):
            self._is_over = True


def _decode(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()
