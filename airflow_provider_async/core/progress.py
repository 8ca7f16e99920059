# SPDX-License-Identifier: Apache-2.0
"""How far a piece of work has come."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Progress", "Tally"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """
    The counts of one ``amap`` at one moment. Two are equal if their counts are, whatever their label and times.

    :param done: items whose call ended without an error, those included that were skipped.
    :param failed: items whose call raised an error, its retries included.
    :param skipped: items of those done for which there was nothing to do, such as a file that was there already.
    :param resumed: items of those done that an earlier try has done.
    :param total: how many items there are, if that is known.
    :param bytes: what was transferred, where bytes are: with each part of a large file, not only at its end.
    :param retries: how often something was tried again.
    :param lease_waits: how often a call had to wait for a lease of a pool.
    :param lease_wait_seconds: how long these waits took, all added up.
    :param label: what the work is called.
    :param elapsed: seconds since the first result was asked for, until the end.
    :param rate: items a second, done or failed, over about the last ten seconds; over all once it has ended. What an
        earlier try has done does not count.
    :param bytes_rate: bytes a second, likewise.
    :param seconds_left: how long the rest takes at this rate; ``None`` if that is not known.
    """

    done: int
    failed: int
    total: int | None
    skipped: int = 0
    resumed: int = 0
    bytes: int = 0
    retries: int = 0
    lease_waits: int = 0
    lease_wait_seconds: float = field(default=0.0, compare=False)
    label: str = field(default="", compare=False)
    elapsed: float = field(default=0.0, compare=False)
    rate: float = field(default=0.0, compare=False)
    bytes_rate: float = field(default=0.0, compare=False)
    seconds_left: float | None = field(default=None, compare=False)


@dataclass(slots=True)
class Tally:
    """What the function of an ``amap`` counts itself, as it goes; read by ``AsyncMap.progress``."""

    skipped: int = 0
    bytes: int = 0
