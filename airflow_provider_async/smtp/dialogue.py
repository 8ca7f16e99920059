# SPDX-License-Identifier: Apache-2.0
"""
What is said on one connection, and which answer belongs to what. Nothing here reads or writes: bytes go in and out.

What was asked stands in a queue of answers that are owed, in order; each answer that comes belongs to the first. With
PIPELINING, the commands of an envelope go together, and the final dot of a mail goes with the next one's (RFC 2920,
section 3.1): one round trip a mail. Without it, the same machine sends one command at a time. With CHUNKING, whole
mails follow one another without waiting (RFC 3030).
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_async.smtp.replies import ProtocolError, Reply, ReplyReader

if TYPE_CHECKING:
    from airflow_provider_async.smtp.delivery import Delivery

__all__ = ["Dialogue", "Transaction"]

_CLOSING = 421
_GO_AHEAD = 354

#: A content goes in pieces of this size, so that its end is not on its way before its beginning is.
PIECE_BYTES = 64 * 1024

#: With CHUNKING, no more than this waits for answers, whatever the number of mails.
_WINDOW_BYTES = 1024 * 1024


class _Asked(Enum):
    """What an answer is owed to."""

    SENDER = auto()
    RECIPIENT = auto()
    DATA = auto()
    CONTENT = auto()
    #: RSET, or a dot that ends nothing: whatever is answered, nothing follows from it.
    NOTHING = auto()


_Owed: TypeAlias = "tuple[_Asked, Transaction | None, int]"


class Transaction:
    """
    One mail to some recipients, on its way.

    :param delivery: what it is an attempt of.
    :param sender: the command MAIL.
    :param recipients: the commands RCPT.
    :param content: as it is sent: dot-stuffed with the final dot, or as it is if it is to be sent with BDAT.
    :ivar to_sender: the answer to MAIL.
    :ivar to_recipients: the answers to RCPT; ``None`` where there was none.
    :ivar to_data: the answer to DATA, if it was a refusal.
    :ivar to_content: the answer to the final dot.
    :ivar is_written: whether the whole content, the final dot included, was handed over to be sent. Without an answer,
        it is unknown then whether the server has taken the mail.
    :ivar is_blamed: whether the connection was lost while the server owed an answer to this transaction.
    """

    __slots__ = (
        "content",
        "delivery",
        "is_blamed",
        "is_written",
        "recipients",
        "sender",
        "to_content",
        "to_data",
        "to_recipients",
        "to_sender",
    )

    def __init__(self, delivery: Delivery, *, sender: bytes, recipients: list[bytes], content: bytes) -> None:
        self.delivery = delivery
        self.sender = sender
        self.recipients = recipients
        self.content = content
        self.to_sender: Reply | None = None
        self.to_recipients: list[Reply | None] = [None] * len(recipients)
        self.to_data: Reply | None = None
        self.to_content: Reply | None = None
        self.is_written = False
        self.is_blamed = False

    @property
    def is_accepted(self) -> bool:
        """Whether the server accepted the sender and one of the recipients."""
        return self._accepts(self.to_sender) and any(map(self._accepts, self.to_recipients))

    @staticmethod
    def _accepts(reply: Reply | None) -> bool:
        return reply is not None and reply.is_positive


class Dialogue:
    """
    The state of one connection, after EHLO and the login.

    :param pipelining: whether the server offers it.
    :param window: how many mails may wait for their answer with BDAT; 0 for DATA.
    :ivar ended: the transactions that came to an end since somebody took them from here.
    :ivar is_closing: whether nothing more can be said: the server said 421 or what is no answer, or the connection is
        lost.
    :ivar needs_reset: whether the server still holds an envelope that came to nothing.
    """

    def __init__(self, *, pipelining: bool, window: int = 0) -> None:
        self.ended: list[Transaction] = []
        self.is_closing = False
        self._pipelining = pipelining
        self._window = window if pipelining else 0
        self._reader = ReplyReader()
        self._owed: deque[_Owed] = deque()
        # The transaction that is in its envelope, up to the answer to DATA.
        self._current: Transaction | None = None
        self._asked_recipients = 0
        self.needs_reset = False
        self._unsent: deque[tuple[bytes, Transaction | None]] = deque()
        self._in_window = 0
        self._window_bytes = 0

    @property
    def takes_another(self) -> bool:
        """Whether another transaction can begin now."""
        if self.is_closing:
            return False
        if self._window:
            return self._in_window < self._window and self._window_bytes < _WINDOW_BYTES
        return self._current is None and (self._pipelining or not self._owed)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._owed and self._current is None and not self._unsent

    @property
    def owes_content(self) -> bool:
        """Whether the next answer is that to a final dot, which may take minutes (RFC 5321, section 4.5.3.2.6)."""
        return bool(self._owed) and self._owed[0][0] is _Asked.CONTENT

    @property
    def chunks(self) -> bool:
        """Whether contents are sent with BDAT, so not dot-stuffed."""
        return self._window > 0

    def begin(self, transaction: Transaction) -> None:
        """Begin a transaction; only when :attr:`takes_another`."""
        if self._window:
            self._begin_chunk(transaction)
            return
        self._current = transaction
        if not self._pipelining:
            self._asked_recipients = 0
            self._ask_next(transaction)
            return
        commands = [transaction.sender, *transaction.recipients, b"DATA\r\n"]
        if self.needs_reset:
            self.needs_reset = False
            commands.insert(0, b"RSET\r\n")
            self._owed.append((_Asked.NOTHING, None, 0))
        self._owe_envelope(transaction)
        self._owed.append((_Asked.DATA, transaction, 0))
        self._unsent.append((b"".join(commands), None))

    def _begin_chunk(self, transaction: Transaction) -> None:
        # RFC 3030, section 4.2: after a refusal, only RSET makes sure that a new transaction begins.
        content = transaction.content
        self._owed.append((_Asked.NOTHING, None, 0))
        self._owe_envelope(transaction)
        self._owed.append((_Asked.CONTENT, transaction, 0))
        commands = (b"RSET\r\n", transaction.sender, *transaction.recipients, b"BDAT %d LAST\r\n" % len(content))
        self._unsent.append((b"".join(commands), None))
        self._send_content(transaction)
        self._in_window += 1
        self._window_bytes += len(content)

    def _owe_envelope(self, transaction: Transaction) -> None:
        owed = self._owed
        owed.append((_Asked.SENDER, transaction, 0))
        for index in range(len(transaction.recipients)):
            owed.append((_Asked.RECIPIENT, transaction, index))

    def _ask_next(self, transaction: Transaction) -> None:
        """Say the next thing where one has to wait for each answer."""
        index = self._asked_recipients
        if self.needs_reset:
            self.needs_reset = False
            self._ask(b"RSET\r\n", (_Asked.NOTHING, None, 0))
        elif transaction.to_sender is None:
            self._ask(transaction.sender, (_Asked.SENDER, transaction, 0))
        elif not transaction.to_sender.is_positive:
            self._end_current(transaction)
        elif index < len(transaction.recipients):
            self._asked_recipients += 1
            self._ask(transaction.recipients[index], (_Asked.RECIPIENT, transaction, index))
        elif not transaction.is_accepted:
            self.needs_reset = True
            self._end_current(transaction)
        else:
            self._ask(b"DATA\r\n", (_Asked.DATA, transaction, 0))

    def _ask(self, command: bytes, owed: _Owed) -> None:
        self._owed.append(owed)
        self._unsent.append((command, None))

    def _send_content(self, transaction: Transaction) -> None:
        content = transaction.content
        for first in range(0, len(content) - PIECE_BYTES, PIECE_BYTES):
            self._unsent.append((content[first : first + PIECE_BYTES], None))
        last = (len(content) - 1) // PIECE_BYTES * PIECE_BYTES
        self._unsent.append((content[last:] if last else content, transaction))

    def next_piece(self) -> bytes:
        """Return what is to be sent next, some 64 KB at most; empty if there is nothing. It counts as sent then."""
        pieces, size = [], 0
        while self._unsent and size < PIECE_BYTES:
            piece, transaction = self._unsent.popleft()
            if transaction is not None:
                transaction.is_written = True
            pieces.append(piece)
            size += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def receive(self, data: bytes) -> None:
        """
        Hear what the server says.

        :raises ProtocolError: if that makes no sense; everything on its way has ended then, as if it was lost.
        """
        try:
            for reply in self._reader.feed(data):
                self._hear(reply)
        except ProtocolError:
            self.lose()
            raise

    def lose(self) -> None:
        """End everything on its way: there will be no more answers."""
        if not self.is_closing:
            self._end_all(is_blamed=True)

    def _hear(self, reply: Reply) -> None:
        if self.is_closing:
            return
        if reply.code == _CLOSING:
            self._hear_farewell(reply)
            return
        if not self._owed:
            raise ProtocolError(f"the server answered what was not asked: {reply.code} {reply.text}")
        asked, transaction, index = self._owed[0]
        if reply.is_intermediate and not (asked is _Asked.DATA and reply.code == _GO_AHEAD):
            raise ProtocolError(f"the server asks for what was not offered: {reply.code} {reply.text}")
        # Not before it is clear that the answer is one: whoever is still owed one when the connection ends is told so.
        self._owed.popleft()
        if transaction is None:
            pass
        elif asked is _Asked.DATA:
            self._hear_data(transaction, reply)
        elif asked is _Asked.CONTENT:
            transaction.to_content = reply
            self._in_window -= 1
            self._window_bytes -= len(transaction.content)
            self.ended.append(transaction)
        elif asked is _Asked.SENDER:
            transaction.to_sender = reply
        else:
            transaction.to_recipients[index] = reply
        if not self._pipelining and not self._owed and self._current is not None:
            self._ask_next(self._current)

    def _hear_data(self, transaction: Transaction, reply: Reply) -> None:
        if reply.code == _GO_AHEAD:
            if transaction.is_accepted:
                self._current = None
                self._owed.append((_Asked.CONTENT, transaction, 0))
                self._send_content(transaction)
                return
            if any(answer is not None and answer.is_positive for answer in transaction.to_recipients):
                raise ProtocolError("the server refused the sender, and then accepted recipients")
            # RFC 2920, section 3.1: nobody is left who could get a mail, but a dot is waited for.
            self._ask(b".\r\n", (_Asked.NOTHING, None, 0))
        elif reply.is_positive:
            raise ProtocolError(f"the server answered DATA with {reply.code} {reply.text}")
        else:
            transaction.to_data = reply
            self.needs_reset = True
        self._end_current(transaction)

    def _end_current(self, transaction: Transaction) -> None:
        self._current = None
        self.ended.append(transaction)

    def _hear_farewell(self, reply: Reply) -> None:
        """Attribute a 421 to what is first in the queue; the server closes the connection, and heeds nothing more."""
        if self._owed:
            asked, transaction, index = self._owed[0]
            if transaction is None:
                # It is of no mail's making.
                pass
            elif asked is _Asked.SENDER:
                transaction.to_sender = reply
            elif asked is _Asked.RECIPIENT:
                transaction.to_recipients[index] = reply
            elif asked is _Asked.DATA:
                transaction.to_data = reply
            else:
                transaction.to_content = reply
        self._end_all(is_blamed=False)

    def _end_all(self, *, is_blamed: bool) -> None:
        self.is_closing = True
        unanswered = dict.fromkeys(transaction for _, transaction, _ in self._owed if transaction is not None)
        if self._current is not None:
            unanswered.setdefault(self._current)
        for transaction in unanswered:
            transaction.is_blamed, is_blamed = is_blamed, False
            self.ended.append(transaction)
        self._owed.clear()
        self._unsent.clear()
        self._current = None
