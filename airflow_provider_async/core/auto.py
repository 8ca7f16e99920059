# SPDX-License-Identifier: Apache-2.0
"""
How many operations at once are best for a server of which nothing is known.

With one number in flight all the time, throughput is that number over the latency (Little's law): it grows until the
server is busy, and from then on only the latency does. So what is compared is the throughput at two limits, and nothing
has to be known of a latency without load, which limiters that go by latency alone (TCP Vegas, gradients) take for the
smallest seen: files and pages of different sizes have no such thing.

A server that refuses is another matter, and is answered as in TCP: the limit falls at once, to what was good before or
else by a part of itself (multiplicative decrease), is raised by steps, and stays below the number that was refused for
a while, for each refusal costs a pause.
"""

from __future__ import annotations

import math

__all__ = ["AutoLimit"]

INITIAL_LIMIT = 4

#: A measurement takes as many operations as this many times the limit, and as these, and so many seconds for each time;
#: but it ends after the latter seconds if it has gone round twice. So it does while the limit is doubled, when the
#: difference that is looked for is large. Before it, what is in flight ends, which belongs to another limit.
_ROUNDS = 4
_LEAST_ENDED = 20
_LEAST_SECONDS = 0.15
_ENOUGH_SECONDS = 2.0
_ENOUGH_ROUNDS = 2

#: The limit was what held operations back if so much of it was in use, on average.
_BUSY = 0.75

#: Steps up and down, as parts of the limit.
_STEP = 0.25

#: A higher limit is kept if throughput grows by this part of how much the limit did, both as powers; a lower one if
#: throughput falls by no more than the other part. Between them neither is, or the limit would wander with the noise.
_GAIN = 0.2
_LOSS = 0.1

#: A limit that is right is tried to be bettered after so many measurements, and more seldom each time that it is not.
_FIRST_REST = 2
_LONGEST_REST = 16

#: What is left of the limit when the server refuses and no lower one is known to be good.
_DECREASE = 0.7

#: For so many seconds the limit stays below a number that was refused; twice as long each time.
_FIRST_HOLD_SECONDS = 60.0
_LONGEST_HOLD_SECONDS = 600.0

#: It is not worth a refusal to find out what a server takes more closely than this part of the limit.
_CLOSE_ENOUGH = 0.15

#: Failures that may be chance count as a refusal if there are so many; each success makes up for a part of one.
_FAILURES = 5.0
_FORGIVEN = 0.2


