# SPDX-License-Identifier: Apache-2.0
"""How fast something goes: over the last seconds, and over all its time in a few numbers."""

from __future__ import annotations

from collections import deque

__all__ = ["History", "Pace"]

#: A rate is taken over about so many seconds.
_WINDOW_SECONDS = 10.0

#: Samples that come sooner after the last one are left out, which bounds their number.
_LEAST_SECONDS = 0.5

#: How many numbers a history has at most; even, for neighbours are merged.
_MOST_POINTS = 60


class Pace:
    """
    A moving rate of items and bytes.

    :param at: when it begins, in seconds of any clock.
    """

    __slots__ = ("_samples",)

    def __init__(self, at: float) -> None:
        self._samples: deque[tuple[float, int, int]] = deque([(at, 0, 0)])

    def sample(self, at: float, items: int, bytes_: int) -> None:
        """Note how far it has come; a few times in ten seconds are enough."""
        samples = self._samples
        if at - samples[-1][0] < _LEAST_SECONDS:
            return
        samples.append((at, items, bytes_))
        while samples[1][0] <= at - _WINDOW_SECONDS:
            samples.popleft()

    def go_on(self, at: float, items: int, bytes_: int) -> None:
        """Begin anew after a pause, unless that was short."""
        if at - self._samples[-1][0] > _WINDOW_SECONDS:
            self._samples = deque([(at, items, bytes_)])

    def rates(self, at: float, items: int, bytes_: int) -> tuple[float, float]:
        """Return items and bytes a second, up to this moment."""
        began, items_then, bytes_then = self._samples[0]
        seconds = at - began
        if seconds <= 0:
            return 0.0, 0.0
        return (items - items_then) / seconds, (bytes_ - bytes_then) / seconds


class History:
    """
    The rates of all intervals until now: when there are too many, two neighbours at a time become one.

    :param at: when it begins, in seconds of any clock.
    """

    __slots__ = ("_count", "_last_at", "_points", "_sum", "items", "ticks")

    def __init__(self, at: float) -> None:
        self._last_at = at
        #: How many items there were at the end of the last interval.
        self.items = 0
        #: How many intervals one point stands for.
        self.ticks = 1
        self._points: list[float] = []
        self._sum = 0.0
        self._count = 0

    def go_on(self, at: float, items: int) -> None:
        """Leave out a pause, unless it was short."""
        if at - self._last_at > _WINDOW_SECONDS:
            self._last_at, self.items = at, items

    def add(self, at: float, items: int) -> None:
        """Add the interval that ends now; what is too short for a rate is left to the next one, but for the first."""
        seconds = at - self._last_at
        if seconds <= 0 or (seconds < _LEAST_SECONDS and (self._points or self._count)):
            return
        self._sum += (items - self.items) / seconds
        self._last_at, self.items = at, items
        self._count += 1
        if self._count < self.ticks:
            return
        self._points.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0
        if len(self._points) == _MOST_POINTS:
            self._points = merged(self._points)
            self.ticks *= 2

    @property
    def rates(self) -> list[float]:
        """The rates, oldest first, at most sixty; the last one may be of a shorter time."""
        return [*self._points, self._sum / self._count] if self._count else [*self._points]


def merged(rates: list[float]) -> list[float]:
    """Make one rate of each two neighbours, and leave a last one without a neighbour as it is."""
    pairs = [(first + second) / 2 for first, second in zip(rates[::2], rates[1::2], strict=False)]
    return [*pairs, rates[-1]] if len(rates) % 2 else pairs
