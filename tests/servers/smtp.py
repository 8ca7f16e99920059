# SPDX-License-Identifier: Apache-2.0
"""
A mail server that offers PIPELINING and CHUNKING and fails where it is told to.

It keeps books of what it stored and of what it had whole and did not answer; each of its answers names what it answers,
so that a client which mistakes one for another is found out.
"""

from __future__ import annotations

import asyncio
import base64
import re
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Mapping

__all__ = ["Books", "Fault", "FaultyServer", "Fields", "Step", "faulty_server"]

Step: TypeAlias = Literal["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT", "DOT", "RSET"]

#: ``drop`` closes the connection without an answer, ``drop-stored`` does so after storing, ``cut`` in the middle of the
#: answer, ``silence`` never answers, ``garbage`` answers what is no answer; the others are codes.
Fault: TypeAlias = Literal["drop", "drop-stored", "cut", "silence", "garbage", "421", "432", "450", "451", "550", "554"]

_MESSAGE_ID = re.compile(rb"^Message-ID: (<[^>]+>)", re.MULTILINE)
_PATH = re.compile(rb"<([^>]*)>")


@dataclass
class Fields:
    """What is read of an Airflow Connection."""

    host: str | None = "127.0.0.1"
    port: int | None = None
    login: str | None = None
    password: str | None = None
    extra_dejson: Mapping[str, object] = field(
        default_factory=lambda: {"disable_ssl": True, "disable_tls": True, "local_hostname": "client.example"}
    )
    conn_id: str = "smtp_test"

    def with_extras(self, **extras: object) -> Fields:
        return Fields(self.host, self.port, self.login, self.password, {**self.extra_dejson, **extras}, self.conn_id)


@dataclass
class Books:
    """What the server knows; each mail to each recipient by Message-ID and address."""

    stored: Counter[tuple[str, str]] = field(default_factory=Counter)
    contents: dict[str, bytes] = field(default_factory=dict)
    #: Whole, and not answered; whether stored or not.
    unanswered: set[tuple[str, str]] = field(default_factory=set)
    #: Cut off in the middle of the content: the client may have sent the rest, or not.
    cut: set[tuple[str, str]] = field(default_factory=set)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    commands: list[bytes] = field(default_factory=list)
    sessions: int = 0
    most_sessions: int = 0


class FaultyServer:
    """
    The server.

    :param fault: asked at each step, with what the step is about; returns what goes wrong, if anything does.
    :param offers: extensions.
    :param split: answers go out in pieces of random size.
    :param password: if there is one, a login with it is offered.
    """

    def __init__(
        self,
        fault: Callable[[Step, str], Fault | None] = lambda step, about: None,
        *,
        offers: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 10000000", "CHUNKING"),
        split: random.Random | None = None,
        password: str | None = None,
    ) -> None:
        self.fault = fault
        self.offers = offers
        self.split = split
        self.password = password
        self.books = Books()
        self.port = 0
        self.open: set[_Session] = set()

    def connection(self) -> Fields:
        return Fields(port=self.port)

    def cut(self) -> None:
        for session in [*self.open]:
            session.transport.abort()


