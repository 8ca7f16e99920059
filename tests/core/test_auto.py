# SPDX-License-Identifier: Apache-2.0
"""A limit that is found out, on simulated servers that nothing is known of."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from airflow_provider_async.core.auto import AutoLimit

MOST = 128
TICK = 0.05

#: Tried by hand, as who tunes a pool does.
FIXED = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128)

#: From how many are in flight to how long this one takes, whether it succeeds, is refused or fails, and for how many
#: seconds nothing may be sent after that.
Server: TypeAlias = Callable[[int, float, random.Random], tuple[float, str, float]]


def varied(seconds: float, chance: random.Random, variation: float = 0.5) -> float:
    return seconds * chance.gammavariate(variation**-2, variation**2)


def busy_above(capacity: int, seconds: float, *, variation: float = 0.5, thrashing: float = 0.0) -> Server:
    """A server that does so many at once, the others wait; with thrashing, all take longer then."""

    def serve(in_flight: int, _: float, chance: random.Random) -> tuple[float, str, float]:
        crowd = max(0.0, in_flight / capacity - 1)
        return varied(seconds * (1 + crowd) * (1 + thrashing * crowd), chance, variation), "good", 0

    return serve


def slower_with_each(seconds: float, more: float) -> Server:
    return lambda in_flight, _, chance: (varied(seconds + more * in_flight, chance), "good", 0)


def refusing_above(most: int, seconds: float, *, pause: float = 0.2) -> Server:
    def serve(in_flight: int, _: float, chance: random.Random) -> tuple[float, str, float]:
        return (0.01, "refused", pause) if in_flight > most else (varied(seconds, chance), "good", 0)

    return serve


def failing(server: Server, part: float) -> Server:
    def serve(in_flight: int, now: float, chance: random.Random) -> tuple[float, str, float]:
        seconds, result, pause = server(in_flight, now, chance)
        return seconds, "failed" if chance.random() < part else result, pause

    return serve


def refusing_faster_than(rate: float, seconds: float) -> Server:
    """So many a second, of which it has saved up a second's at most."""
    saved = [rate, 0.0]

    def serve(_: int, now: float, chance: random.Random) -> tuple[float, str, float]:
        saved[:] = min(rate, saved[0] + (now - saved[1]) * rate), now
        if saved[0] < 1:
            return 0.005, "refused", 1.0
        saved[0] -= 1
        return varied(seconds, chance), "good", 0

    return serve


@dataclass
class Run:
    """
    Operations on a simulated server, as many at once as the limit says, for so many seconds.

    :param limit: a fixed one, or what finds it out.
    """

    server: Server
    limit: int | AutoLimit
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    now: float = 0.0
    good: int = 0
    refused: int = 0
    limits: list[int] = field(default_factory=list)
    in_flight: int = 0
    paused_until: float = 0.0
    # What happens next: when, in which order, and what.
    due: list[tuple[float, int, str, float]] = field(default_factory=list)
    begun: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("good", "refused", "failed"), 0))

    def go_on(self, seconds: float) -> float:
        """Return how many a second have succeeded."""
        end, good_then = self.now + seconds, self.good
        heapq.heappush(self.due, (self.now + TICK, 0, "look", 0))
        while self.due[0][0] <= end:
            self.begin()
            self.now, _, event, pause = heapq.heappop(self.due)
            if event == "look":
                heapq.heappush(self.due, (self.now + TICK, 0, "look", 0))
                self.look()
            else:
                self.in_flight -= 1
                self.counts[event] += 1
                self.good += event == "good"
                self.refused += event == "refused"
                self.paused_until = max(self.paused_until, self.now + pause)
        self.due = [one for one in self.due if one[2] != "look"]
        heapq.heapify(self.due)
        self.now = end
        return (self.good - good_then) / seconds

    def begin(self) -> None:
        limit = self.limit if isinstance(self.limit, int) else self.limit.limit
        while self.in_flight < limit and self.now >= self.paused_until:
            self.in_flight += 1
            self.begun += 1
            seconds, result, pause = self.server(self.in_flight, self.now, self.chance)
            heapq.heappush(self.due, (self.now + seconds, self.begun, result, pause))

    def look(self) -> None:
        if isinstance(self.limit, AutoLimit):
            counts, self.counts = self.counts, dict.fromkeys(self.counts, 0)
            ended = sum(counts.values())
            failed, refused = counts["failed"], counts["refused"]
            self.limit.sample(self.now, ended=ended, in_flight=self.in_flight, failed=failed, refused=refused)
            self.limits.append(self.limit.limit)


SERVERS: dict[str, Callable[[], Server]] = {
    **{f"busy above {number}": partial(busy_above, number, 0.05) for number in (1, 3, 8, 20, 34, 100)},
    "busy above 20, very different operations": lambda: busy_above(20, 0.05, variation=1.5),
    "busy above 50, fast": lambda: busy_above(50, 0.02),
    "busy above 20, slow": lambda: busy_above(20, 0.5),
    "thrashing above 16": lambda: busy_above(16, 0.05, thrashing=1.0),
    "thrashing above 40": lambda: busy_above(40, 0.05, thrashing=0.5),
    "slower with each": lambda: slower_with_each(0.1, 0.001),
    **{f"refusing above {number}": partial(refusing_above, number, 0.05) for number in (2, 6, 20, 45, 100)},
    "refusing above 20, for 2 s": lambda: refusing_above(20, 0.05, pause=2.0),
    "refusing above 100 a second": lambda: refusing_faster_than(100, 0.1),
    "failing now and then": lambda: failing(busy_above(40, 0.05), 0.03),
}


