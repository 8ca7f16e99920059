# SPDX-License-Identifier: Apache-2.0
"""How far a piece of work has come."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Progress"]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """
    The counts of one ``amap`` at one moment.

    :param done: items whose call ended without an error.
    :param failed: items whose call raised an error, its retries included.
    :param total: how many items there are, if that is known.
    """

    done: int
    failed: int
    total: int | None
