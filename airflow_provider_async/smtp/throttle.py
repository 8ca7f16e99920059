# SPDX-License-Identifier: Apache-2.0
"""How much a server takes in a time: the limits that all mails of a pool keep together."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from airflow_provider_async.core.pause import Pause

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_async.core.values import Rate

__all__ = ["Throttle"]

_DAY_SECONDS = 24 * 3600.0


class Throttle:
    """
    Says when the next mail may begin.

    :param rate: mails a second, or a number and seconds; evenly spread, so that no such time has more of them.
    :param recipients_per_day: how many recipients there may be in any 24 hours.
    :param pause: what all mails wait for when the server wants less.
    :param clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        rate: Rate | None = None,
        recipients_per_day: int | None = None,
        pause: Pause | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        number, seconds = rate if isinstance(rate, tuple) else (rate, 1.0)
        self._interval = 0.0 if number is None else seconds / number
        self._most_recipients = recipients_per_day
        self._clock = clock
        self._next_at = 0.0
        self._counted: deque[tuple[float, int]] = deque()
        self._recipients = 0
        self.pause = pause or Pause(clock=clock)

    @property
    def seconds_left(self) -> float:
        """How long no mail may begin."""
        seconds = self.pause.seconds_left if self.pause.is_on else 0.0
        return max(seconds, self._next_at - self._clock()) if self._interval else seconds

    def begin(self) -> None:
        """Count a mail that begins."""
        if self._interval:
            self._next_at = max(self._next_at, self._clock()) + self._interval

    def allows(self, recipients: int) -> bool:
        """Count new recipients, unless they are too many for the day."""
        most = self._most_recipients
        if most is None:
            return True
        now = self._clock()
        while self._counted and self._counted[0][0] <= now - _DAY_SECONDS:
            self._recipients -= self._counted.popleft()[1]
        if self._recipients + recipients > most:
            return False
        self._recipients += recipients
        self._counted.append((now, recipients))
        return True

    @property
    def refusal(self) -> str:
        """What is said of a mail that is too much for the day."""
        return f"the limit of {self._most_recipients} recipients a day is reached"