class AutoLimit:
    """
    A limit of operations at once that follows what a server takes.

    It is told now and then what has happened (:meth:`sample`), and has no clock of its own.

    :param most: it is never higher.
    :param initial: where it begins; doubled as long as that helps.
    :ivar limit: the limit of this moment.
    """

    def __init__(self, *, most: int, initial: int = INITIAL_LIMIT) -> None:
        if most < 1 or initial < 1:
            raise ValueError(f"a limit must be at least 1, not {min(most, initial)}")
        self.limit = min(initial, most)
        self._most = most
        self._doubles = True
        self._rounds = _ENOUGH_ROUNDS
        # The limit to go back to, and its throughput; none until it is measured.
        self._base: tuple[int, float] | None = None
        self._rest = _FIRST_REST
        self._rested = 0
        self._goes_down = False
        self._ceiling: int | None = None
        self._ceiling_until = -math.inf
        self._hold_seconds = _FIRST_HOLD_SECONDS
        self._failures = 0.0
        self._ended = 0
        self._succeeded = 0
        # Refusals of what began before the last one tell nothing new.
        self._crowd_until = 0
        self._settled_at = 0
        self._began: tuple[float, int] | None = None
        self._busy_sum = 0.0
        self._busy_count = 0

    def sample(self, now: float, *, ended: int, in_flight: int, failed: int = 0, refused: int = 0) -> int:
        """
        Hear what has happened since the last time, several times in each second.

        :param now: seconds that only grow.
        :param ended: how many operations have ended, well or not.
        :param in_flight: how many are in flight now.
        :param failed: how many of those that ended have failed in a way that may mean that the server has too much
            to do: a lost connection, a time-out.
        :param refused: how many the server has refused because there were too many.
        :return: the limit from now on.
        """
        succeeded = max(0, ended - failed - refused)
        self._ended += ended
        self._succeeded += succeeded
        self._failures = max(0.0, self._failures + failed - succeeded * _FORGIVEN)
        if refused or self._failures >= _FAILURES:
            self._failures = 0.0
            if self._ended >= self._crowd_until:
                self._decrease(now, in_flight)
            return self.limit
        self._busy_sum += min(1.0, in_flight / self.limit)
        self._busy_count += 1
        if self._began is None:
            if self._ended >= self._settled_at:
                self._begin(now)
            return self.limit
        began, succeeded_then = self._began
        seconds, number = now - began, self._succeeded - succeeded_then
        if not self._is_enough(seconds, number):
            return self.limit
        if self._busy_sum >= _BUSY * self._busy_count:
            self._decide(number / seconds, now)
        else:
            # Somebody else held it back: nothing can be learned.
            self._begin(now)
        return self.limit

    def _is_enough(self, seconds: float, number: int) -> bool:
        # What disturbs a machine, such as other processes, lasts for a moment however many operations end in it.
        if seconds < _LEAST_SECONDS * self._rounds:
            return False
        if number >= max(_LEAST_ENDED, self._rounds * self.limit):
            return True
        return seconds >= _ENOUGH_SECONDS and number >= _ENOUGH_ROUNDS * self.limit

    def _begin(self, now: float) -> None:
        self._began = now, self._succeeded
        self._busy_sum, self._busy_count = 0.0, 0

    def _set(self, limit: int, now: float) -> None:
        """Change the limit; measuring goes on when what was in flight under the old one has ended."""
        if limit == self.limit:
            self._begin(now)
            return
        self._settled_at = self._ended + self.limit
        self._began = None
        self.limit = limit

    def _decrease(self, now: float, in_flight: int) -> None:
        if self._ceiling is not None and self.limit >= self._ceiling:
            self._hold_seconds = min(_LONGEST_HOLD_SECONDS, 2 * self._hold_seconds)
        self._ceiling = self.limit
        self._ceiling_until = now + self._hold_seconds
        self._doubles = False
        self._rounds = _ROUNDS
        self._crowd_until = self._ended + in_flight
        good = self._base[0] if self._base is not None else self.limit
        self._set(good if good < self.limit else max(1, int(self.limit * _DECREASE)), now)
        self._base = None
        self._began = None

    def _decide(self, throughput: float, now: float) -> None:
        """Go on in the direction that has proved right, or back to where the limit was."""
        limit = self.limit
        base = self._base
        if base is None or base[0] == limit:
            self._base = limit, throughput
            self._rested += 1
            # The first steps, and those after a refusal, wait for nothing.
            if base is None or self._rested >= self._rest:
                self._try(now)
            else:
                self._begin(now)
            return
        change = math.log(limit / base[0])
        gained = math.log(max(throughput, 1e-9) / base[1])
        if gained >= (_GAIN if change > 0 else _LOSS) * change:
            self._base = limit, throughput
            self._rest = _FIRST_REST
            self._rounds = _ENOUGH_ROUNDS if self._doubles else _ROUNDS
            self._try(now)
            return
        if self._doubles:
            if self._rounds < _ROUNDS:
                # It may be chance. The measurement goes on.
                self._rounds = _ROUNDS
                return
            # Twice as much was too much: what lies between is still to be tried.
            self._doubles = False
        else:
            self._rest = min(_LONGEST_REST, 2 * self._rest)
            self._goes_down = change > 0
        self._rested = 0
        self._set(base[0], now)

    def _try(self, now: float) -> None:
        """Try another limit, if there is one in this direction; else rest, and try the other direction then."""
        self._rested = 0
        step = max(1, round(self.limit * _STEP))
        if self._goes_down:
            tried = max(1, self.limit - step)
        else:
            tried = min(self._highest(now), self.limit * 2 if self._doubles else self.limit + step)
        if tried == self.limit or (tried < self.limit) is not self._goes_down:
            self._goes_down = not self._goes_down
            self._rest = min(_LONGEST_REST, 2 * self._rest)
            tried = min(tried, self.limit)
        self._set(tried, now)

    def _highest(self, now: float) -> int:
        if self._ceiling is None or now >= self._ceiling_until:
            return self._most
        gap = self._ceiling - self.limit
        return min(self._most, self.limit + (gap // 2 if gap > _CLOSE_ENOUGH * self.limit else 0))
