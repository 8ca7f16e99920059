# SPDX-License-Identifier: Apache-2.0
"""What the demo says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Measurement", "format_table", "say", "say_end_of"]

_LAST_LINES = 25

_HEADINGS = ("", "files", "seconds", "files a second", "ratio", "rows loaded", "connections")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """
    How one way of loading files went.

    :param name: what it is called.
    :param files: how many files were there to be loaded.
    :param seconds: how long its task took.
    :param rows: how many of the rows that they hold are in the database.
    :param expected_rows: how many they hold.
    :param connections: how many connections the server counted.
    """

    name: str
    files: int
    seconds: float
    rows: int
    expected_rows: int
    connections: int

    @property
    def files_per_second(self) -> float:
        """How fast it was."""
        return self.files / self.seconds

    @property
    def is_complete(self) -> bool:
        """Whether no row is missing."""
        return self.rows == self.expected_rows


def say(text: str) -> None:
    """Print something, at once."""
    print(text, flush=True)  # noqa: T201 - the demo's output


def say_end_of(log: Path) -> None:
    """Print the last lines of a log, which tell why something failed."""
    lines = log.read_text(errors="replace").splitlines()
    say("\n".join(("The log ends with:", *lines[-_LAST_LINES:], "")))


def format_table(measurements: Sequence[Measurement]) -> str:
    """
    Return a table with a line for each measurement.

    :param measurements: the first one is compared with the others: a ratio says how many times as many files a second
        it loaded.
    """
    lines = [_HEADINGS]
    for measurement in measurements:
        rows = f"{measurement.rows:,}"
        lines.append(
            (
                measurement.name,
                f"{measurement.files:,}",
                f"{measurement.seconds:.2f}",
                _three_digits(measurement.files_per_second),
                _three_digits(measurements[0].files_per_second / measurement.files_per_second),
                rows if measurement.is_complete else f"{rows} of {measurement.expected_rows:,}",
                f"{measurement.connections:,}",
            )
        )
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join((name.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))))
        for name, *cells in lines
    )


def _three_digits(number: float) -> str:
    """Return a number with the digits that mean something."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.1f}"  # noqa: PLR2004
