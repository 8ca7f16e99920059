# SPDX-License-Identifier: Apache-2.0
"""One gate for all requests: pauses that Graph asks for, back-off where it does not, and slowness near a quota."""

from __future__ import annotations

import asyncio
from time import monotonic
from time import time as wall_clock
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import ConnectionFailed, GraphError
from airflow_provider_async.msgraph.pacing import Pacing
from airflow_provider_async.msgraph.sender import DEFAULT_RETRY
from airflow_provider_async.testing.msgraph import RESET, GraphAnswer, error, throttled
from tests.msgraph.conftest import make_pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_provider_async.msgraph import MSGraphClientPool
    from airflow_provider_async.testing.msgraph import GraphServer


class Time:
    """A clock that sleeping moves on."""

    def __init__(self) -> None:
        self.now = monotonic()
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    """Time that passes as soon as somebody waits for it."""
    made = Time()
    # In these modules alone: the event loop lives by the real time.
    fake = SimpleNamespace(**vars(asyncio) | {"sleep": made.sleep})
    for module in ("core.pause", "http.sender", "msgraph.pacing"):
        monkeypatch.setattr(f"airflow_provider_async.{module}.asyncio", fake)
    clock = SimpleNamespace(time=wall_clock, monotonic=made.monotonic)
    monkeypatch.setattr("airflow_provider_async.http.sender.time", clock)
    return made


def with_time(pool: MSGraphClientPool, time: Time) -> MSGraphClientPool:
    pool.sender.pause._clock = time.monotonic
    return pool


@pytest.fixture
async def patient(server: GraphServer, time: Time) -> AsyncIterator[MSGraphClientPool]:
    """A pool with the policy of everyday, for which time passes quickly."""
    async with make_pool(server, retry=DEFAULT_RETRY) as pool:
        yield with_time(pool, time)


@pytest.mark.parametrize("seconds", ["1", "180", "599"])
async def test_a_pause_of_any_length_within_the_budget_is_made(
    patient: MSGraphClientPool, server: GraphServer, time: Time, seconds: str
) -> None:
    server.fail("/users", throttled(seconds))
    assert await patient.get("users")
    assert sum(time.slept) >= int(seconds)
    assert len(server.seen) == 2


async def test_a_pause_beyond_the_budget_is_an_error_at_once(patient: MSGraphClientPool, server: GraphServer) -> None:
    server.fail("/users", throttled("601"))
    with pytest.raises(GraphError) as caught:
        await patient.get("users")
    assert caught.value.retry_after == 601
    assert "not tried again: that would take 601.0 s" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("value", ["soon", "", "-5", "1e999", "Wed, 99 Foo"])
async def test_a_malformed_pause_is_tolerated(patient: MSGraphClientPool, server: GraphServer, value: str) -> None:
    server.fail("/users", throttled(value), GraphAnswer(body={"value": []}, headers={"Retry-After": value}))
    assert await patient.get("users") == {"value": []}


async def test_all_requests_pause_together(server: GraphServer, time: Time) -> None:
    async with make_pool(server, retry=DEFAULT_RETRY, max_concurrency=4) as pool:
        with_time(pool, time).sender.pause.extend(30)
        until = time.now + 30
        began = []
        server.quota_used = lambda _: began.append(time.now)
        await asyncio.gather(*(pool.get("me") for _ in range(8)))
    assert min(began) >= until


async def test_without_a_header_requests_back_off(patient: MSGraphClientPool, server: GraphServer, time: Time) -> None:
    server.fail("/users", *[throttled(None)] * 8)
    assert await patient.get("users")
    # More refusals than attempts: what the crowd does says nothing about this request.
    assert len(server.seen) == 9
    assert sum(time.slept) > 0.5


@pytest.mark.parametrize(
    "fault", [error(500, "generalException"), error(502, "BadGateway"), error(504, "timeout"), RESET]
)
async def test_what_is_idempotent_is_tried_again(
    pool: MSGraphClientPool, server: GraphServer, fault: GraphAnswer
) -> None:
    server.fail("*", fault, fault)
    assert await pool.get("users")
    server.fail("*", fault)
    await pool.delete("users/user1@contoso.com")
    assert [one.method for one in server.seen] == ["GET"] * 3 + ["DELETE"] * 2


