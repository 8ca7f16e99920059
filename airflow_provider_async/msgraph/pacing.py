# SPDX-License-Identifier: Apache-2.0
"""Requests that begin more slowly while a quota is nearly used up."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["THRESHOLD", "Pacing"]

#: From this part of a quota on, Graph says how much of it is used.
#: https://learn.microsoft.com/graph/throttling-limits#identity-and-access-service-limits
THRESHOLD = 0.8

#: Quotas are counted over ten seconds.
_WINDOW_SECONDS = 10.0

#: The allowed rate grows by so much with each second in which Graph says nothing more.
_GROWTH = 1.1

#: After so many windows of silence, nothing is held back any longer.
_QUIET_SECONDS = 3 * _WINDOW_SECONDS

#: However much is used, so many requests a second are allowed.
_LEAST_RATE = 0.5


class Pacing:
    """
    Holds the rate of requests where it would use four fifths of a quota, and lets it grow again when Graph is silent.

    What the rate has been is measured here, for nobody else knows how many requests a part of a quota is.

    :param clock: seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = self._counted_at = clock()
        self._count = 0.0
        self._allowed = 0.0
        self._noted_at = -math.inf
        self._next_at = 0.0

    @property
    def is_on(self) -> bool:
        """Whether requests are held back."""
        return self._noted_at > -math.inf and self._clock() - self._noted_at < _QUIET_SECONDS

    @property
    def rate(self) -> float:
        """How many requests a second there were lately, the older the less."""
        now = self._clock()
        count = self._count * math.exp((self._counted_at - now) / _WINDOW_SECONDS)
        # In the beginning there is less to look back at.
        seconds = _WINDOW_SECONDS * -math.expm1((self._since - now) / _WINDOW_SECONDS)
        return count / max(seconds, 1 / _WINDOW_SECONDS)

    @property
    def allowed(self) -> float:
        """How many requests a second may begin while this :attr:`is_on`."""
        quiet = self._clock() - self._noted_at
        return max(_LEAST_RATE, self._allowed * math.pow(_GROWTH, quiet))

    def note(self, used: str | None) -> None:
        """
        Count a request that was answered.

        :param used: the header ``x-ms-throttle-limit-percentage``: the part of the quota that is used, 1.0 for all.
        """
        now = self._clock()
        self._count = self._count * math.exp((self._counted_at - now) / _WINDOW_SECONDS) + 1
        self._counted_at = now
        if used is None:
            return
        try:
            part = float(used)
        except ValueError:
            return
        if THRESHOLD <= part < math.inf:
            self._allowed = self.rate * THRESHOLD / part
            self._noted_at = now

    def delay(self) -> float:
        """Return how long to wait before the next request begins, which is counted on."""
        now = self._clock()
        begins = max(now, self._next_at)
        self._next_at = begins + 1 / self.allowed
        return begins - now

    async def acquire(self) -> None:
        """Wait for one's turn, if requests are held back."""
        if self.is_on and (seconds := self.delay()) > 0:
            await asyncio.sleep(seconds)
