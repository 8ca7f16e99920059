# SPDX-License-Identifier: Apache-2.0
"""What one ``amap`` counts while it works."""

from __future__ import annotations

import reprlib
import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_async.core.pace import Pace
from airflow_provider_async.core.progress import Progress, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_async.core.monitor import Monitor
    from airflow_provider_async.core.stage import Stage

__all__ = ["Counts", "Failure", "SlowItem", "Work", "item_repr", "newest", "slowest", "working_on"]

#: How many of the newest failures are kept, and how many of the slowest items.
MOST_FAILURES = 10
MOST_SLOW_ITEMS = 5

#: Nobody asks which item took less.
_SLOW_SECONDS = 0.1

#: A stage's name is the beginning of its works' label.
LABEL_CHARACTERS = 100

_ITEM_CHARACTERS = 200
_ERROR_CHARACTERS = 300

_item_repr = reprlib.Repr()
_item_repr.maxstring = _item_repr.maxother = _ITEM_CHARACTERS

#: Whose items the running task works on: retries and waits for leases are counted there.
working_on: ContextVar[Work | None] = ContextVar("working_on", default=None)


def item_repr(item: object) -> str:
    """Return the beginning of what an item looks like."""
    return _item_repr.repr(item)[:_ITEM_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Failure:
    """
    An item that failed.

    :param label: what the work is called.
    :param item: the beginning of what the item looks like.
    :param error: the type of the error and the beginning of its text.
    :param at: when, in seconds since 1970.
    """

    label: str
    item: str
    error: str
    at: float


@dataclass(frozen=True, slots=True)
class SlowItem:
    """
    An item that took long.

    :param item: the beginning of what the item looks like.
    :param seconds: how long its call took, its retries and its waiting for a lease included.
    """

    item: str
    seconds: float


@dataclass(slots=True)
class Counts:
    """What is counted of one work, or of several together; each field means what it means in ``Progress``."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    resumed: int = 0
    bytes: int = 0
    retries: int = 0
    lease_waits: int = 0
    lease_wait_seconds: float = 0.0

    @property
    def worked(self) -> int:
        """The items that were worked on now; what an earlier try has done would look like a miracle of speed."""
        return self.done + self.failed - self.resumed

    def add(self, other: Counts | Work) -> None:
        """Add what was counted elsewhere."""
        self.done += other.done
        self.failed += other.failed
        self.skipped += other.skipped
        self.resumed += other.resumed
        self.bytes += other.bytes
        self.retries += other.retries
        self.lease_waits += other.lease_waits
        self.lease_wait_seconds += other.lease_wait_seconds

    def progress(
        self, *, label: str, total: int | None, elapsed: float, rates: tuple[float, float], goes_on: bool
    ) -> Progress:
        """
        Make a record of this moment.

        :param label: of what this counts.
        :param total: how many items there are, if that is known.
        :param elapsed: seconds that were worked.
        :param rates: items and bytes a second.
        :param goes_on: whether it makes sense to ask how long the rest takes.
        """
        rate, bytes_rate = rates
        seconds_left: float | None = None
        if goes_on and total is not None and rate > 0:
            seconds_left = max(0, total - self.done - self.failed) / rate
        return Progress(
            done=self.done,
            failed=self.failed,
            total=total,
            skipped=self.skipped,
            resumed=self.resumed,
            bytes=self.bytes,
            retries=self.retries,
            lease_waits=self.lease_waits,
            lease_wait_seconds=self.lease_wait_seconds,
            label=label,
            elapsed=elapsed,
            rate=rate,
            bytes_rate=bytes_rate,
            seconds_left=seconds_left,
        )


class Work:
    """
    The live counts of one ``amap``, from the first result that is asked for until its last call has ended.

    :param label: what it is called.
    :param total: how many items there are, if that is known.
    :param tally: what its function counts itself.
    :ivar parent: the work for one of whose items this one was made.
    :ivar monitor: by whom it is counted, once it has begun.
    :ivar stage: where it is shown, likewise.
    :ivar began: when it began, in seconds of the monitor's clock; ``None`` before that.
    :ivar ended: when it ended, likewise.
    :ivar clock: the monitor's clock.
    :ivar told: what was logged of it, and need not be again.
    :ivar slow_seconds: an item that took longer is to be given to :meth:`note_slow`.
    """

    __slots__ = (
        "_pace",
        "began",
        "clock",
        "done",
        "ended",
        "failed",
        "failures",
        "label",
        "lease_wait_seconds",
        "lease_waits",
        "monitor",
        "parent",
        "resumed",
        "retries",
        "slow_seconds",
        "slowest",
        "stage",
        "tally",
        "told",
        "total",
        "wall_clock",
    )

    stage: Stage
    _pace: Pace

    def __init__(self, label: str, *, total: int | None = None, tally: Tally | None = None) -> None:
        self.label = label
        self.total = total
        self.tally = tally or Tally()
        self.parent = working_on.get()
        self.monitor: Monitor | None = None
        self.done = 0
        self.failed = 0
        self.resumed = 0
        self.retries = 0
        self.lease_waits = 0
        self.lease_wait_seconds = 0.0
        self.began: float | None = None
        self.ended: float | None = None
        self.clock: Callable[[], float] = time.monotonic
        self.wall_clock: Callable[[], float] = time.time
        self.slow_seconds = _SLOW_SECONDS
        self.slowest: list[SlowItem] = []
        self.failures: list[Failure] = []
        self.told: set[str] = set()

    @property
    def skipped(self) -> int:
        """The items for which there was nothing to do."""
        return self.tally.skipped

    @property
    def bytes(self) -> int:
        """What was transferred."""
        return self.tally.bytes

    @property
    def progress(self) -> Progress:
        """The counts of this moment."""
        counts = Counts()
        counts.add(self)
        elapsed, rates = 0.0, (0.0, 0.0)
        if self.began is not None:
            now = self.clock() if self.ended is None else self.ended
            elapsed = now - self.began
            pace = self._pace if self.ended is None else Pace(self.began)
            rates = pace.rates(now, counts.worked, counts.bytes)
        goes_on = self.began is not None and self.ended is None
        return counts.progress(label=self.label, total=self.total, elapsed=elapsed, rates=rates, goes_on=goes_on)

    def begin(self, monitor: Monitor) -> None:
        """Be counted, by this monitor."""
        self.monitor = monitor
        self.clock = monitor.clock
        self.wall_clock = monitor.wall_clock
        self.began = self.clock()
        self._pace = Pace(self.began)
        monitor.begin(self, self.began)

    def end(self) -> None:
        """Come to an end, if it has begun and not ended."""
        if self.monitor is not None and self.ended is None:
            self.ended = self.clock()
            self.monitor.end(self, self.ended)

    def sample(self, now: float) -> None:
        """Note how far it has come, for the rate."""
        self._pace.sample(now, self.done + self.failed - self.resumed, self.tally.bytes)

    def note_failure(self, item: object, error: BaseException) -> None:
        """Count an item that failed, and keep it among the newest."""
        self.failed += 1
        try:
            text = f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001 - an error that cannot even say what it is
            text = type(error).__name__
        self.failures.append(
            Failure(self.label[:LABEL_CHARACTERS], item_repr(item), text[:_ERROR_CHARACTERS], self.wall_clock())
        )
        del self.failures[:-MOST_FAILURES]

    def note_slow(self, item: object, seconds: float) -> None:
        """Keep an item that took longer than :attr:`slow_seconds`."""
        self.slowest = slowest([*self.slowest, SlowItem(item_repr(item), seconds)])
        if len(self.slowest) == MOST_SLOW_ITEMS:
            self.slow_seconds = self.slowest[-1].seconds


def newest(failures: list[Failure]) -> list[Failure]:
    """Return the newest of these, the newest last."""
    return sorted(failures, key=lambda failure: failure.at)[-MOST_FAILURES:]


def slowest(items: list[SlowItem]) -> list[SlowItem]:
    """Return the slowest of these, the slowest first."""
    return sorted(items, key=lambda slow: -slow.seconds)[:MOST_SLOW_ITEMS]
