# SPDX-License-Identifier: Apache-2.0
"""How far the work has come, in the log."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from airflow_provider_async.core.monitor import Observer

if TYPE_CHECKING:
    from airflow_provider_async.core.monitor import Monitor, Stage, Work
    from airflow_provider_async.core.progress import Progress

__all__ = ["LogLines", "bytes_text", "progress_text", "rate_text", "seconds_text"]

log = logging.getLogger("airflow_provider_async.progress")

#: A stage that is at work has a line in so many seconds; one that ends again and again has a summary in as many.
LOG_SECONDS = 10.0


class LogLines(Observer):
    """
    Logs every ten seconds how far each stage has come that is at work, and a summary when an outermost one ends.

    What ends again within ten seconds is summed up later, with what follows or when the monitor ends.

    :param lines: whether there are lines about what is at work, or summaries alone.
    """

    def __init__(self, *, lines: bool = True) -> None:
        self._has_lines = lines
        self._said_at: dict[Stage, float] = {}
        self._summed_up_at: dict[Stage, float] = {}
        self._unsaid: dict[Stage, None] = {}

    def work_began(self, work: Work) -> None:
        """Have the first line ten seconds from now."""
        self._said_at.setdefault(work.stage.path[0], work.clock())

    def work_ended(self, work: Work) -> None:
        """Sum up, if no other work of its label is going on."""
        stage = work.stage
        if stage.parent is None and not stage.active:
            self._unsaid[stage] = None
            self._sum_up(stage, work.clock())

    def tick(self, monitor: Monitor) -> None:
        """Say how far everything has come that is at work."""
        now = monitor.clock()
        for stage in [*self._unsaid]:
            if not stage.active:
                self._sum_up(stage, now)
        if not self._has_lines:
            return
        due = [
            stage
            for stage in monitor.stages
            if stage.parent is None and stage.active and now - self._said_at[stage] >= LOG_SECONDS
        ]
        for stage in due:
            self._say(stage, now)
        for name, counts in monitor.pools.items() if due else ():
            if counts.auto:
                log.info("%s: %s at once, found out to be best so far", name, f"{counts.limit:,}")

    def close(self, monitor: Monitor) -> None:
        """Say what is unsaid, and how far that came which is still at work."""
        now = monitor.clock()
        for stage in monitor.stages:
            if stage.parent is None and stage.active:
                self._say(stage, now)
            elif stage in self._unsaid:
                self._sum_up(stage, math.inf)

    def _say(self, outermost: Stage, now: float) -> None:
        self._said_at[outermost] = now
        for stage in outermost.tree:
            if stage.active:
                log.info("%s: %s", stage.name, progress_text(stage.progress(now)))

    def _sum_up(self, outermost: Stage, now: float) -> None:
        if now - self._summed_up_at.get(outermost, -math.inf) < LOG_SECONDS:
            return
        self._said_at[outermost] = self._summed_up_at[outermost] = now
        del self._unsaid[outermost]
        for stage in outermost.tree:
            log.info("%s: %s", stage.name, _summary(stage, now))


def progress_text(progress: Progress) -> str:
    """Say in a line how far something has come, and how fast."""
    parts = _counts(progress)
    if progress.rate:
        parts.append(rate_text(progress.rate))
    if progress.bytes_rate:
        parts.append(f"{bytes_text(progress.bytes_rate)}/s")
    if progress.seconds_left is not None:
        parts.append(f"{seconds_text(progress.seconds_left)} left")
    return ", ".join(parts)


def rate_text(rate: float) -> str:
    """Write a number of items a second."""
    if rate >= 9.95:  # noqa: PLR2004 - 10 when rounded
        return f"{rate:,.0f}/s"
    return f"{rate:.1f}/s" if rate >= 1 else f"{rate:.2g}/s"


def bytes_text(number: float) -> str:
    """Write a number of bytes."""
    unit, units = "B", ["TB", "GB", "MB", "kB"]
    while units and number >= 1000:  # noqa: PLR2004 - as its name says
        number /= 1000
        unit = units.pop()
    return f"{number:,.0f} {unit}" if unit == "B" or number >= 9.95 else f"{number:.1f} {unit}"  # noqa: PLR2004


def seconds_text(seconds: float) -> str:
    """Write a time, in seconds as long as they say enough."""
    if seconds < 9.95:  # noqa: PLR2004 - 10 when rounded
        return f"{seconds:.1f} s"
    if seconds < 120:  # noqa: PLR2004 - two minutes
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004 - two hours


def _counts(progress: Progress) -> list[str]:
    done, total = progress.done, progress.total
    if total is None:
        parts = [f"{done:,} done"]
    else:
        parts = [f"{done:,} of {total:,} done" + (f" ({100 * done // total} %)" if total else "")]
    for number, what in (
        (progress.resumed, "by an earlier try"),
        (progress.skipped, "skipped"),
        (progress.failed, "failed"),
        (progress.retries, "retried"),
    ):
        if number:
            parts.append(f"{number:,} {what}")
    return parts


def _summary(stage: Stage, now: float) -> str:
    progress = stage.progress(now)
    parts = _counts(progress)
    parts.append(f"in {seconds_text(progress.elapsed)}")
    if progress.rate:
        parts.append(rate_text(progress.rate))
    if progress.bytes:
        parts.append(f"{bytes_text(progress.bytes)} at {bytes_text(progress.bytes_rate)}/s")
    if progress.lease_waits:
        waited = seconds_text(progress.lease_wait_seconds)
        parts.append(f"{progress.lease_waits:,} waits for a connection, {waited} in all")
    if slowest := stage.slowest:
        parts.append("slowest: " + ", ".join(f"{slow.item} {seconds_text(slow.seconds)}" for slow in slowest))
    return ", ".join(parts)
