# SPDX-License-Identifier: Apache-2.0
"""How far a piece of work has come."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress", "Tally"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """
    The counts of one ``amap`` at one moment.

    :param done: items whose call ended without an error, those included that were skipped.
    :param failed: items whose call raised an error, its retries included.
    :param skipped: items of those done for which there was nothing to do, such as a file that was there already.
    :param resumed: items of those done that an earlier try has done.
    :param total: how many items there are, if that is known.
    :param bytes: what was transferred, where bytes are: with each part of a large file, not only at its end.
    """

    done: int
    failed: int
    total: int | None
    skipped: int = 0
    resumed: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Tally:
    """What the function of an ``amap`` counts itself, as it goes; read by ``AsyncMap.progress``."""

    skipped: int = 0
    bytes: int = 0
