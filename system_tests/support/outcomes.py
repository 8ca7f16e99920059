# SPDX-License-Identifier: Apache-2.0
"""What became of a hazard, and in what that falls short of what should have."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from system_tests.hazards import Hazard
    from system_tests.support.client import TaskLog

# Airflow sends SIGKILL so long after SIGTERM.
KILLED_AFTER_SECONDS = 5.0


@dataclass(frozen=True)
class Mark:
    """What a task wrote down while it ran."""

    name: str
    try_number: int
    pid: int
    parent_pid: int
    time: float


def read_marks(folder: Path) -> list[Mark]:
    """
    Read what a task wrote down in all of its tries.

    :param folder: the task's
    """
    marks = []
    for path in sorted(folder.glob("[0-9]*/[!.]*")):
        pid, parent_pid, time = path.read_text().split()
        marks.append(Mark(path.name, int(path.parent.name), int(pid), int(parent_pid), float(time)))
    return marks


@dataclass(frozen=True)
class Shortcoming:
    """
    One thing that is not as it should be.

    :param short: in a word or two, for a table
    :param detail: in a sentence
    """

    short: str
    detail: str


@dataclass(kw_only=True)
class Observation:
    """
    What was seen of a hazard in one run.

    :param states: of its task instances, one unless it is mapped
    :param tries: how many tries it took
    :param seconds: how long its longest try ran
    :param hung: whether it had not ended within its time and was ended by force
    :param lingered: whether its process had to be ended by force after it should have been gone
    :param stop_seconds: how long after a signal it made its last mark
    :param marks: the names of the marks it made
    """

    states: set[str] = field(default_factory=set)
    tries: int = 0
    seconds: float = 0.0
    hung: bool = False
    lingered: bool = False
    stop_seconds: float = 0.0
    marks: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Outcome:
    """
    What became of a hazard in one run.

    :param name: the hazard's
    :param seconds: how long its longest try ran
    :param shortcomings: what is not as it should be
    :param log: its log, of all its tries
    """

    name: str
    seconds: float
    shortcomings: list[Shortcoming]
    log: str


def judge(hazard: Hazard, seen: Observation, log: TaskLog) -> Outcome:
    """
    Compare what became of a hazard with what should have.

    :param hazard: what should have
    :param seen: what did
    :param log: its log, of all its tries
    """
    shortcomings = [*_judge_end(hazard, seen), *_judge_marks(hazard, seen), *_judge_log(hazard, log)]
    return Outcome(hazard.name, round(seen.seconds, 1), shortcomings, log.text)


def _judge_end(hazard: Hazard, seen: Observation) -> Iterator[Shortcoming]:
    if seen.hung:
        short = "hangs" if hazard.action is None else "goes on"
        yield Shortcoming(short, f"It had not ended within {hazard.within_seconds} s and was ended by force.")
        return
    states = ", ".join(sorted(seen.states))
    if seen.states != {hazard.state}:
        yield Shortcoming(states, f"Its state is {states}, not {hazard.state}.")
    if seen.tries != hazard.tries:
        yield Shortcoming(f"{seen.tries} tries", f"It took {seen.tries} tries, not {hazard.tries}.")
    if seen.stop_seconds > KILLED_AFTER_SECONDS:
        yield Shortcoming("too late", f"It ended {seen.stop_seconds:.1f} s after the signal: Airflow kills it before.")
    if seen.lingered:
        yield Shortcoming("process stays", f"Its process had not ended {hazard.gone_within_seconds} s later.")


def _judge_marks(hazard: Hazard, seen: Observation) -> Iterator[Shortcoming]:
    missing = [name for name in hazard.marks if name not in seen.marks]
    if any(name.startswith(("cleaned_up", "swallowed")) for name in missing):
        yield Shortcoming("no clean-up", f"Clean-up was not run to its end: {missing}, only {sorted(seen.marks)}.")
    elif any(name.startswith("failure_callback") for name in missing):
        yield Shortcoming("no callback", f"on_failure_callback was not run to its end: only {sorted(seen.marks)}.")
    elif missing:
        yield Shortcoming("cut short", f"It did not get to {missing}, only to {sorted(seen.marks)}.")
    if wrong := [name for name in hazard.no_marks if name in seen.marks]:
        yield Shortcoming("goes on", f"It got to {wrong}, which it must not.")


def _judge_log(hazard: Hazard, log: TaskLog) -> Iterator[Shortcoming]:
    for pattern in hazard.log:
        if not re.search(pattern, log.text):
            yield Shortcoming("not in the log", f"The log has nothing for {pattern!r}.")
    for pattern in hazard.log_once:
        if (times := len(re.findall(pattern, log.text))) != 1:
            yield Shortcoming("not once in the log", f"The log has {pattern!r} {times} times.")
    for pattern in hazard.log_lacks:
        if found := re.search(pattern, log.text):
            yield Shortcoming("in the log", f"The log has {found.group()!r}.")
    if hazard.frames_at_most is not None:
        frames = log.frames
        if len(frames) > hazard.frames_at_most or any("/asyncio/" in frame for frame in frames):
            yield Shortcoming(f"{len(frames)} frames", "The traceback is:\n" + "\n".join(frames))
