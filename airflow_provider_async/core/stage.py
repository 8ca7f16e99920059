# SPDX-License-Identifier: Apache-2.0
"""What is shown of the works that have one label."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_async.core.pace import History, Pace
from airflow_provider_async.core.work import Counts, newest, slowest

if TYPE_CHECKING:
    from airflow_provider_async.core.progress import Progress
    from airflow_provider_async.core.work import Failure, SlowItem, Work

__all__ = ["Stage"]


class Stage:
    """
    All works of one label below the same stage, added up; those that have ended leave nothing but their counts.

    :param label: of the works.
    :param parent: the stage for whose items these works were made.
    :param now: seconds of the monitor's clock.
    """

    def __init__(self, label: str, parent: Stage | None, now: float) -> None:
        self.label = label
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.children: dict[str, Stage] = {}
        self.history = History(now)
        self._works: dict[Work, None] = {}
        self._ended = Counts()
        self._ended_total = 0
        self._ended_seconds = 0.0
        self._ended_failures: list[Failure] = []
        self._ended_slowest: list[SlowItem] = []
        self._active_since = now
        self._pace = Pace(now)

    def begin(self, work: Work, now: float) -> None:
        """Count a work that begins."""
        if not self._works:
            self._active_since = now
            self._pace.go_on(now, self._ended.worked, self._ended.bytes)
            self.history.go_on(now, self._ended.worked)
        self._works[work] = None

    def end(self, work: Work, now: float) -> None:
        """Keep of a work that ends its counts alone."""
        del self._works[work]
        self._ended.add(work)
        self._ended_total += work.done + work.failed if work.total is None else work.total
        self._ended_failures = newest([*self._ended_failures, *work.failures])
        self._ended_slowest = slowest([*self._ended_slowest, *work.slowest])
        if not self._works:
            self._ended_seconds += now - self._active_since

    def tick(self, now: float) -> None:
        """Note how far it has come, for the rates."""
        counts = self.counts()
        if self._works or counts.worked != self.history.items:
            self._pace.sample(now, counts.worked, counts.bytes)
            self.history.add(now, counts.worked)
        for work in self._works:
            work.sample(now)

    @property
    def active(self) -> int:
        """How many works have begun and not ended."""
        return len(self._works)

    @property
    def path(self) -> list[Stage]:
        """The stages from the outermost one to this."""
        return [self] if self.parent is None else [*self.parent.path, self]

    @property
    def tree(self) -> list[Stage]:
        """This stage and those below it, each before its own, in order of appearance."""
        return [self, *(below for child in self.children.values() for below in child.tree)]

    @property
    def name(self) -> str:
        """The labels from the outermost one to this."""
        return " > ".join(stage.label for stage in self.path)

    @property
    def failures(self) -> list[Failure]:
        """The newest failures, the newest last."""
        return newest([*self._ended_failures, *(failure for work in self._works for failure in work.failures)])

    @property
    def slowest(self) -> list[SlowItem]:
        """The slowest items, the slowest first."""
        return slowest([*self._ended_slowest, *(item for work in self._works for item in work.slowest)])

    @property
    def total(self) -> int | None:
        """How many items there are, as far as works have begun; ``None`` if one at work does not know it."""
        total = self._ended_total
        for work in self._works:
            if work.total is None:
                return None
            total += work.total
        return total

    def counts(self) -> Counts:
        """Add up what was counted."""
        counts = Counts()
        counts.add(self._ended)
        for work in self._works:
            counts.add(work)
        return counts

    def progress(self, now: float) -> Progress:
        """
        Return the counts of this moment.

        Its ``elapsed`` leaves out the time in which there was nothing to do. How long the rest takes is known of the
        outermost stages alone: further works may begin in the others.

        :param now: seconds of the monitor's clock.
        """
        counts = self.counts()
        elapsed = self._ended_seconds
        if self._works:
            elapsed += now - self._active_since
            rates = self._pace.rates(now, counts.worked, counts.bytes)
        elif elapsed > 0:
            rates = counts.worked / elapsed, counts.bytes / elapsed
        else:
            rates = 0.0, 0.0
        goes_on = bool(self._works) and self.parent is None
        return counts.progress(label=self.label, total=self.total, elapsed=elapsed, rates=rates, goes_on=goes_on)
