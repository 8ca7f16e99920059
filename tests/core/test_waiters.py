# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio

import pytest

from airflow_provider_async.core.waiters import Waiter, Waiters


def too_late(waiter: Waiter, waited: float) -> Exception:
    return TimeoutError(f"{waiter.name} {waited}")


async def test_those_who_were_cancelled_are_passed_over() -> None:
    waiters: Waiters[str] = Waiters(5, too_late)
    gone, first, second = waiters.join(), waiters.join(), waiters.join()
    gone.cancel()
    results = iter(["result"])
    waiters.serve(lambda: next(results, None))
    assert (first.result(), second.done(), len(waiters)) == ("result", False, 1)

    waiters.join().cancel()
    waiters.fail(LookupError)
    assert isinstance(second.exception(), LookupError)
    assert len(waiters) == 0


async def test_time_is_up_in_the_order_of_arrival() -> None:
    waiters: Waiters[str] = Waiters(5, too_late)
    gone, first = waiters.join(), waiters.join()
    gone.cancel()
    await asyncio.sleep(1)
    second = waiters.join()
    with pytest.raises(TimeoutError, match=r"Task-.* 5\.0"):
        await first
    assert len(waiters) == 1
    waiters.stop()
    await asyncio.sleep(100)
    assert not second.done()
    waiters.leave(second)
    waiters.leave(second)
    assert len(waiters) == 0


async def test_the_timer_ends_with_the_last_waiter() -> None:
    waiters: Waiters[str] = Waiters(5, too_late)
    waiters.stop()
    waiters.leave(waiters.join())
    await asyncio.sleep(100)
    with pytest.raises(TimeoutError):
        await waiters.join()
