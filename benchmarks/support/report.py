# SPDX-License-Identifier: Apache-2.0
"""From times to claims: samples are scaled, medians taken, and ratios compared with limits."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Time:
    """
    One run of one client.

    :param seconds: what it took.
    :param files: how many files (or names) it was given.
    :param of: how many the full work has.
    :param few_seconds: what very few took, when it was given a sample: to start and to connect does not take longer
        the more files there are.
    :param few_files: how many these were.
    :param growth_mib: by how much its memory grew, at the most; ``None`` if that was not measured.
    """

    seconds: float
    files: int
    of: int
    few_seconds: float = 0.0
    few_files: int = 0
    growth_mib: float | None = None

    @property
    def scaled_seconds(self) -> float:
        """What the full work would take."""
        each = (self.seconds - self.few_seconds) / (self.files - self.few_files)
        return self.few_seconds + each * (self.of - self.few_files)


@dataclass
class Times:
    """
    All runs, by what was run: ``"rclone@10"`` is rclone over a round trip of 10 ms.

    :param about: the versions, and what else there is to know.
    """

    about: dict[str, str] = field(default_factory=dict)
    runs: dict[str, list[Time]] = field(default_factory=dict)

    def add(self, name: str, time: Time) -> None:
        self.runs.setdefault(name, []).append(time)

    def seconds(self, name: str) -> float | None:
        """Return the median, scaled to the full work; ``None`` if it was not run."""
        runs = self.runs.get(name)
        return statistics.median(run.scaled_seconds for run in runs) if runs else None

    def growth_mib(self, name: str) -> float | None:
        """Return the most that the client's memory ever grew; ``None`` if that was not measured."""
        grown = [run.growth_mib for run in self.runs.get(name, ()) if run.growth_mib is not None]
        return max(grown, default=None)

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        runs = {name: [asdict(run) for run in runs] for name, runs in self.runs.items()}
        path.write_text(json.dumps({"about": self.about, "runs": runs}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Times:
        """Read what :meth:`save` wrote."""
        content = json.loads(path.read_text())
        runs = {name: [Time(**run) for run in runs] for name, runs in content["runs"].items()}
        return cls(content["about"], runs)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """
    A claim: so many times the seconds of one run are those of another.

    :param claim: in words.
    :param slow: the run above the line.
    :param fast: the run below it.
    """

    claim: str
    slow: str
    fast: str
    at_least: float | None = None
    at_most: float | None = None

    def measured(self, times: Times) -> float | None:
        """Return the ratio; ``None`` if one of the two was not run."""
        slow, fast = times.seconds(self.slow), times.seconds(self.fast)
        return None if slow is None or fast is None else slow / fast

    @property
    def unit(self) -> str:
        return " times"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """
    A claim: the memory of a client grows by no more than so many MiB, in any of some runs.

    :param claim: in words.
    :param runs: which runs.
    """

    claim: str
    runs: tuple[str, ...]
    at_most: float
    at_least: float | None = None

    def measured(self, times: Times) -> float | None:
        """Return the most of all; ``None`` if none was run."""
        grown = [mib for name in self.runs if (mib := times.growth_mib(name)) is not None]
        return max(grown, default=None)

    @property
    def unit(self) -> str:
        return " MiB"


Claim = Ratio | Growth


def check(claim: Claim, times: Times) -> bool:
    """Print a claim beside what was measured, and tell whether it holds; what was not measured is no miss."""
    limit = f"at least {claim.at_least:g}" if claim.at_least is not None else f"at most {claim.at_most:g}"
    measured = claim.measured(times)
    if measured is None:
        print(f"---- {claim.claim}: not measured ({limit}{claim.unit})")
        return True
    high_enough = claim.at_least is None or measured >= claim.at_least
    low_enough = claim.at_most is None or measured <= claim.at_most
    holds = high_enough and low_enough
    print(f"{'ok  ' if holds else 'MISS'} {claim.claim}: {measured:.2f}{claim.unit} ({limit}{claim.unit})")
    return holds


def print_table(times: Times, *, heading: str) -> None:
    """Print each client's times; a sample is marked, and its times are scaled."""
    print(f"{heading:24}{'median s':>10}{'least':>10}{'most':>10}  {'runs':>4}  measured on")
    for name, runs in times.runs.items():
        scaled = sorted(run.scaled_seconds for run in runs)
        first = runs[0]
        extent = f"{first.files:,}" if first.files == first.of else f"{first.files:,} of {first.of:,}, scaled"
        print(f"{name:24}{statistics.median(scaled):10.2f}{scaled[0]:10.2f}{scaled[-1]:10.2f}  {len(runs):4}  {extent}")
