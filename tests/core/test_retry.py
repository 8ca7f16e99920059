# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import errno
import itertools
import socket

import pytest

from airflow_provider_async.core.retry import Retry, is_transient


class Flaky:
    """Fails as often as it is told to, with these errors one after the other."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.times: list[float] = []

    async def __call__(self) -> int:
        self.calls += 1
        self.times.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError(), True),
        (ConnectionRefusedError(), True),
        (BrokenPipeError(), True),
        (TimeoutError(), True),
        (asyncio.IncompleteReadError(b"", 1), True),
        (OSError(errno.EHOSTUNREACH, "no route"), True),
        (socket.gaierror(socket.EAI_AGAIN, "later"), True),
        (socket.gaierror(socket.EAI_NONAME, "unknown host"), False),
        (OSError(errno.ENOSPC, "disk full"), False),
        (FileNotFoundError(), False),
        (PermissionError(), False),
        (ValueError(), False),
        (asyncio.CancelledError(), False),
    ],
)
def test_what_may_be_gone_at_the_next_attempt_is_transient(error: BaseException, expected: bool) -> None:
    assert is_transient(error) is expected


async def test_a_call_that_fails_for_now_is_made_again() -> None:
    function = Flaky(ConnectionResetError(), TimeoutError())
    assert await Retry().call(function) == 3


async def test_any_other_error_is_raised_at_once() -> None:
    function = Flaky(ConnectionResetError(), ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        await Retry().call(function)
    assert function.calls == 2
    with pytest.raises(LookupError):
        await Retry().call(Flaky(LookupError()))


async def test_the_last_error_is_raised_when_the_attempts_are_used_up() -> None:
    function = Flaky(*(ConnectionResetError(str(number)) for number in range(1, 9)))
    with pytest.raises(ConnectionResetError, match=r"^3$"):
        await Retry(attempts=3).call(function)
    assert function.calls == 3


async def test_a_single_attempt_is_no_retry() -> None:
    function = Flaky(ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        await Retry(attempts=1).call(function)
    assert function.calls == 1


async def test_waits_grow_at_random_up_to_a_bound() -> None:
    retry = Retry(attempts=7, initial_seconds=1, max_seconds=4, budget_seconds=1000)
    longest = [0.0] * 6
    for _ in range(50):
        function = Flaky(*(ConnectionResetError() for _ in range(6)))
        await retry.call(function)
        waits = [after - before for before, after in itertools.pairwise(function.times)]
        longest = [max(pair) for pair in zip(longest, waits, strict=True)]
    for bound, wait in zip([1, 2, 4, 4, 4, 4], longest, strict=True):
        assert bound / 2 < wait <= bound


async def test_no_attempt_begins_after_the_budget_is_spent() -> None:
    began = asyncio.get_running_loop().time()
    retry = Retry(attempts=10**6, initial_seconds=1, max_seconds=1, budget_seconds=0)
    function = Flaky(*(ConnectionResetError() for _ in range(5)))
    with pytest.raises(ConnectionResetError):
        await retry.call(function)
    assert asyncio.get_running_loop().time() == began


async def test_a_cancellation_is_never_retried() -> None:
    function = Flaky(ConnectionResetError(), asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await Retry(is_transient=lambda _: True).call(function)
    assert function.calls == 2


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"attempts": 0}, "attempts must be at least 1, not 0"),
        ({"initial_seconds": -1}, "initial_seconds must not be negative, but is -1"),
        ({"max_seconds": -1}, "max_seconds must not be negative, but is -1"),
        ({"budget_seconds": -0.5}, "budget_seconds must not be negative, but is -0.5"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(options: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Retry(**options)  # type: ignore[arg-type]
