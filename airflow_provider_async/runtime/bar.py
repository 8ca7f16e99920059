# SPDX-License-Identifier: Apache-2.0
"""A live bar in a terminal, where a task runs in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_async.core.monitor import Observer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from airflow_provider_async.core.monitor import Monitor, Stage

__all__ = ["Bar"]


class Bar(Observer):
    """Draws a bar for each stage on standard error, below what else is written there."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._rows: dict[Stage, TaskID] = {}

    def tick(self, monitor: Monitor) -> None:
        """Draw what is new."""
        if not monitor.stages:
            return
        if self._progress is None:
            self._progress = _make_progress()
            self._progress.start()
        now = monitor.clock()
        for stage in monitor.stages:
            if stage not in self._rows:
                self._rows[stage] = self._progress.add_task("", counts="", rate="", left="")
            at = stage.progress(now)
            failed = f", {at.failed:,} failed" if at.failed else ""
            of = "" if at.total is None else f" of {at.total:,}"
            self._progress.update(
                self._rows[stage],
                description=f"{'  ' * stage.depth}{stage.label}",
                completed=at.done + at.failed,
                total=at.total,
                counts=f"{at.done:,}{of}{failed}",
                rate=f"{at.rate:,.0f}/s",
                left="" if at.seconds_left is None else f"{at.seconds_left:,.0f} s left",
            )
        self._progress.refresh()

    def close(self, monitor: Monitor) -> None:  # noqa: ARG002
        """Give the terminal back."""
        if self._progress is not None:
            self._progress.stop()


def _make_progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        *(TextColumn(f"{{task.fields[{field}]}}", markup=False) for field in ("counts", "rate", "left")),
        console=Console(stderr=True),
        # No thread: each tick draws.
        auto_refresh=False,
    )