@pytest.mark.parametrize("name", SERVERS)
def test_it_reaches_85_percent_of_the_best_fixed_limit(name: str) -> None:
    server = SERVERS[name]
    best = max(Run(server(), limit).go_on(30) for limit in FIXED)

    found_out = Run(server(), AutoLimit(most=MOST)).go_on(60)

    assert found_out >= 0.85 * best


@pytest.mark.parametrize("name", [name for name in SERVERS if name.startswith("busy above") and "very" not in name])
def test_it_does_not_go_far_beyond_what_helps(name: str) -> None:
    capacity = int(name.split(",", maxsplit=1)[0].rpartition(" ")[2])
    run = Run(SERVERS[name](), AutoLimit(most=MOST))
    run.go_on(60)
    late = sorted(run.limits[len(run.limits) // 2 :])
    assert late[len(late) // 2] <= max(2.5 * capacity, 10)


def test_few_refusals_are_enough_to_learn_what_a_server_takes() -> None:
    run = Run(refusing_above(20, 0.05), AutoLimit(most=MOST))
    run.go_on(60)
    pairs = zip([0, *run.limits], run.limits, strict=False)
    assert sum(limit > 20 for before, limit in pairs if before <= 20) <= 3


def test_it_follows_a_server_that_changes() -> None:
    auto = AutoLimit(most=MOST)
    run = Run(busy_above(8, 0.05), auto)
    run.go_on(30)
    run.server = busy_above(80, 0.05)
    run.go_on(60)
    assert run.go_on(30) >= 0.85 * 80 / 0.05


def test_a_limit_that_was_refused_is_tried_again_later_and_more_and_more_seldom() -> None:
    run = Run(refusing_above(20, 0.05), AutoLimit(most=MOST))
    refusals = []
    for _ in range(4):
        before = run.refused
        run.go_on(200)
        refusals.append(run.refused - before)
    assert refusals[0] > refusals[-1]
    run.server = busy_above(100, 0.05)
    run.go_on(700)
    assert run.go_on(30) >= 0.85 * 100 / 0.05


def test_work_that_comes_slowly_says_nothing_about_the_server() -> None:
    auto = AutoLimit(most=MOST)
    for tick in range(2000):
        assert auto.sample(tick * TICK, ended=5, in_flight=2) == 4


def test_chance_failures_leave_the_limit_alone_and_a_lost_connection_does_not() -> None:
    auto = AutoLimit(most=MOST, initial=32)
    for tick in range(100):
        auto.sample(tick * TICK, ended=10, in_flight=32, failed=tick % 2)
    limit = auto.limit
    assert limit >= 32
    assert auto.sample(5, ended=limit, in_flight=0, failed=limit) < limit


def test_refusals_of_one_crowd_count_once() -> None:
    auto = AutoLimit(most=MOST, initial=100)
    assert auto.sample(1, ended=10, in_flight=90, refused=10) == 70
    assert auto.sample(1.05, ended=60, in_flight=30, refused=60) == 70
    assert auto.sample(1.1, ended=40, in_flight=30, refused=10) == 49


@pytest.mark.parametrize("arguments", [{"most": 0}, {"most": 5, "initial": 0}])
def test_a_limit_below_one_is_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a limit must be at least 1, not 0"):
        AutoLimit(**arguments)


class AnyServer(RuleBasedStateMachine):
    """Whatever a server does, and in whatever order."""

    auto: AutoLimit
    most: int

    @initialize(most=st.integers(1, 300), initial=st.integers(1, 300))
    def begin(self, most: int, initial: int) -> None:
        self.most, self.now = most, 0.0
        self.auto = AutoLimit(most=most, initial=initial)

    @rule(
        seconds=st.floats(0, 100),
        ended=st.integers(0, 500),
        part=st.floats(0, 1),
        busy=st.floats(0, 1.5),
        times=st.integers(1, 30),
    )
    def work(self, seconds: float, ended: int, part: float, busy: float, times: int) -> None:
        for _ in range(times):
            self.now += seconds
            in_flight = int(self.auto.limit * busy)
            self.auto.sample(self.now, ended=ended, in_flight=in_flight, failed=int(ended * part))

    @rule(number=st.integers(1, 50))
    def refuse_a_new_crowd(self, number: int) -> None:
        # All that was in flight has ended, so that this is news.
        self.auto.sample(self.now, ended=1000, in_flight=0)
        limit = self.auto.limit
        self.auto.sample(self.now, ended=number, in_flight=limit, refused=number)
        assert self.auto.limit < limit or limit == 1

    @rule()
    def get_well(self) -> None:
        # For longer than any number is avoided.
        limits = []
        for _ in range(12_000):
            self.now += TICK * 2
            limits.append(self.auto.sample(self.now, ended=self.auto.limit, in_flight=self.auto.limit))
        assert max(limits[-2000:]) >= min(self.most, 8)

    @invariant()
    def the_limit_is_within_its_bounds(self) -> None:
        assert 1 <= self.auto.limit <= self.most


TestAnyServer = AnyServer.TestCase
TestAnyServer.settings = settings(max_examples=15, stateful_step_count=10, deadline=None)


@given(st.integers(1, 150), st.floats(0.01, 0.3), st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_any_capacity_is_found(capacity: int, seconds: float, seed: int) -> None:
    run = Run(busy_above(capacity, seconds), AutoLimit(most=MOST), random.Random(seed))
    run.go_on(60)
    assert run.go_on(30) >= 0.8 * min(capacity, MOST) / seconds