@pytest.mark.parametrize("method", ["post", "patch"])
@pytest.mark.parametrize(
    "fault", [error(503, "x"), error(503, "x", headers={"Retry-After": "0"}), error(504, "x"), RESET]
)
async def test_a_post_is_tried_again_only_when_asked(
    pool: MSGraphClientPool, server: GraphServer, method: str, fault: GraphAnswer
) -> None:
    url = {"post": "users/user0@contoso.com/sendMail", "patch": "users/user0@contoso.com"}[method]
    send = getattr(pool, method)
    server.fail("*", fault)
    with pytest.raises((GraphError, ConnectionFailed)):
        await send(url, {"message": {}})
    assert len(server.seen) == 1
    server.fail("*", fault)
    await send(url, {"message": {}}, idempotent=True)
    assert len(server.seen) == 3


async def test_a_post_that_was_refused_for_the_crowds_sake_is_sent_again(
    pool: MSGraphClientPool, server: GraphServer
) -> None:
    server.fail("*", throttled("0"))
    await pool.post("users/user0@contoso.com/sendMail", {"message": {"subject": "once"}})
    assert server.sent == [{"message": {"subject": "once"}}]


async def test_a_404_is_final(pool: MSGraphClientPool, server: GraphServer) -> None:
    with pytest.raises(GraphError):
        await pool.request("GET", "users/nobody", retry=Retry(attempts=9))
    assert len(server.seen) == 1


# Near a quota.


def run(pacing: Pacing, time: Time, quota: float, seconds: float) -> tuple[int, float]:
    """Ask as fast as allowed; return how often, and how much of the quota of ten seconds was used at most."""
    starts: list[float] = []
    most, end = 0.0, time.now + seconds
    while time.now < end:
        time.now += max(0.001, pacing.delay() if pacing.is_on else 0.0)
        starts = [*(start for start in starts if start > time.now - 10), time.now]
        used = len(starts) / quota
        if time.now > end - seconds / 2:
            most = max(most, used)
        pacing.note(f"{used:.3f}" if used >= 0.8 else None)
    return len(starts), most


@pytest.mark.parametrize("quota", [200, 1000])
def test_requests_settle_below_the_quota_and_near_it(quota: int) -> None:
    time = Time()
    pacing = Pacing(clock=time.monotonic)
    last, most = run(pacing, time, quota, 120)
    assert most < 1.0
    assert last > 0.6 * quota


def test_nobody_waits_as_long_as_little_is_used() -> None:
    time = Time()
    pacing = Pacing(clock=time.monotonic)
    for used in (None, "0.1", "0.79", "nan", "inf", "much"):
        pacing.note(used)
        assert not pacing.is_on
    pacing.note("0.8")
    assert pacing.is_on
    time.now += 31
    assert not pacing.is_on


def test_the_more_is_used_the_fewer_are_allowed() -> None:
    allowed = []
    for used in ("0.8", "1.0", "1.8"):
        time = Time()
        pacing = Pacing(clock=time.monotonic)
        for _ in range(1000):
            time.now += 0.01
            pacing.note(None)
        pacing.note(used)
        allowed.append(pacing.allowed)
    assert allowed == pytest.approx([100, 80, 44.4], rel=0.02)


def test_some_are_allowed_however_much_is_used() -> None:
    time = Time()
    pacing = Pacing(clock=time.monotonic)
    for _ in range(1000):
        pacing.note("1.8")
        time.now += pacing.delay()
    assert pacing.allowed == pytest.approx(0.5)


async def test_a_pool_heeds_what_answers_say_of_its_quota(server: GraphServer) -> None:
    async with make_pool(server, rate=1000) as pool:
        steady = pool.sender._limiter
        await pool.get("me")
        assert pool.sender._limiter is steady
        server.quota_used = lambda _: 0.9
        await pool.get("me")
        assert isinstance(pool.sender._limiter, Pacing)
        assert pool.sender._limiter.is_on