class _Session(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self, server: FaultyServer) -> None:
        self.server = server
        self.books = server.books
        self.buffer = bytearray()
        self.mode: Literal["commands", "data", "chunk"] = "commands"
        self.chunk_left = 0
        self.content = bytearray()
        self.answers: list[bytes] = []
        self.is_flushing = self.is_ending = False
        self.is_deaf = self.is_chunk = False
        self._forget()

    def _forget(self) -> None:
        self.sender: str | None = None
        self.recipients: list[str] = []
        self.chunked = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.server.open.add(self)
        self.books.sessions += 1
        self.books.most_sessions = max(self.books.most_sessions, len(self.server.open))
        self.step("CONNECT", "", b"220 faulty.example ESMTP")

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open.discard(self)

    def data_received(self, data: bytes) -> None:
        if not self.is_deaf:
            self.buffer += data
            self.work()

    def work(self) -> None:
        while not self.is_deaf:
            if self.mode == "commands":
                line, found, rest = self.buffer.partition(b"\r\n")
                if not found:
                    return
                self.buffer = rest
                self.books.commands.append(bytes(line))
                self.command(bytes(line))
            elif self.mode == "data":
                if not self.take_data():
                    return
            else:
                if len(self.buffer) < self.chunk_left:
                    return
                self.chunked += self.buffer[: self.chunk_left]
                del self.buffer[: self.chunk_left]
                self.mode = "commands"
                self.is_chunk = True
                self.end_of_content(bytes(self.chunked))
                self.is_chunk = False

    def take_data(self) -> bool:
        if self.buffer.startswith(b".\r\n"):
            end, content = 3, b""
        elif (at := self.buffer.find(b"\r\n.\r\n")) >= 0:
            end, content = at + 5, bytes(self.buffer[: at + 2])
        else:
            if len(self.buffer) > 20_000 and (fault := self.server.fault("CONTENT", self.named(bytes(self.buffer)))):
                self.books.cut.update(self.pairs(bytes(self.buffer)))
                self.fail(fault, "")
            return False
        del self.buffer[:end]
        self.mode = "commands"
        lines = content.split(b"\r\n")
        self.end_of_content(b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines))
        return True

    def command(self, line: bytes) -> None:
        word = line[:4].upper()
        handle = getattr(self, f"do_{word.decode('latin-1').lower()}", None)
        if handle is None:
            self.books.violations.append(f"no command: {line[:60]!r}")
            self.answer(b"500 5.5.2 what?")
        else:
            handle(line)

    def do_ehlo(self, line: bytes) -> None:
        login = () if self.server.password is None else ("AUTH PLAIN",)
        lines = ["faulty.example", *self.server.offers, *login]
        answer = "\r\n".join(f"250{' ' if line is lines[-1] else '-'}{line}" for line in lines)
        self.step("EHLO", "", answer.encode())

    def do_auth(self, line: bytes) -> None:
        given = base64.b64decode(line.split()[2]).rpartition(b"\0")[2].decode()
        self.answer(b"235 2.7.0 welcome" if given == self.server.password else b"535 5.7.8 wrong password")

    def do_helo(self, line: bytes) -> None:
        self.answer(b"250 faulty.example")

    def do_mail(self, line: bytes) -> None:
        about = self.address(line)
        if self.sender is not None:
            self.books.violations.append("nested MAIL")
            self.answer(b"503 5.5.1 nested MAIL")
        elif self.step("MAIL", about, b"250 2.1.0 from " + about.encode()):
            self.sender = about

    def do_rcpt(self, line: bytes) -> None:
        about = self.address(line)
        if self.sender is None:
            self.answer(b"503 5.5.1 need MAIL before RCPT " + about.encode())
        elif self.step("RCPT", about, b"250 2.1.5 to " + about.encode()):
            self.recipients.append(about)

    def do_data(self, line: bytes) -> None:
        if self.sender is None:
            self.answer(b"503 5.5.1 need MAIL before DATA")
        elif self.step("DATA", self.sender, b"354 go ahead " + self.sender.encode()):
            self.mode = "data"

    def do_bdat(self, line: bytes) -> None:
        self.chunk_left, self.mode = int(line.split()[1]), "chunk"

    def do_rset(self, line: bytes) -> None:
        self._forget()
        self.step("RSET", "", b"250 2.0.0 reset")

    def do_noop(self, line: bytes) -> None:
        self.answer(b"250 2.0.0 noop")

    def do_quit(self, line: bytes) -> None:
        self.answer(b"221 2.0.0 bye")
        self.end()

    def end_of_content(self, content: bytes) -> None:
        named, pairs = self.named(content), self.pairs(content)
        if not self.recipients:
            if content and not self.is_chunk:
                self.books.violations.append(f"a mail to nobody: {named}")
            self._forget()
            self.answer(b"554 5.5.1 no valid recipients " + named.encode())
            return
        fault = self.server.fault("DOT", named)
        if fault in ("drop", "drop-stored", "cut", "silence", "garbage"):
            self.books.unanswered.update(pairs)
        if fault in (None, "drop-stored", "cut"):
            self.books.stored.update(pairs)
            self.books.contents[named] = content
        self._forget()
        if fault is None:
            self.answer(b"250 2.0.0 stored " + named.encode())
        else:
            self.fail(fault, named)

    def step(self, step: Step, about: str, answer: bytes) -> bool:
        fault = self.server.fault(step, about)
        if fault is None:
            self.answer(answer)
            return True
        self.fail(fault, about)
        return False

    def fail(self, fault: Fault, about: str) -> None:
        if fault.isdigit():
            self.answer(f"{fault} {fault[0]}.0.0 refused {about}".encode())
            if fault == "421":
                self.end()
        elif fault == "garbage":
            self.answer(b"what is this?")
        elif fault == "cut":
            self.answers.append(b"250 2.0.0 sto")
            self.end()
        else:
            self.is_deaf = True
            if fault != "silence":
                self.end()

    def pairs(self, content: bytes) -> list[tuple[str, str]]:
        return [(self.named(content), recipient) for recipient in self.recipients]

    @staticmethod
    def named(content: bytes) -> str:
        found = _MESSAGE_ID.search(content)
        return "" if found is None else found[1].decode()

    @staticmethod
    def address(line: bytes) -> str:
        found = _PATH.search(line)
        return "" if found is None else found[1].decode()

    # Answers go out in order, at once or in pieces.

    def answer(self, line: bytes) -> None:
        self.answers.append(line + b"\r\n")
        self.flush()

    def end(self) -> None:
        self.is_deaf = self.is_ending = True
        self.flush()

    def flush(self) -> None:
        if self.transport.is_closing():
            return
        if self.server.split is None:
            self.transport.write(b"".join(self.answers))
            self.answers.clear()
            if self.is_ending:
                self.transport.close()
        elif not self.is_flushing:
            self.is_flushing = True
            asyncio.get_running_loop().call_soon(self.flush_piece)

    def flush_piece(self) -> None:
        assert self.server.split is not None
        self.is_flushing = False
        if self.transport.is_closing():
            return
        data = b"".join(self.answers)
        size = self.server.split.randint(1, 60)
        self.answers = [data[size:]] if data[size:] else []
        self.transport.write(data[:size])
        if self.answers:
            self.flush()
        elif self.is_ending:
            self.transport.close()


@asynccontextmanager
async def faulty_server(server: FaultyServer | None = None) -> AsyncIterator[FaultyServer]:
    """Let a server run."""
    running = server or FaultyServer()
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: _Session(running), "127.0.0.1", running.port)
    running.port = listener.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        listener.close()
        running.cut()


async def _serve(port: int) -> None:
    server = FaultyServer()
    server.port = port
    async with faulty_server(server):
        print("ready", flush=True)  # noqa: T201 - for whoever waits
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
