# SPDX-License-Identifier: Apache-2.0
"""An SMTP server that keeps what it takes, in a thread of its own, for those who block meanwhile."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default
from functools import partial
from typing import TYPE_CHECKING

from aiosmtpd.smtp import SMTP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

    from aiosmtpd.smtp import Envelope, Session


class Mailbox:
    """
    What the server has taken, and from whom.

    :ivar answer: to each mail.
    :ivar gate: while it is not set, mails are not answered.
    :ivar peers: the clients' addresses and ports: one for each connection that a mail came on.
    """

    def __init__(self) -> None:
        self.answer = "250 taken"
        self.gate = threading.Event()
        self.gate.set()
        self.envelopes: list[Envelope] = []
        self.peers: set[object] = set()
        self.port = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's
        """Take a mail, or not."""
        await asyncio.to_thread(self.gate.wait, 30)
        self.peers.add(session.peer)
        if self.answer.startswith("2"):
            self.envelopes.append(envelope)
        return self.answer

    @property
    def mails(self) -> list[EmailMessage]:
        """What was taken, parsed."""
        contents = [envelope.content for envelope in self.envelopes]
        return [message_from_bytes(content, policy=default) for content in contents if isinstance(content, bytes)]

    @property
    def recipients(self) -> list[str]:
        """Of all envelopes, in order."""
        return [recipient for envelope in self.envelopes for recipient in envelope.rcpt_tos]


@contextmanager
def running_mailbox() -> Iterator[Mailbox]:
    """Run a server on the loopback interface."""
    mailbox = Mailbox()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        make = partial(SMTP, mailbox, hostname="mailbox", ident="mailbox", enable_SMTPUTF8=True, loop=loop)
        server = runner.run(loop.create_server(make, "127.0.0.1", 0))
        mailbox.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=loop.run_forever, name="mailbox")
        thread.start()
        try:
            yield mailbox
        finally:
            mailbox.gate.set()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            server.close()
