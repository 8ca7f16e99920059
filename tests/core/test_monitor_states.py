# SPDX-License-Identifier: Apache-2.0
"""Works that begin, nest, fail, end and are cancelled in whatever order hypothesis can think of."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from airflow_provider_async.core.amap import amap
from airflow_provider_async.core.monitor import Monitor, Work, working_on
from airflow_provider_async.core.snapshot import snapshot
from airflow_provider_async.core.summary import LogLines

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_async.core.monitor import Stage
    from tests.core.conftest import VirtualTimeLoop


class MonitorMachine(RuleBasedStateMachine):
    works = Bundle("works")

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self.loop = loop
        self.monitor = Monitor([LogLines()], clock=loop.time)
        self.counted: dict[str, int] = {"done": 0, "failed": 0, "resumed": 0, "bytes": 0}
        self.active: set[Work] = set()
        self.began: set[Work] = set()

    @rule(
        target=works,
        label=st.one_of(st.sampled_from("abc"), st.text(max_size=3)),
        total=st.one_of(st.none(), st.integers(0, 20)),
        parent=st.one_of(st.none(), works),
    )
    def make(self, label: str, total: int | None, parent: Work | None) -> Work:
        token = working_on.set(parent)
        work = Work(label, total=total)
        working_on.reset(token)
        return work

    @rule(work=works)
    def begin(self, work: Work) -> None:
        async def begin() -> None:
            work.begin(self.monitor)

        if work not in self.began:
            self.loop.run_until_complete(begin())
            self.began.add(work)
            self.active.add(work)

    @rule(work=works, number=st.integers(1, 1000), seconds=st.floats(0, 10))
    def count(self, work: Work, number: int, seconds: float) -> None:
        if work in self.active:
            work.done += number + 1
            work.resumed += 1
            work.tally.bytes += number
            work.note_failure(number, ValueError())
            work.note_slow(number, seconds)
            for name, more in (("done", number + 1), ("failed", 1), ("resumed", 1), ("bytes", number)):
                self.counted[name] += more

    @rule(work=works)
    def end(self, work: Work) -> None:
        work.end()
        self.active.discard(work)

    @rule(seconds=st.floats(0, 100))
    def let_time_pass(self, seconds: float) -> None:
        self.loop.let_time_pass(seconds)

    @invariant()
    def the_sums_of_the_stages_are_what_was_counted(self) -> None:
        stages = self.monitor.stages
        for name, number in self.counted.items():
            assert sum(getattr(stage.counts(), name) for stage in stages) == number
        assert sum(stage.active for stage in stages) == len(self.active)

    @invariant()
    def nothing_grows_without_bound(self) -> None:
        stages = self.monitor.stages
        assert len(stages) <= 50
        for stage in stages:
            assert len(stage.history.rates) <= 60
            assert all(rate >= 0 for rate in stage.history.rates)
            assert len(stage.failures) <= 10
            assert len(stage.slowest) <= 5
            assert stage.depth == len(stage.path) - 1
            check_times(stage, self.loop.time())
        shown = snapshot(self.monitor)["stages"]
        assert isinstance(shown, list)
        assert len(shown) <= 20

    def teardown(self) -> None:
        for work in self.active:
            work.end()
        assert all(stage.active == 0 for stage in self.monitor.stages)
        self.monitor.close()
        self.loop.close()


def check_times(stage: Stage, now: float) -> None:
    progress = stage.progress(now)
    assert progress.elapsed >= 0
    assert progress.rate >= 0
    assert progress.bytes_rate >= 0
    assert progress.seconds_left is None or progress.seconds_left >= 0


def test_whatever_works_do_what_they_count_is_found(make_virtual_loop: Callable[[], VirtualTimeLoop]) -> None:
    run_state_machine_as_test(  # it takes any callable that makes a machine
        lambda: MonitorMachine(make_virtual_loop()),  # type: ignore[arg-type]
        settings=settings(max_examples=100, stateful_step_count=50),
    )


@dataclass(frozen=True)
class Item:
    """What becomes of an item: it takes a while, has an ``amap`` of its own, and fails perhaps."""

    seconds: float
    fails: bool
    inner: Plan | None


@dataclass(frozen=True)
class Plan:
    """An ``amap``: its items, and how it is consumed."""

    label: str
    items: list[Item]
    limit: int
    outcomes: bool
    leave_after: int


Items: TypeAlias = "st.SearchStrategy[Item]"


def items(inner: st.SearchStrategy[Plan | None]) -> Items:
    return st.builds(Item, seconds=st.sampled_from([0.0, 0.5, 3.0, 40.0]), fails=st.booleans(), inner=inner)


def plans(items: Items) -> st.SearchStrategy[Plan]:
    return st.builds(
        Plan,
        label=st.sampled_from("ab"),
        items=st.lists(items, max_size=4),
        limit=st.integers(1, 3),
        outcomes=st.booleans(),
        leave_after=st.integers(1, 6),
    )


PLANS = plans(items(st.one_of(st.none(), plans(items(st.one_of(st.none(), plans(items(st.none()))))))))


class Ran:
    """Runs plans, and counts for itself."""

    def __init__(self) -> None:
        self.done = 0
        self.failed = 0

    async def run(self, plan: Plan) -> None:
        mapped = amap(self.call, plan.items, limit=plan.limit, label=plan.label)
        with contextlib.suppress(ValueError):
            count = 0
            async for _ in mapped.outcomes() if plan.outcomes else mapped:
                count += 1
                if count == plan.leave_after:
                    break

    async def call(self, item: Item) -> None:
        await asyncio.sleep(item.seconds)
        if item.inner is not None:
            await self.run(item.inner)
        if item.fails:
            self.failed += 1
            raise ValueError
        self.done += 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=PLANS, cancel_after=st.sampled_from([0.0, 0.25, 1.0, 3.25, 1000.0]))
def test_whatever_becomes_of_them_every_amap_ends_and_every_call_is_counted(
    plan: Plan, cancel_after: float, make_virtual_loop: Callable[[], VirtualTimeLoop]
) -> None:
    loop = make_virtual_loop()
    ran = Ran()

    async def main() -> None:
        task = asyncio.create_task(ran.run(plan))
        await asyncio.wait([task], timeout=cancel_after)
        task.cancel()
        await asyncio.wait([task])

    with Monitor(clock=loop.time) as monitor, asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())
        # A mere break lets what is in flight end on its own.
        runner.run(asyncio.sleep(10))
        stages = monitor.stages
        assert all(stage.active == 0 for stage in stages)
        assert sum(stage.counts().done for stage in stages) == ran.done
        assert sum(stage.counts().failed for stage in stages) == ran.failed
        assert len(stages) <= 2 + 4 + 8
