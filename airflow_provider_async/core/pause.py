# SPDX-License-Identifier: Apache-2.0
"""A pause that all calls to one server make together."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Pause"]

#: After a pause whose end the server named, calls begin over this part of it, lest all come back in one moment.
_SPREAD = 0.1

#: So many calls that succeed undo one that was refused.
_EASING = 8

#: Growing any further would make no difference.
_MOST_REFUSALS = 16.0


class Pause:
    """
    A moment until which no call begins; each call asks before it begins, and whichever learns of a reason extends it.

    Where the server does not say how long, a pause doubles with each refusal that answers a call begun after the last
    pause, and shrinks as calls succeed: the rate settles near what the server takes.

    :param initial_seconds: the shortest pause where the server does not say how long.
    :param max_seconds: the longest such pause.
    :param clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        initial_seconds: float = 0.2,
        max_seconds: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._initial_seconds = initial_seconds
        self._max_seconds = max_seconds
        self._clock = clock
        self._until = 0.0
        self._spread_seconds = 0.0
        self._refused_at = 0.0
        self._refusals = 0.0

    @property
    def is_on(self) -> bool:
        """Whether a call that would begin now has to wait."""
        # Nearly always there was no pause yet, and the clock need not be asked.
        return self._until > 0.0 and self._until > self._clock()

    @property
    def seconds_left(self) -> float:
        """How long the pause still lasts."""
        return max(0.0, self._until - self._clock())

    def extend(self, seconds: float, *, spread_seconds: float | None = None) -> None:
        """
        Let no call begin for so long; a pause that lasts longer already is left as it is.

        :param seconds: from now on.
        :param spread_seconds: over which calls begin at random afterwards; by default a tenth of the pause.
        """
        until = self._clock() + seconds
        if until > self._until:
            self._until = until
            self._spread_seconds = seconds * _SPREAD if spread_seconds is None else spread_seconds

    def refused(self, began: float) -> None:
        """
        Pause because the server refused a call, without saying for how long.

        :param began: when the call began, by the clock. One that began before the last such pause was of the same
            crowd as those that led to it, and tells nothing new.
        """
        now = self._clock()
        if self._refusals and began < self._refused_at:
            return
        self._refused_at = now
        seconds = min(self._max_seconds, self._initial_seconds * 2**self._refusals)
        self._refusals = min(_MOST_REFUSALS, self._refusals + 1)
        self.extend(seconds / 2, spread_seconds=seconds)

    def succeeded(self) -> None:
        """Note that the server has accepted a call."""
        if self._refusals:
            self._refusals = max(0.0, self._refusals - 1 / _EASING)

    async def wait(self) -> None:
        """Wait until the pause is over, however often it is extended meanwhile, and a moment of one's own longer."""
        # An event would have to be set by whoever the pause ends for; time alone ends it.
        while (seconds := self._until - self._clock()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(seconds + random.random() * self._spread_seconds)  # noqa: S311 - no secret
