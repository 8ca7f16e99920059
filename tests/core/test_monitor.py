# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import tracemalloc
import weakref
from contextvars import copy_context
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.amap import amap
from airflow_provider_async.core.monitor import Monitor, Observer, Stage, Work, working_on
from airflow_provider_async.core.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.core.conftest import Server, VirtualTimeLoop


class Listener(Observer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def tick(self, monitor: Monitor) -> None:
        self.heard.append(("tick", monitor.clock()))

    def work_began(self, work: Work) -> None:
        self.heard.append(("began", work.label))

    def work_ended(self, work: Work) -> None:
        self.heard.append(("ended", work.label))

    def connection_opened(self, pool_name: str, seconds: float) -> None:
        self.heard.append(("opened", pool_name))

    def connection_closed(self, pool_name: str) -> None:
        self.heard.append(("closed", pool_name))

    def close(self, monitor: Monitor) -> None:
        self.heard.append("close")


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.fixture
async def monitor() -> Monitor:
    """Watch what a test does, on the clock of its event loop."""
    return Monitor(clock=asyncio.get_running_loop().time, wall_clock=lambda: 1_700_000_000.0)


async def wait(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def fail(item: object) -> None:
    raise LookupError(f"no {item}")


def only(monitor: Monitor) -> Stage:
    (stage,) = monitor.stages
    return stage


async def test_a_work_is_watched_from_its_first_result_to_its_end(monitor: Monitor) -> None:
    with monitor:
        mapped = amap(wait, [10.0, 20.0], limit=1, label="load")
        assert monitor.stages == []
        async for _ in mapped:
            assert only(monitor).active == 1
        stage = only(monitor)
        assert (stage.label, stage.depth, stage.active, stage.total) == ("load", 0, 0, 2)
        assert stage.progress(now()) == mapped.progress
        assert stage.progress(now()).elapsed == mapped.progress.elapsed == 30
        assert mapped.progress.rate == pytest.approx(2 / 30)
        assert stage.progress(now()).rate == pytest.approx(2 / 30)


async def test_what_is_never_iterated_over_is_not_counted(monitor: Monitor) -> None:
    with monitor:
        mapped = amap(wait, [1.0], limit=1)
        await mapped.aclose()
        async with amap(wait, [1.0], limit=1):
            pass
    assert monitor.stages == []


async def test_what_is_left_by_a_mere_break_ends(monitor: Monitor) -> None:
    with monitor:
        async for _ in amap(wait, itertools.count(1.0), limit=5):
            break
        gc.collect()
        await asyncio.sleep(0.1)
        assert only(monitor).active == 0


async def test_what_is_cancelled_twice_while_it_closes_ends(monitor: Monitor) -> None:
    async def clean_up(_: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(10)

    async def consume() -> None:
        async for _ in amap(clean_up, [1], limit=1):
            pass

    with monitor:
        task = asyncio.create_task(consume())
        for _ in range(2):
            await asyncio.sleep(1)
            task.cancel()
        await asyncio.wait([task])
        assert only(monitor).active == 1
        await asyncio.sleep(10)
        assert only(monitor).active == 0


async def test_works_of_one_label_are_one_stage(monitor: Monitor) -> None:
    with monitor:
        for _ in range(3):
            assert len([value async for value in amap(wait, [1.0, 1.0], limit=2, label="load")]) == 2
        assert [value async for value in amap(wait, [1.0], limit=2, label="other")] == [1.0]
    assert [(stage.label, stage.counts().done, stage.total) for stage in monitor.stages] == [
        ("load", 6, 6),
        ("other", 1, 1),
    ]


async def test_works_that_are_made_for_an_item_are_nested_stages(monitor: Monitor) -> None:
    async def outer(count: int) -> int:
        return len([value async for value in amap(wait, [1.0] * count, limit=2, label="inner")])

    with monitor:
        inner_of_none = amap(wait, [1.0], limit=1, label="inner")
        assert sum([count async for count in amap(outer, [1, 2, 3, 4], limit=3, label="outer")]) == 10
        assert [value async for value in inner_of_none] == [1.0]
    stages = monitor.stages
    assert [(stage.name, stage.depth, stage.counts().done) for stage in stages] == [
        ("outer", 0, 4),
        ("outer > inner", 1, 10),
        ("inner", 0, 1),
    ]
    assert stages[1].parent is stages[0]
    assert stages[0].tree == stages[:2]


async def test_a_source_is_beside_what_reads_it_and_not_below(monitor: Monitor) -> None:
    with monitor:
        source = amap(wait, [1.0, 1.0], limit=1, label="source")
        assert len([value async for value in amap(wait, source, limit=2, label="reader")]) == 2
    assert {(stage.label, stage.depth) for stage in monitor.stages} == {("reader", 0), ("source", 0)}


async def test_retries_and_waits_for_a_lease_are_counted_where_they_happen(monitor: Monitor, server: Server) -> None:
    server.connect_seconds = 2
    failures = [ConnectionResetError()]
    with monitor:
        async with server.pool(name="sftp") as pool:

            async def use(seconds: float) -> None:
                async with pool.lease():
                    await asyncio.sleep(seconds)
                    if failures:
                        raise failures.pop()

            retry = Retry(initial_seconds=0)
            mapped = amap(use, [5.0, 5.0], limit=2, retry=retry)
            assert len([value async for value in mapped]) == 2
        assert mapped.progress.retries == 1
        # Both wait for the connection, the second one then for the first one to fail, and that for the second one.
        assert (mapped.progress.lease_waits, mapped.progress.lease_wait_seconds) == (3, 2 + 7 + 5)
        assert only(monitor).counts().lease_waits == 3
        assert working_on.get() is None
        statistics = monitor.pools["sftp"]
        assert (statistics.waits, statistics.wait_seconds, statistics.connects) == (3, 14, 1)


async def test_the_rest_takes_as_long_as_the_rate_says_and_an_earlier_try_does_not_count(monitor: Monitor) -> None:
    with monitor:
        work = Work("load", total=1000)
        work.begin(monitor)
        stage = work.stage
        assert stage.progress(now()).seconds_left is None
        work.done = work.resumed = 500
        await asyncio.sleep(5)
        assert (stage.progress(now()).rate, stage.progress(now()).seconds_left) == (0, None)
        work.done += 40
        work.failed += 10
        assert (stage.progress(now()).rate, stage.progress(now()).seconds_left) == (10, 45)
        assert (work.progress.rate, work.progress.seconds_left) == (10, 45)
        work.total = None
        assert stage.progress(now()).seconds_left is None
        await asyncio.sleep(20)
        assert stage.progress(now()).rate == work.progress.rate == 0
        work.end()
        assert stage.progress(now()).rate == 2
        work.end()
        assert stage.active == 0


async def test_a_total_is_known_when_that_of_each_work_is(monitor: Monitor) -> None:
    first, second, third = Work("load", total=10), Work("load"), Work("load", total=5)
    first.begin(monitor)
    totals = [first.stage.total]
    second.begin(monitor)
    totals.append(first.stage.total)
    second.done, second.failed = 3, 1
    second.end()
    third.begin(monitor)
    first.end()
    totals.append(first.stage.total)
    assert totals == [10, None, 10 + 4 + 5]


async def test_nobody_knows_how_long_a_nested_stage_takes(monitor: Monitor) -> None:
    outer = Work("outer", total=2)
    outer.begin(monitor)
    token = working_on.set(outer)
    inner = Work("inner", total=10)
    working_on.reset(token)
    inner.begin(monitor)
    inner.done = 5
    await asyncio.sleep(1)
    assert (inner.stage.progress(now()).rate, inner.stage.progress(now()).seconds_left) == (5, None)


async def test_time_in_which_nothing_was_to_be_done_does_not_count(monitor: Monitor) -> None:
    for work in (Work("load"), Work("load")):
        work.begin(monitor)
        work.done = 10
        await asyncio.sleep(5)
        work.end()
        await asyncio.sleep(100)
    stage = only(monitor)
    assert (stage.progress(now()).elapsed, stage.progress(now()).rate) == (10, 2)
    assert sum(stage.history.rates) == 20
    instant = Work("instant")
    instant.begin(monitor)
    instant.done = 1
    instant.end()
    assert instant.stage.progress(now()).rate == 0


async def test_failures_and_slow_items_of_all_works_are_found(monitor: Monitor) -> None:
    at = itertools.count()
    # It is no finer than clocks are: several failures have the same time.
    monitor.wall_clock = lambda: float(next(at) // 4)
    with monitor:
        for label in ("a", "b"):
            assert len([o async for o in amap(fail, range(8), limit=3, label=label).outcomes()]) == 8
        slow = [1.0, 0.01, 5.0, 3.0, 2.0, 4.0, 6.0]
        async for _ in amap(wait, slow, limit=1):
            pass
        values = aiter(amap(wait, [7.0, 1000.0], limit=2))
        await anext(values)
        slowest = monitor.stages[2].slowest
        assert [slow.item for slow in slowest] == ["7.0", "6.0", "5.0", "4.0", "3.0"]
        assert slowest[0].seconds == pytest.approx(7)
    assert [failure.label for failure in monitor.failures] == ["b"] * 8 + ["a"] * 2
    assert [failure.item for failure in monitor.failures] == ["7", "6", "5", "4", "3", "2", "1", "0", "7", "6"]
    assert monitor.failures[0].error == "LookupError: no 7"


# Those who are told.


async def test_observers_are_told_of_everything(monitor: Monitor, server: Server) -> None:
    listener = Listener()
    monitor = Monitor([listener], clock=now)
    with monitor:
        async with server.pool(name="sftp") as pool, pool.lease():
            async for _ in amap(wait, [1.5], limit=1, label="load"):
                pass
    assert listener.heard == [
        ("opened", "sftp"),
        ("began", "load"),
        ("tick", 1),
        ("ended", "load"),
        ("closed", "sftp"),
        ("tick", 1.5),
        "close",
    ]
    monitor.close()
    # What is still at work does no harm.
    late = Work("late")
    late.begin(monitor)
    await asyncio.sleep(10)
    assert len(listener.heard) == 7


async def test_an_observer_that_fails_is_told_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(Listener):
        def work_began(self, work: Work) -> None:
            raise LookupError("a fault")

    faulty, listener = Faulty(), Listener()
    with Monitor([faulty, listener], clock=now):
        async for _ in amap(wait, [1.5, 1.5], limit=1, label="load"):
            pass
    assert faulty.heard == []
    assert listener.heard[-1] == "close"
    assert caplog.text.count("Faulty failed and is told nothing more") == 1


async def test_it_ticks_while_there_is_work_and_once_after_it() -> None:
    listener = Listener()
    with Monitor([listener], clock=now):
        await asyncio.sleep(10)
        for _ in range(3):
            async for _ in amap(wait, [0.5, 0.25], limit=1):
                pass
        await asyncio.sleep(100)
        async for _ in amap(wait, [0.5], limit=1):
            pass
        await asyncio.sleep(100)
    ticks = [heard[1] for heard in listener.heard if isinstance(heard, tuple) and heard[0] == "tick"]
    assert ticks == [11, 12, 13, 113.25, 212.75]


def test_it_keeps_no_loop_running(make_virtual_loop: Callable[[], VirtualTimeLoop]) -> None:
    loop = make_virtual_loop()

    async def leave_something() -> Work:
        work = Work("load")
        work.begin(Monitor.current())
        return work

    work = loop.run_until_complete(leave_something())
    assert loop.time() == 0
    monitor, collected = weakref.ref(work.monitor), weakref.ref(loop)
    del work
    loop.close()
    del loop
    gc.collect()
    assert collected() is None
    assert monitor() is None


def test_one_that_is_given_is_used_by_one_loop_after_the_other(
    make_virtual_loop: Callable[[], VirtualTimeLoop],
) -> None:
    listener = Listener()

    async def work() -> None:
        async for _ in amap(wait, [1.5], limit=1, label="load"):
            pass

    with Monitor([listener], clock=lambda: 0.0) as monitor:
        for _ in range(2):
            loop = make_virtual_loop()
            loop.run_until_complete(work())
            loop.close()
        assert listener.heard.count(("tick", 0)) == 2
        assert only(monitor).counts().done == 2


def test_each_loop_has_one_of_its_own_if_none_is_given() -> None:
    seen: dict[str, list[Monitor]] = {"one": [], "two": []}

    async def work(name: str) -> None:
        seen[name].append(Monitor.current())
        async for _ in amap(lambda item: asyncio.sleep(0, item), [1], limit=1, label=name):
            seen[name].append(Monitor.current())

    threads = [threading.Thread(target=lambda name=name: asyncio.run(work(name))) for name in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (one,), (two,) = set(seen["one"]), set(seen["two"])
    assert one is not two
    assert ([stage.label for stage in one.stages], [stage.label for stage in two.stages]) == (["one"], ["two"])


async def test_a_loop_in_another_thread_has_one_of_its_own(monitor: Monitor) -> None:
    async def work() -> Monitor:
        async for _ in amap(lambda item: asyncio.sleep(0, item), [1], limit=1, label="elsewhere"):
            pass
        return Monitor.current()

    with monitor:
        # What asyncio.to_thread() does, of which the virtual clock knows nothing.
        context = copy_context()
        others: list[Monitor] = []
        thread = threading.Thread(target=lambda: others.append(context.run(asyncio.run, work())))
        thread.start()
        thread.join()
        assert Monitor.current() is monitor
    assert others != [monitor]
    assert monitor.stages == []
    assert [stage.label for stage in others[0].stages] == ["elsewhere"]


# Bounds.


async def test_no_more_than_fifty_stages_are_told_apart(monitor: Monitor) -> None:
    with monitor:
        for number in range(200):
            async for _ in amap(wait, [0.0], limit=1, label=f"label {number}"):
                pass
    stages = monitor.stages
    assert len(stages) == 50
    assert (stages[-1].label, stages[-1].counts().done) == ("others", 200 - 49)
    assert sum(stage.counts().done for stage in stages) == 200


async def test_a_work_within_itself_without_end_is_bounded_too(monitor: Monitor) -> None:
    async def descend(depth: int) -> int:
        if depth:
            async for _ in amap(descend, [depth - 1], limit=1):
                pass
        return depth

    with monitor:
        assert await descend(60) == 60
    assert len(monitor.stages) == 50
    assert sum(stage.counts().done for stage in monitor.stages) == 60
    assert all(stage.active == 0 for stage in monitor.stages)


async def test_ten_thousand_works_of_one_label_take_no_memory(monitor: Monitor) -> None:
    async def fast(item: int) -> int:
        return item

    async def repeat(times: int) -> None:
        for _ in range(times):
            async for _ in amap(fast, range(3), limit=2, label="load"):
                pass

    with monitor:
        await repeat(200)
        gc.collect()
        tracemalloc.start()
        try:
            await repeat(10_000)
            gc.collect()
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert only(monitor).counts().done == 3 * 10_200
    assert grown < 50_000


# Pools.


async def test_of_closed_pools_is_kept_what_they_counted(monitor: Monitor, server: Server) -> None:
    with monitor:
        for _ in range(3):
            async with server.pool(name="sftp", size=2) as pool, pool.lease():
                assert monitor.pools["sftp"].open == 1
        assert (monitor.pools["sftp"].connects, monitor.pools["sftp"].open, monitor.pools["sftp"].size) == (3, 0, 2)
        one, other = server.pool(name="sftp", size=2), server.pool(name="sftp", size=3)
        async with one, other, one.lease(), other.lease(), other.lease():
            statistics = monitor.pools["sftp"]
            assert (statistics.open, statistics.leased, statistics.size, statistics.waits) == (3, 3, 5, 6)


async def test_a_pool_that_is_never_closed_is_forgotten_with_its_owner(monitor: Monitor, server: Server) -> None:
    with monitor:
        pool = server.pool(name="sftp")
        await pool.__aenter__()
        assert [*monitor.pools] == ["sftp"]
        del pool
        gc.collect()
        assert monitor.pools == {}
        await server.pool(name="new").close()
        assert monitor.pools == {}


async def test_no_more_than_twenty_names_of_pools_are_told_apart(monitor: Monitor, server: Server) -> None:
    with monitor:
        for number in range(30):
            async with server.pool(name=f"pool {number:02}") as pool, pool.lease():
                assert len(monitor.pools) <= 20
    assert len(monitor.pools) == 20
    assert monitor.pools["others"].connects == 11
