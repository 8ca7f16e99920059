# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.pool import Pool, PoolStatistics
from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import PoolClosed, PoolConnectError, PoolTimeout

if TYPE_CHECKING:
    from tests.core.conftest import Connection, Server

    ConnectionPool = Pool[Connection, Connection]


async def hold(pool: ConnectionPool, until: asyncio.Event) -> Connection:
    async with pool.lease() as connection:
        await until.wait()
        return connection


async def settle() -> None:
    """Let everything run that can run without time passing."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_pool_opens_nothing_before_somebody_wants_a_lease(server: Server) -> None:
    async with server.pool(size=3) as pool:
        assert server.attempts == 0
        assert repr(pool) == "<Pool 'pool' open: 0 of 3 open, 0 of 3 leased, 0 waiting>"


async def test_a_connection_is_reused(server: Server) -> None:
    async with server.pool(size=3) as pool:
        for _ in range(5):
            async with pool.lease() as connection:
                assert connection.number == 1
    assert server.attempts == 1
    assert server.open == []


async def test_the_connection_used_last_is_reused_first(server: Server) -> None:
    async with server.pool(size=3) as pool:
        async with pool.lease(), pool.lease() as second:
            pass
        # The first was returned after the second.
        async with pool.lease() as connection:
            assert connection.number == 1
            async with pool.lease() as other:
                assert other is second


async def test_never_more_than_size_are_open(server: Server) -> None:
    server.connect_seconds = server.close_seconds = 0.1
    async with server.pool(size=3) as pool:

        async def job(number: int) -> None:
            async with pool.lease():
                await asyncio.sleep(0.01)
                if number % 4 == 0:
                    raise server.broken()

        await asyncio.gather(*(job(number) for number in range(50)), return_exceptions=True)
    assert server.most_open == 3
    assert server.open == []


async def test_waiters_are_served_first_come_first_served(server: Server) -> None:
    order: list[int] = []
    async with server.pool(size=2) as pool:

        async def job(number: int) -> None:
            async with pool.lease():
                order.append(number)
                await asyncio.sleep(1)

        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(job(number))
    assert order == list(range(20))


async def test_a_late_comer_does_not_overtake_a_waiter(server: Server) -> None:
    order: list[str] = []
    async with server.pool() as pool:

        async def wait() -> None:
            async with pool.lease():
                order.append("waiter")

        async with pool.lease():
            waiter = asyncio.create_task(wait())
            await settle()
        # The lease has just been granted to the waiter, who has not run yet.
        async with pool.lease():
            order.append("late-comer")
        await waiter
    assert order == ["waiter", "late-comer"]


async def test_leases_share_a_connection_and_go_to_the_least_loaded(server: Server) -> None:
    async with server.pool(size=2, leases=4) as pool, AsyncExitStack() as stack:
        numbers = []
        for _ in range(8):
            numbers.append((await stack.enter_async_context(pool.lease())).number)
            await settle()
        # Half the leases of the first, then the second catches up.
        assert numbers[:4] == [1, 1, 2, 2]
        assert sorted(numbers) == [1, 1, 1, 1, 2, 2, 2, 2]


async def test_another_shared_connection_is_opened_at_half_load_and_an_exclusive_one_on_demand(server: Server) -> None:
    async with server.pool(size=2, leases=4) as pool, pool.lease():
        await settle()
        assert server.attempts == 1
        async with pool.lease():
            await settle()
            assert server.attempts == 2
    server.attempts = 0
    async with server.pool(size=2) as pool, pool.lease():
        await settle()
        assert server.attempts == 1


async def test_a_connection_opened_ahead_that_fails_is_not_tried_again_until_somebody_waits(server: Server) -> None:
    async with server.pool(size=2, leases=2) as pool:
        async with pool.lease():
            pass
        server.refuse = [ConnectionRefusedError()]
        async with pool.lease():
            await asyncio.sleep(100)
            assert server.attempts == 2
            async with pool.lease(), pool.lease() as third:
                assert third.number == 2
            assert pool.statistics().connect_errors == 1


async def test_few_connections_are_opened_at_the_same_time(server: Server) -> None:
    server.connect_seconds = 1
    done = asyncio.Event()
    async with server.pool(size=50) as pool, asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(hold(pool, done))
        await asyncio.sleep(0.5)
        assert server.attempts == 8
        await asyncio.sleep(10)
        assert server.attempts == 50
        done.set()


async def test_a_lease_has_a_view_of_its_own(server: Server) -> None:
    pool: Pool[Connection, list[Connection]] = Pool(
        server.connect, close=server.close, size=1, leases=2, view=lambda c: [c]
    )
    async with pool, pool.lease() as one, pool.lease() as other:
        assert one == other
        assert one is not other


async def test_a_lease_may_be_asked_for_without_waiting(server: Server) -> None:
    async with server.pool(size=1) as pool:
        lease = pool.lease()
        assert lease.enter_at_once() is None
        assert server.attempts == 0
        async with lease as connection:
            waiting = pool.lease()
            assert waiting.enter_at_once() is None
            assert lease.enter_at_once() is None
        assert waiting.enter_at_once() is connection
        assert pool.statistics().leased == 1
        waiting.give_back()
        assert pool.statistics().leased == 0


async def test_a_view_that_fails_costs_no_lease(server: Server) -> None:
    def fail(_: Connection) -> Connection:
        raise LookupError

    pool = server.pool(view=fail)
    async with pool:
        for _ in range(3):
            with pytest.raises(LookupError):
                await pool.lease().__aenter__()
        with pytest.raises(LookupError):
            pool.lease().enter_at_once()
        assert pool.statistics().leased == 0
    assert server.attempts == 1


# Health


async def raise_inside_a_lease(pool: ConnectionPool, error: Exception) -> int:
    """Return the number of the connection that was leased when the error was raised."""
    number = 0
    try:
        async with pool.lease() as connection:
            number = connection.number
            raise error
    except type(error):
        return number
    raise AssertionError("a lease swallowed an error")


async def test_an_error_of_the_callers_own_keeps_the_connection(server: Server) -> None:
    async with server.pool() as pool:
        for error in (ValueError(), KeyError("x"), ExceptionGroup("", [OSError()])):
            assert await raise_inside_a_lease(pool, error) == 1
    assert server.attempts == 1


async def test_an_error_that_means_broken_costs_the_connection_even_as_a_cause_or_in_a_group(server: Server) -> None:
    caused = ValueError()
    caused.__cause__ = server.broken()
    circular = ExceptionGroup("", [ExceptionGroup("", [ValueError(), server.broken()])])
    caused.__cause__.__cause__ = caused
    async with server.pool() as pool:
        for number, error in enumerate([server.broken(), caused, circular], start=1):
            assert await raise_inside_a_lease(pool, error) == number
    assert len(server.connections) == 3
    assert server.open == []


async def test_a_connection_that_became_unusable_is_not_handed_out(server: Server) -> None:
    async with server.pool(size=2) as pool:
        async with pool.lease(), pool.lease():
            pass
        for connection in server.open:
            connection.is_usable = False
        async with pool.lease() as fresh:
            assert fresh.number == 3
        await settle()
        assert [connection.number for connection in server.open] == [3]


async def test_one_unusable_connection_is_closed_although_another_serves_the_lease(server: Server) -> None:
    async with server.pool(size=2) as pool:
        async with pool.lease(), pool.lease():
            pass
        server.connections[0].is_usable = False
        async with pool.lease() as connection:
            assert connection.number == 2
            await settle()
            assert server.open == [connection]


async def test_a_faulty_health_check_counts_against_the_connection(server: Server) -> None:
    def fail(_: object) -> bool:
        raise LookupError

    async with server.pool(is_broken=fail) as pool:
        assert await raise_inside_a_lease(pool, KeyError()) == 1
        assert await raise_inside_a_lease(pool, KeyError()) == 2
    checks = iter([True, True])
    async with server.pool(is_usable=lambda _: next(checks)) as pool:
        async with pool.lease():
            pass
        with pytest.raises(PoolTimeout, match="unusable as soon as it was open"):
            await pool.lease().__aenter__()


async def test_a_broken_connection_takes_no_new_lease_and_is_closed_when_the_last_one_returns(server: Server) -> None:
    done = asyncio.Event()
    async with server.pool(size=1, leases=3) as pool:
        holders = [asyncio.create_task(hold(pool, done)) for _ in range(2)]
        await settle()
        assert await raise_inside_a_lease(pool, server.broken()) == 1
        late_comer = asyncio.create_task(hold(pool, done))
        await settle()
        statistics = pool.statistics()
        assert (statistics.open, statistics.draining, statistics.leased) == (1, 1, 2)
        assert (statistics.free, statistics.withheld, statistics.waiting) == (0, 1, 1)
        assert len(server.open) == 1
        done.set()
        assert [(await holder).number for holder in holders] == [1, 1]
        assert (await late_comer).number == 2


async def test_a_cancelled_lease_keeps_or_spoils_its_connection_as_the_owner_says(server: Server) -> None:
    for after_cancel, expected in (("keep", 1), ("discard", 3)):
        server.attempts = 0
        async with server.pool(after_cancel=after_cancel) as pool:
            task = asyncio.create_task(hold(pool, asyncio.Event()))
            await settle()
            task.cancel()
            await asyncio.wait([task])
            # A time-out inside a lease leaves it as an error whose cause is the cancellation.
            with pytest.raises(TimeoutError):
                async with pool.lease(), asyncio.timeout(1):
                    await asyncio.sleep(2)
            async with pool.lease():
                pass
        assert server.attempts == expected


async def test_a_lease_inside_a_generator_that_is_closed_is_returned(server: Server) -> None:
    async with server.pool() as pool:

        async def generate() -> object:
            async with pool.lease():
                yield 1

        generator = generate()
        await anext(generator)  # type: ignore[call-overload]
        assert pool.statistics().leased == 1
        await generator.aclose()  # type: ignore[attr-defined]
        assert pool.statistics().leased == 0
        async with pool.lease():
            pass
    assert server.attempts == 1


async def test_connections_are_replaced_after_their_uses(server: Server) -> None:
    async with server.pool(max_uses=2) as pool:
        numbers = []
        for _ in range(5):
            async with pool.lease() as connection:
                numbers.append(connection.number)
    assert numbers == [1, 1, 2, 2, 3]


async def test_connections_are_replaced_after_their_lifetime_which_is_jittered(server: Server) -> None:
    async with server.pool(max_lifetime=100) as pool:
        async with pool.lease():
            await asyncio.sleep(89.9)
        async with pool.lease() as young:
            assert young.number == 1
            await asyncio.sleep(10.2)
        async with pool.lease() as old:
            assert old.number == 2
        await asyncio.sleep(101)
        assert server.open == []


async def test_idle_connections_are_closed_after_their_time(server: Server) -> None:
    async with server.pool(size=2, leases=4, max_idle=10) as pool:
        async with pool.lease(), pool.lease():
            await asyncio.sleep(5)
            assert len(server.open) == 2
        async with pool.lease() as connection:
            # The other was opened ahead and never used: five seconds of idleness have passed for it.
            await asyncio.sleep(5.1)
            assert server.open == [connection]
            await asyncio.sleep(20)
        await asyncio.sleep(9)
        assert server.open == [connection]
        await asyncio.sleep(2)
        assert server.open == []
        assert pool.statistics().open == 0


# Limits


async def test_the_limit_can_be_lower_than_what_fits_and_change_while_running(server: Server) -> None:
    done = asyncio.Event()
    async with server.pool(size=2, leases=4, limit=3) as pool:
        tasks = [asyncio.create_task(hold(pool, done)) for _ in range(8)]
        await settle()
        assert (pool.limit, pool.statistics().leased, pool.statistics().waiting) == (3, 3, 5)
        pool.limit = 6
        await settle()
        assert (pool.statistics().leased, pool.statistics().waiting) == (6, 2)
        pool.limit = 2
        await settle()
        assert (pool.statistics().leased, pool.statistics().withheld) == (6, -4)
        done.set()
        await asyncio.gather(*tasks)
        with pytest.raises(ValueError, match="limit must be at least 1"):
            pool.limit = 0
    pool.limit = 5
    assert server.attempts == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"size": 0}, "sftp_default: size must be at least 1, not 0"),
        ({"leases": 0}, "sftp_default: leases must be at least 1, not 0"),
        ({"limit": 0}, "sftp_default: limit must be at least 1, not 0"),
        ({"max_uses": 0}, "sftp_default: max_uses must be at least 1, not 0"),
        ({"max_idle": -1}, "sftp_default: max_idle must be at least 0, not -1"),
        ({"acquire_timeout": float("nan")}, "sftp_default: acquire_timeout must be at least 0, not nan"),
        ({"after_cancel": "forget"}, "sftp_default: after_cancel must be 'keep' or 'discard', not 'forget'"),
    ],
)
async def test_bad_arguments_are_refused_at_once(server: Server, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        server.pool(name="sftp_default", **{"size": 1, **options})  # type: ignore[arg-type]


# Connecting


async def test_a_refused_login_is_tried_once_however_many_wait(server: Server) -> None:
    server.connect_seconds = 1
    server.refuse = [PermissionError("wrong password")] * 100
    async with server.pool(size=1, leases=8, name="sftp_default") as pool:
        results = await asyncio.gather(*(hold(pool, asyncio.Event()) for _ in range(20)), return_exceptions=True)
        assert server.attempts == 1
        for result in results:
            assert isinstance(result, PoolConnectError)
            assert isinstance(result.__cause__, PermissionError)
        assert len({id(result) for result in results}) == 20
        with pytest.raises(
            PoolConnectError, match=r"sftp_default: connecting failed .* PermissionError: wrong password"
        ):
            await pool.lease().__aenter__()
        assert server.attempts == 1


async def test_a_refusal_leaves_the_connections_that_are_open_in_use(server: Server) -> None:
    async with server.pool(size=2) as pool:
        async with pool.lease():
            server.refuse = [PermissionError()] * 100
            waiter = asyncio.create_task(hold(pool, asyncio.Event()))
            await asyncio.sleep(1)
            assert not waiter.done()
        await settle()
        assert pool.statistics().leased == 1
        # When the last one is gone too, those who wait are told.
        late_comer = asyncio.create_task(hold(pool, asyncio.Event()))
        await settle()
        server.connections[0].is_usable = False
        waiter.cancel()
        with pytest.raises(PoolConnectError):
            await late_comer
    assert server.attempts == 2


async def test_a_connect_that_cancels_itself_is_an_error_and_not_a_hang(server: Server) -> None:
    server.refuse = [asyncio.CancelledError()]
    async with server.pool() as pool:
        with pytest.raises(PoolConnectError, match="CancelledError"):
            await pool.lease().__aenter__()


async def test_a_refused_connection_is_tried_again_while_somebody_waits(server: Server) -> None:
    server.refuse = [ConnectionRefusedError()] * 4
    async with server.pool(size=3) as pool:
        async with pool.lease() as connection:
            assert connection.number == 1
        assert server.attempts == 5
        assert pool.statistics().connect_errors == 4


async def test_only_one_connection_at_a_time_is_tried_while_connecting_fails(server: Server) -> None:
    server.connect_seconds = 10
    server.refuse = [ConnectionRefusedError()] * 1000
    retry = Retry(initial_seconds=0.001, max_seconds=0.001)
    async with server.pool(size=5, acquire_timeout=100.5, retry=retry) as pool:
        tasks = [hold(pool, asyncio.Event()) for _ in range(5)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, PoolTimeout) for result in results)
    # Five at first, all of which go on, and none beside them.
    assert 45 <= server.attempts <= 56


async def test_back_off_ends_when_nobody_waits_any_more(server: Server) -> None:
    server.refuse = [ConnectionRefusedError()] * 1000
    async with server.pool(acquire_timeout=5) as pool:
        with pytest.raises(PoolTimeout):
            await pool.lease().__aenter__()
        await asyncio.sleep(60)
        attempts = server.attempts
        await asyncio.sleep(1000)
        assert server.attempts == attempts


async def test_a_time_out_says_who_waited_how_long_for_what_and_why(server: Server) -> None:
    async with (
        server.pool(size=1, leases=2, acquire_timeout=5, name="sftp_default") as pool,
        pool.lease(),
        pool.lease(),
    ):
        task = asyncio.create_task(hold(pool, asyncio.Event()), name="loader")
        another = asyncio.create_task(hold(pool, asyncio.Event()), name="second")
        with pytest.raises(PoolTimeout) as caught:
            await task
        assert str(caught.value) == (
            "sftp_default: loader waited 5.0 s for a lease: 1 of 1 open, 2 of 2 leased, 2 waiting"
        )
        assert caught.value.__cause__ is None
        assert isinstance(caught.value, TimeoutError)
        await asyncio.wait([another])

    refused = ConnectionRefusedError("nobody listens")
    server.refuse = [refused] * 1000
    async with server.pool(acquire_timeout=5) as pool:
        with pytest.raises(PoolTimeout, match="connecting fails with ConnectionRefusedError: nobody listens") as caught:
            await pool.lease().__aenter__()
        assert caught.value.__cause__ is refused


async def test_each_waiter_has_its_own_time_out(server: Server) -> None:
    loop = asyncio.get_running_loop()
    ended: list[tuple[int, float]] = []
    async with server.pool(acquire_timeout=5) as pool, pool.lease():

        async def wait(number: int) -> None:
            with pytest.raises(PoolTimeout):
                await pool.lease().__aenter__()
            ended.append((number, loop.time()))

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(wait(number))
                await asyncio.sleep(1)
    assert [(number, round(when)) for number, when in ended] == [(0, 5), (1, 6), (2, 7), (3, 8)]


async def test_a_connection_that_is_unusable_at_once_is_tried_again_with_back_off(server: Server) -> None:
    usable = iter([False, False, True])
    async with server.pool(is_usable=lambda _: next(usable, True)) as pool, pool.lease() as connection:
        assert connection.number == 3
        assert server.open == [connection]


# Closing


async def test_leases_that_are_out_may_finish_within_the_close_time_out(server: Server) -> None:
    done = asyncio.Event()
    async with server.pool(size=2, close_timeout=10) as pool:
        task = asyncio.create_task(hold(pool, done))
        await settle()
        asyncio.get_running_loop().call_later(9, done.set)
    assert (await task).number == 1
    assert server.open == []


async def test_a_lease_that_does_not_return_loses_its_connection_after_the_close_time_out(server: Server) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    async with server.pool(close_timeout=10) as pool:
        task = asyncio.create_task(hold(pool, done))
        await settle()
        begin = loop.time()
    assert loop.time() - begin == pytest.approx(10)
    assert server.open == []
    done.set()
    await task


async def test_waiters_and_late_comers_are_told_that_the_pool_is_closed(server: Server) -> None:
    done = asyncio.Event()
    pool = server.pool(name="sftp_default")
    with pytest.raises(PoolClosed, match="sftp_default is not open; use async with"):
        await pool.lease().__aenter__()
    async with pool:
        holder = asyncio.create_task(hold(pool, done))
        await settle()
        waiter = asyncio.create_task(hold(pool, done))
        await settle()
        asyncio.get_running_loop().call_later(1, done.set)
    with pytest.raises(PoolClosed, match="sftp_default was closed while a lease was waited for"):
        await waiter
    await holder
    with pytest.raises(PoolClosed, match="sftp_default is closed"):
        await pool.lease().__aenter__()
    with pytest.raises(RuntimeError, match="entered once"):
        await pool.__aenter__()
    assert server.attempts == 1
    await pool.close()


async def test_connections_that_are_being_opened_are_given_up(server: Server) -> None:
    server.connect_seconds = 1000
    loop = asyncio.get_running_loop()
    async with server.pool() as pool:
        waiter = asyncio.create_task(hold(pool, asyncio.Event()))
        await settle()
        begin = loop.time()
    assert loop.time() == begin
    with pytest.raises(PoolClosed):
        await waiter


async def test_a_connection_that_opens_while_the_pool_closes_is_closed(server: Server) -> None:
    async def connect() -> Connection:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            return await server.connect()
        raise AssertionError

    pool: ConnectionPool = Pool(connect, close=server.close, size=1)
    async with pool:
        waiter = asyncio.create_task(hold(pool, asyncio.Event()))
        await settle()
    assert isinstance((await asyncio.gather(waiter, return_exceptions=True))[0], PoolClosed)
    assert len(server.connections) == 1
    assert server.open == []


@pytest.mark.parametrize("cancelled", ["before", "during", "twice"])
async def test_an_exit_by_cancellation_takes_two_seconds_at_most(server: Server, cancelled: str) -> None:
    loop = asyncio.get_running_loop()
    server.close_seconds = 1000
    never_ends = set()

    async def main() -> None:
        async with server.pool(size=2) as pool:
            never_ends.add(asyncio.create_task(hold(pool, asyncio.Event())))
            async with pool.lease():
                pass
            await settle()
            if cancelled == "before":
                await asyncio.sleep(10)

    task = asyncio.create_task(main())
    await asyncio.sleep(3)
    begin = loop.time()
    task.cancel()
    if cancelled == "twice":
        await asyncio.sleep(1)
        task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert loop.time() - begin <= 2
    assert server.open == []


async def test_a_resource_that_does_not_close_is_given_up(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "airflow_provider_async")
    loop = asyncio.get_running_loop()
    server.close_seconds = 1000
    async with server.pool(close_timeout=10) as pool:
        async with pool.lease():
            pass
        begin = loop.time()
    assert loop.time() - begin == pytest.approx(10)

    async def fail(_: Connection) -> None:
        raise LookupError

    pool = Pool(server.connect, close=fail, size=1)
    async with pool, pool.lease():
        pass
    assert "closing a resource failed" in caplog.text


async def test_iterators_end_before_the_pool_closes(server: Server) -> None:
    class Iterator:
        closed_with_a_working_pool = False

        async def aclose(self) -> None:
            async with pool.lease():
                self.closed_with_a_working_pool = True

    iterator = Iterator()
    async with server.pool() as pool:
        pool.attach(iterator)
    assert iterator.closed_with_a_working_pool


async def test_a_lease_is_entered_once(server: Server) -> None:
    async with server.pool() as pool:
        lease = pool.lease()
        async with lease:
            with pytest.raises(RuntimeError, match="a lease of pool is entered once"):
                await lease.__aenter__()


def test_a_pool_belongs_to_one_event_loop(server: Server) -> None:
    pool = server.pool()

    async def enter() -> None:
        await pool.__aenter__()

    asyncio.run(enter())
    with pytest.raises(RuntimeError, match="pool belongs to another event loop"):
        asyncio.run(pool.lease().__aenter__())


async def test_closing_a_pool_that_was_never_opened_does_nothing(server: Server) -> None:
    pool = server.pool()
    await pool.close()
    with pytest.raises(PoolClosed):
        await pool.lease().__aenter__()


async def test_statistics_are_a_frozen_record(server: Server) -> None:
    async with server.pool(size=2) as pool, pool.lease():
        assert pool.statistics() == PoolStatistics(
            size=2,
            limit=2,
            open=1,
            connecting=0,
            draining=0,
            leased=1,
            free=1,
            withheld=0,
            waiting=0,
            connects=1,
            connect_errors=0,
            waits=1,
            wait_seconds=0.0,
        )


async def test_an_error_that_is_its_own_cause_is_no_endless_riddle(server: Server) -> None:
    error, cause = ValueError(), KeyError()
    error.__cause__, cause.__cause__ = cause, error
    async with server.pool(is_broken=None) as pool:
        assert await raise_inside_a_lease(pool, error) == 1
        assert await raise_inside_a_lease(pool, server.broken()) == 1


async def test_an_expired_connection_is_noticed_when_it_is_wanted(server: Server) -> None:
    now = 0.0
    async with server.pool(max_lifetime=100, clock=lambda: now) as pool:
        async with pool.lease():
            pass
        # The clock jumps, as it does when a machine was asleep: no timer has fired.
        now = 1000.0
        async with pool.lease() as connection:
            assert connection.number == 2
