# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.core.amap import amap
from airflow_provider_async.core.monitor import Monitor, Work, working_on
from airflow_provider_async.core.snapshot import snapshot

if TYPE_CHECKING:
    from tests.core.conftest import Server


@pytest.fixture
async def monitor() -> Monitor:
    return Monitor(clock=asyncio.get_running_loop().time, wall_clock=lambda: 1_732_400_000.0004)


def nested(label: str, parent: Work | None, monitor: Monitor) -> Work:
    token = working_on.set(parent)
    work = Work(label, total=10)
    working_on.reset(token)
    work.begin(monitor)
    return work


def take(monitor: Monitor) -> dict[str, Any]:
    value = json.loads(json.dumps(snapshot(monitor)))
    assert isinstance(value, dict)
    return value


async def test_it_says_how_far_everything_is(monitor: Monitor, server: Server) -> None:
    async def use(number: int) -> None:
        async with pool.lease():
            await asyncio.sleep(1)
            if number == 2:
                raise LookupError("no 2")

    with monitor:
        assert snapshot(monitor) == {
            "version": 1,
            "state": "running",
            "started": 1732400000.0,
            "updated": 1732400000.0,
            "stages": [],
            "failures": [],
            "pools": [],
        }
        async with server.pool(name="sftp") as pool:
            outcomes = amap(use, range(4), limit=2, label="load").outcomes()
            for _ in range(3):
                await anext(outcomes)
            await asyncio.sleep(0.3)
            value = snapshot(monitor)
            assert value["stages"] == [
                {
                    "label": "load",
                    "depth": 0,
                    "active": 1,
                    "done": 2,
                    "failed": 1,
                    "skipped": 0,
                    "resumed": 0,
                    "retries": 0,
                    "total": 4,
                    "bytes": 0,
                    "rate": 0.909,
                    "bytes_rate": 0.0,
                    "seconds_left": 1.1,
                    "elapsed": 3.3,
                    "history": {"every": 1.0, "rates": [0.0, 1.0, 1.0]},
                    "lease_waits": 4,
                    "lease_wait_seconds": 3.0,
                }
            ]
            assert value["failures"] == [
                {"stage": "load", "item": "2", "error": "LookupError: no 2", "at": 1732400000.0}
            ]
            assert value["pools"] == [
                {
                    "name": "sftp",
                    "open": 1,
                    "size": 1,
                    "leased": 1,
                    "limit": 1,
                    "auto": False,
                    "waiting": 0,
                    "connects": 1,
                    "connect_errors": 0,
                    "waits": 4,
                    "wait_seconds": 3.0,
                }
            ]
            await outcomes.aclose()  # type: ignore[attr-defined]
    assert snapshot(monitor, state="failed")["state"] == "failed"


async def test_of_many_stages_those_at_work_are_shown_and_what_they_are_in(monitor: Monitor) -> None:
    for number in range(30):
        nested(f"ended {number}", None, monitor).end()
    outer = nested("outer", None, monitor)
    outer.end()
    nested("inner", outer, monitor)
    stages = [(stage["label"], stage["depth"]) for stage in take(monitor)["stages"]]
    assert stages == [*((f"ended {number}", 0) for number in range(18)), ("outer", 0), ("inner", 1)]


async def test_a_nested_stage_is_not_shown_without_the_one_that_it_is_in(monitor: Monitor) -> None:
    for number in range(19):
        nested(f"active {number}", None, monitor)
    outer = nested("outer", None, monitor)
    outer.end()
    nested("inner", outer, monitor)
    # There is room for one more, but these are two.
    assert [stage["label"] for stage in take(monitor)["stages"]] == [
        *(f"active {number}" for number in range(19)),
        "outer",
    ]


async def test_it_stays_small_whatever_there_is_to_say(monitor: Monitor, server: Server) -> None:
    works = [nested(f"{number} " + "🐢" * 200, None, monitor) for number in range(20)]
    for second in range(59):
        for work in works:
            work.done += 12_345 + second
        await asyncio.sleep(1)
    assert len(json.dumps(snapshot(monitor))) <= 12_000
    assert all(len(stage["history"]["rates"]) == 15 for stage in take(monitor)["stages"])
    assert take(monitor)["stages"][0]["history"]["every"] == 4
    for number in range(10):
        works[0].note_failure("🐢" * 200, LookupError(f"{number} " + "🐢" * 300))
    value = take(monitor)
    assert len(json.dumps(value)) <= 12_000
    assert value["failures"] == []
    assert 5 < len(value["stages"]) < 20
    with monitor:
        for number in range(20):
            async with server.pool(name=f"{number} " + "🐢" * 200):
                pass
    value = take(monitor)
    assert len(json.dumps(value)) <= 12_000
    assert value["stages"] == []
    assert 5 < len(value["pools"]) < 20


async def test_the_oldest_failures_are_left_out_first(monitor: Monitor) -> None:
    work = nested("load", None, monitor)
    for number in range(10):
        work.note_failure("🐢" * 200, LookupError(f"{number} "))
    value = take(monitor)
    assert [failure["error"][-2:] for failure in value["failures"]] == ["9 ", "8 ", "7 ", "6 "]
