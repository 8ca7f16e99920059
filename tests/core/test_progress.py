# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.core.pace import History, Pace, merged
from airflow_provider_async.core.progress import Progress, Tally
from airflow_provider_async.core.work import Work


def test_two_moments_are_equal_if_their_counts_are() -> None:
    assert Progress(done=1, failed=0, total=2, label="a", elapsed=3, rate=4) == Progress(done=1, failed=0, total=2)
    assert Progress(done=1, failed=0, total=2, retries=1) != Progress(done=1, failed=0, total=2)


def test_a_rate_is_that_of_the_last_ten_seconds() -> None:
    pace = Pace(0)
    assert pace.rates(0, 5, 500) == (0, 0)
    assert pace.rates(2, 5, 500) == (2.5, 250)
    for second in range(1, 31):
        pace.sample(second, 100 * second, 0)
    assert pace.rates(30, 3000, 0) == (100, 0)
    for second in range(31, 41):
        pace.sample(second, 3000, 0)
    assert pace.rates(40, 3000, 0) == (0, 0)


def test_samples_that_come_too_often_are_left_out() -> None:
    pace = Pace(0)
    for thousandth in range(100_000):
        pace.sample(thousandth / 1000, thousandth, thousandth)
    assert len(pace._samples) <= 22
    assert pace.rates(100, 100_000, 100_000) == pytest.approx((1000, 1000))


def test_a_long_pause_does_not_count_for_the_rate() -> None:
    pace, history = Pace(0), History(0)
    pace.sample(1, 10, 0)
    history.add(1, 10)
    # A short one does.
    pace.go_on(6, 10, 0)
    history.go_on(6, 10)
    assert pace.rates(10, 20, 0) == (2, 0)
    pace.go_on(1000, 10, 0)
    history.go_on(1000, 10)
    assert pace.rates(1001, 20, 0) == (10, 0)
    history.add(1001, 20)
    assert history.rates == [10, 10]


def test_a_history_gets_coarser_instead_of_longer() -> None:
    history = History(0)
    for second in range(1, 61):
        history.add(second, second)
    assert (history.rates, history.ticks) == ([1] * 30, 2)
    history.add(61, 64)
    assert history.rates == [1] * 30 + [4]
    history.add(62, 66)
    assert history.rates == [1] * 30 + [3]


def test_an_interval_too_short_for_a_rate_is_left_to_the_next_but_for_the_first() -> None:
    history = History(0)
    history.add(0, 1)
    assert history.rates == []
    history.add(0.1, 1)
    history.add(0.2, 2)
    assert history.rates == [10]
    history.add(1.1, 3)
    assert history.rates == [10, 2]


@given(st.lists(st.floats(min_value=0.6, max_value=3), max_size=1500), st.data())
def test_a_history_is_never_longer_than_sixty_and_adds_up(seconds: list[float], data: st.DataObject) -> None:
    history = History(0)
    now, items = 0.0, 0
    rates = []
    for interval in seconds:
        more = data.draw(st.integers(0, 5)) if len(seconds) < 50 else 3
        now, items = now + interval, items + more
        history.add(now, items)
        rates.append(more / interval)
        assert len(history.rates) <= 60
    *points, last = history.rates or [0.0]
    in_last = len(rates) - len(points) * history.ticks
    assert sum(points) * history.ticks + last * in_last == pytest.approx(sum(rates))


def test_neighbours_are_merged_in_pairs() -> None:
    assert merged([1, 3, 5, 7]) == [2, 6]
    assert merged([1, 3, 5]) == [2, 5]
    assert merged([]) == []


def test_what_has_not_begun_has_no_times() -> None:
    work = Work("load", total=3, tally=Tally(skipped=1, bytes=10))
    assert work.progress == Progress(done=0, failed=0, total=3, skipped=1, bytes=10)
    assert work.progress.label == "load"
    assert work.progress.seconds_left is None
    work.end()
    assert work.ended is None


def test_of_many_failures_the_newest_are_kept_and_of_each_the_beginning() -> None:
    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise LookupError

    work = Work("load" * 100)
    for number in range(20):
        work.note_failure(number, ValueError(f"no {number}"))
    work.note_failure("x" * 1000, ValueError("y" * 1000))
    work.note_failure(["x" * 1000] * 10, Unspeakable())
    assert work.failed == 22
    assert len(work.failures) == 10
    assert (work.failures[0].item, work.failures[0].error) == ("12", "ValueError: no 12")
    assert len(work.failures[0].label) == 100
    assert (len(work.failures[8].item), len(work.failures[8].error)) == (200, 300)
    assert (len(work.failures[9].item), work.failures[9].error) == (200, "Unspeakable")


def test_the_slowest_items_are_kept() -> None:
    work = Work("load")
    for number in range(1, 10):
        if number > work.slow_seconds:
            work.note_slow(number, float(number))
    assert [(slow.item, slow.seconds) for slow in work.slowest] == [(str(n), n) for n in (9, 8, 7, 6, 5)]
    assert work.slow_seconds == 5
