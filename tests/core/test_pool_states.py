# SPDX-License-Identifier: Apache-2.0
"""A pool driven through every state that hypothesis can think of, beside a model of what must be true."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Literal, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from airflow_provider_async.core.pool import Pool
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import PoolClosed, PoolConnectError, PoolTimeout

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tests.core.conftest import VirtualTimeLoop


class Resource:
    def __init__(self) -> None:
        self.is_open = True
        self.is_usable = True


class Broken(Exception):
    pass


class Holder:
    """
    A task that leases, holds until it is told how to go on, and notes where it is.

    :param at_once: whether it first tries to get by without waiting.
    """

    def __init__(self, machine: PoolMachine, *, at_once: bool) -> None:
        self.at_once = at_once
        self.resource: Resource | None = None
        self.go_on: asyncio.Future[Exception | None] = machine.loop.create_future()
        self.task = machine.loop.create_task(self.hold(machine))

    async def hold(self, machine: PoolMachine) -> None:
        lease = machine.pool.lease()
        try:
            async with AsyncExitStack() as stack:
                resource = lease.enter_at_once() if self.at_once else None
                if resource is None:
                    resource = await stack.enter_async_context(lease)
                else:
                    stack.push_async_exit(lease)
                self.resource = resource
                assert self.resource.is_open
                machine.most_shared = max(machine.most_shared, machine.holders_of(self.resource))
                error = await self.go_on
                if error is not None:
                    raise error
        finally:
            self.resource = None


class PoolMachine(RuleBasedStateMachine):
    holders = Bundle("holders")

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self.loop = loop
        self.all_holders: list[Holder] = []
        self.resources: list[Resource] = []
        self.connecting: list[asyncio.Future[Resource]] = []
        self.closing: list[asyncio.Future[None]] = []
        self.most_shared = 0
        self.refused = False
        self.closer: asyncio.Task[None] | None = None

    async def connect(self) -> Resource:
        answer: asyncio.Future[Resource] = self.loop.create_future()
        self.connecting.append(answer)
        resource = await answer
        self.resources.append(resource)
        return resource

    async def close_resource(self, resource: Resource) -> None:
        assert resource.is_open
        answer: asyncio.Future[None] = self.loop.create_future()
        self.closing.append(answer)
        try:
            await answer
        finally:
            resource.is_open = False

    def holders_of(self, resource: Resource) -> int:
        return sum(holder.resource is resource for holder in self.all_holders)

    @initialize(
        size=st.integers(1, 4),
        leases=st.integers(1, 3),
        limit=st.none() | st.integers(1, 14),
        after_cancel=st.sampled_from(["keep", "discard"]),
        max_uses=st.none() | st.integers(1, 4),
        ages=st.booleans(),
    )
    def open_pool(
        self,
        *,
        size: int,
        leases: int,
        limit: int | None,
        after_cancel: Literal["keep", "discard"],
        max_uses: int | None,
        ages: bool,
    ) -> None:
        self.leases = leases
        self.size = size
        self.pool: Pool[Resource, Resource] = Pool(
            self.connect,
            close=self.close_resource,
            size=size,
            leases=leases,
            limit=limit,
            is_usable=lambda resource: resource.is_usable,
            is_broken=lambda error: isinstance(error, Broken),
            after_cancel=after_cancel,
            acquire_timeout=30,
            close_timeout=10,
            max_idle=20 if ages else None,
            max_lifetime=60 if ages else None,
            max_uses=max_uses,
            retry=Retry(initial_seconds=1, max_seconds=2),
            clock=self.loop.time,
        )
        self.loop.run_until_complete(self.pool.__aenter__())

    @rule(target=holders, count=st.integers(1, 5), at_once=st.booleans())
    def acquire(self, count: int, *, at_once: bool) -> object:
        new = [Holder(self, at_once=at_once) for _ in range(count)]
        self.all_holders.extend(new)
        self.loop.step()
        return multiple(*new)

    @rule(holder=consumes(holders), how=st.sampled_from(["return", "own error", "broken", "cancel"]))
    def end(self, holder: Holder, how: str) -> None:
        if how == "cancel":
            holder.task.cancel()
        elif holder.go_on.done():
            pass
        elif how == "return":
            holder.go_on.set_result(None)
        else:
            holder.go_on.set_result(Broken() if how == "broken" else ValueError())
        self.loop.step()

    @rule(holder=consumes(holders), other=consumes(holders))
    def cancel_one_at_the_moment_when_another_returns(self, holder: Holder, other: Holder) -> None:
        if not holder.go_on.done():
            holder.go_on.set_result(None)
        # One pass of the loop: the lease is on its way to somebody who has not run yet.
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        other.task.cancel()
        self.loop.step()

    @rule(answer=st.sampled_from(["open", "open", "open", "transient", "unusable", "refused"]))
    def answer_a_connect(self, answer: str) -> None:
        if not self.connecting:
            return
        connecting = self.connecting.pop(0)
        if connecting.done():
            return
        if answer == "transient":
            connecting.set_exception(ConnectionRefusedError())
        elif answer == "refused":
            self.refused = True
            connecting.set_exception(PermissionError())
        else:
            resource = Resource()
            resource.is_usable = answer == "open"
            connecting.set_result(resource)
        self.loop.step()

    @rule()
    def answer_a_close(self) -> None:
        if self.closing:
            closing = self.closing.pop(0)
            if not closing.done():
                closing.set_result(None)
            self.loop.step()

    @rule(index=st.integers(0, 3))
    def lose_a_connection(self, index: int) -> None:
        usable = [resource for resource in self.resources if resource.is_open]
        if usable:
            usable[index % len(usable)].is_usable = False

    @rule(seconds=st.sampled_from([0.1, 1, 5, 25]))
    def pass_time(self, seconds: float) -> None:
        self.loop.let_time_pass(seconds)

    @rule(limit=st.integers(1, 14))
    def change_the_limit(self, limit: int) -> None:
        self.loop.call_soon(setattr, self.pool, "limit", limit)
        self.loop.step()

    @rule(cancelled=st.booleans())
    def close_pool(self, cancelled: bool) -> None:
        if self.closer is None:
            self.closer = self.loop.create_task(self.pool.close())
            self.loop.step()
            if cancelled:
                self.closer.cancel()
                self.loop.step()

    @invariant()
    def the_books_are_right(self) -> None:
        if not hasattr(self, "pool"):
            return
        statistics = self.pool.statistics()
        assert statistics.leased == sum(holder.resource is not None for holder in self.all_holders)
        assert statistics.open + statistics.connecting <= self.size
        assert sum(resource.is_open for resource in self.resources) <= statistics.open + statistics.connecting
        assert statistics.free >= 0
        assert statistics.free + statistics.leased + statistics.withheld == statistics.limit
        if statistics.leased <= statistics.limit <= self.size * self.leases:
            assert statistics.withheld >= 0
            if not statistics.draining:
                assert statistics.withheld == 0
        assert self.most_shared <= self.leases
        for resource in self.resources:
            assert self.holders_of(resource) <= self.leases

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        if not hasattr(self, "pool") or self.closer is not None:
            return
        statistics = self.pool.statistics()
        if statistics.waiting:
            # Either the limit is reached, or every place for a resource is taken by one that is full or on its way.
            usable = statistics.open - statistics.draining
            assert (
                statistics.leased >= statistics.limit
                or statistics.connecting
                or statistics.open == statistics.size
                or (self.refused and usable)
            ), statistics

    @invariant()
    def errors_are_the_pools_own(self) -> None:
        for holder in self.all_holders:
            if holder.task.done() and not holder.task.cancelled():
                error = holder.task.exception()
                assert error is None or isinstance(
                    error, (Broken, ValueError, PoolClosed, PoolConnectError, PoolTimeout)
                ), error

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            self.loop.close()
            return
        self.close_pool(cancelled=False)
        for holder in self.all_holders:
            if not holder.go_on.done():
                holder.go_on.set_result(None)
        self.loop.let_time_pass(100)
        assert cast("asyncio.Task[None]", self.closer).done()
        assert all(holder.task.done() for holder in self.all_holders)
        self.errors_are_the_pools_own()
        assert not any(resource.is_open for resource in self.resources)
        assert self.pool.statistics().open == 0
        self.loop.close()


def test_the_books_of_a_pool_are_right_after_every_step(make_virtual_loop: Callable[[], VirtualTimeLoop]) -> None:
    run_state_machine_as_test(  # it takes any callable that makes a machine
        lambda: PoolMachine(make_virtual_loop()),  # type: ignore[arg-type]
        settings=settings(max_examples=200, stateful_step_count=40),
    )
