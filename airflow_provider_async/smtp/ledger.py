# SPDX-License-Identifier: Apache-2.0
"""
What is kept of mails so that no try sends one twice.

Before a mail is sent, it is written down that it is going to be, for a window of mails at a time; what became of it is
written with the next such note. A process that is killed leaves a window at most of which nobody knows.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from typing import TYPE_CHECKING, Final, TypeVar

from airflow_provider_async.core.checks import check_at_least, check_name
from airflow_provider_async.core.journal import MOST_BEGUN
from airflow_provider_async.core.keys import KeySet, hash_key, plain_key
from airflow_provider_async.core.resume import current_checkpoints
from airflow_provider_async.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_async.core.journal import Journal
    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.resume import Checkpoints
    from airflow_provider_async.smtp.delivery import Delivery
    from airflow_provider_async.smtp.results import Status

__all__ = ["DEFAULT_WINDOW", "Ledger", "checked_key"]

T = TypeVar("T")

log = logging.getLogger(__name__)

DEFAULT_WINDOW = 100

#: How outcomes are kept. A mail that was deferred is as if it had never been sent.
_LETTERS: Final[dict[Status, str]] = {"sent": "s", "rejected": "r", "unknown": "u"}

#: A store that fails is asked again, with waits that double up to this, so often. Meanwhile nothing new is sent.
_LONGEST_WAIT_SECONDS = 10.0
_MOST_FAILURES = 8


class Ledger:
    """
    Lets deliveries go when it is written down that they are about to.

    :param name: of the work.
    :param window: how many deliveries may be on their way without an outcome that is written down.
    :param release: given each delivery that may be sent now.
    """

    def __init__(self, name: str, *, window: int, release: Callable[[Delivery], None]) -> None:
        check_at_least(1, window=window)
        self.name = check_name("resume", name)
        self._window = window
        self._release = release
        self._taken = KeySet()
        self._waiting: deque[Delivery] = deque()
        self._out: set[Delivery] = set()
        self._wake = asyncio.Event()
        self._is_dry: Callable[[], bool] = lambda: True
        self._checkpoints: Checkpoints | None = None
        self._journal: Journal | None = None

    async def open(self, *, is_dry: Callable[[], bool]) -> None:
        """
        Read what earlier tries have done.

        :param is_dry: tells whether the connections have nothing to do.
        :raises CheckpointError: if another work of that name goes on.
        """
        self._is_dry = is_dry
        if (checkpoints := current_checkpoints()) is None:
            log.info("resume=%r keeps nothing: this is neither a task nor a block of resumable()", self.name)
            return
        self._journal = await checkpoints.open_journal(self.name)
        self._checkpoints = checkpoints

    def run_of(self, key: Key) -> str | None:
        """Return what all tries to send one message have in common, and no others; ``None`` if nothing is kept."""
        return None if self._journal is None else f"{self.name} {self._journal.generation} {key!a}"

    @property
    def has_room(self) -> bool:
        """Whether it takes more."""
        return len(self._waiting) < self._window

    def take(self, key: Key, recipient: str) -> tuple[int, Status | None]:
        """
        Return the hashed key of a message to a recipient, and what earlier tries know of it.

        :param key: of the message.
        :return: the key; ``sent``, ``rejected``, ``unknown``, or ``None`` if it is still to be sent.
        :raises CheckpointError: if the same message to the same recipient was taken before.
        """
        # A message is told from others by its key and the recipients in the case that they were given in.
        hashed = hash_key((key, recipient))
        if not self._taken.add(hashed):
            raise CheckpointError(f"resume={self.name!r}: two messages to {recipient} have the key {key!r}")
        if (journal := self._journal) is None:
            return hashed, None
        for status, letter in _LETTERS.items():
            if hashed in journal.outcomes.get(letter, ()):
                return hashed, status
        return hashed, "unknown" if hashed in journal.open else None

    def add(self, delivery: Delivery) -> None:
        """Let a delivery go as soon as that is written down; at once if nothing is kept."""
        if self._journal is None:
            self._release(delivery)
            return
        self._waiting.append(delivery)
        self._wake.set()

    def settle(self, delivery: Delivery, recipient: str, status: Status) -> None:
        """Note what became of a recipient."""
        if self._journal is None:
            return
        hashed = delivery.shipment.hashes[recipient]
        if status == "deferred":
            self._journal.withdraw(hashed)
        else:
            self._journal.settle(hashed, _LETTERS[status])

    def finish(self, delivery: Delivery) -> None:
        """Note that nothing of a delivery is on its way any more."""
        self._out.discard(delivery)
        if self._waiting and self._should_write:
            self._wake.set()

    def withdraw(self, delivery: Delivery) -> None:
        """Note that a delivery is not on its way for now, and that it is sure that nothing came of it."""
        if self._journal is not None and delivery in self._out:
            for recipient in delivery.recipients:
                self._journal.withdraw(delivery.shipment.hashes[recipient])
        self.finish(delivery)

    async def work(self) -> None:
        """Write, again and again, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting and self._should_write:
                await self._let_some_go()

    @property
    def _has_place(self) -> bool:
        return len(self._out) < self._window

    @property
    def _should_write(self) -> bool:
        # A third of a window at a time: the connections are busy with the rest while it is written. With half of one,
        # they wait where a server takes 2,000 mails a second and a write 20 ms; with less, there are more writes.
        return len(self._out) * 3 <= self._window * 2 or (self._has_place and self._is_dry())

    async def _let_some_go(self) -> None:
        assert self._journal is not None  # noqa: S101 - nothing waits otherwise
        some: list[Delivery] = []
        begun = self._journal.begun
        while self._waiting and self._has_place:
            if begun and begun + len(self._waiting[0].recipients) > MOST_BEGUN:
                break
            delivery = self._waiting.popleft()
            self._journal.begin(delivery.shipment.hashes[recipient] for recipient in delivery.recipients)
            begun += len(delivery.recipients)
            self._out.add(delivery)
            some.append(delivery)
        if some:
            await self._save(self._journal)
        for delivery in some:
            self._release(delivery)

    async def _save(self, journal: Journal) -> None:
        failures = 0
        while True:
            try:
                await journal.save()
            except Exception as error:
                failures += 1
                if failures >= _MOST_FAILURES:
                    raise CheckpointError(
                        f"resume={self.name!r}: it cannot be kept which mails are about to be sent, so none is: {error}"
                    ) from error
                seconds = min(_LONGEST_WAIT_SECONDS, 0.2 * 2**failures)
                log.warning("%s: nothing more is sent for %.1f s, for the store failed: %s", self.name, seconds, error)
                await asyncio.sleep(seconds)
            else:
                return

    def close(self) -> None:
        """Let another piece of work have the name. What an error has ended is saved while others still clean up."""
        # They were let go, and not sent.
        for delivery in [*self._out]:
            self.withdraw(delivery)
        if self._checkpoints is not None and self._journal is not None:
            self._checkpoints.release(self._journal.name)
            if sys.exception() is not None:
                self._checkpoints.save_soon()
            self._checkpoints = None


def checked_key(make: Callable[[T], object], message: T) -> Key:
    """
    Return what ``key=`` makes of a message.

    :raises TypeError: if it is no key.
    """
    made = make(message)
    key = plain_key(made)
    if key is None:
        raise TypeError(f"key= must make a string, an integer or a tuple of these, not {made!r} of {message!r}")
    return key
