# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.amap import amap
from airflow_provider_async.core.monitor import Monitor, Work, working_on
from airflow_provider_async.core.progress import Progress, Tally
from airflow_provider_async.core.summary import LogLines, bytes_text, progress_text, rate_text, seconds_text

if TYPE_CHECKING:
    from tests.core.conftest import Server


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "airflow_provider_async.progress")


def now() -> float:
    return asyncio.get_running_loop().time()


async def wait(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


async def consume(seconds: list[float], *, label: str = "load", limit: int = 1) -> None:
    async for _ in amap(wait, seconds, limit=limit, label=label):
        pass


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = [record.getMessage() for record in caplog.records if record.name == "airflow_provider_async.progress"]
    caplog.clear()
    return messages


async def test_there_is_a_line_every_ten_seconds_and_a_summary_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with Monitor([LogLines()], clock=now):
        # Nothing ends just when it ticks.
        await consume([0.25] + [0.5] * 49)
        assert lines(caplog) == [
            "load: 20 of 50 done (40 %), 2.0/s, 15 s left",
            "load: 40 of 50 done (80 %), 2.0/s, 5.0 s left",
            "load: 50 of 50 done (100 %), in 25 s, 2.0/s, slowest: " + ", ".join(["0.5 0.5 s"] * 5),
        ]
    assert lines(caplog) == []


async def test_nested_stages_are_said_with_the_one_that_they_belong_to(
    caplog: pytest.LogCaptureFixture, server: Server
) -> None:
    with Monitor([LogLines()], clock=now):
        async with server.pool() as pool:

            async def outer(number: int) -> None:
                async with pool.lease():
                    await consume([0.03125] + [0.0625] * (number - 1), label="inner")

            async for _ in amap(outer, [80, 160], limit=2, label="outer"):
                pass
    assert lines(caplog) == [
        "outer: 1 of 2 done (50 %), 0.1/s, 10 s left",
        "outer > inner: 160 of 240 done (66 %), 16/s",
        (
            "outer: 2 of 2 done (100 %), in 15 s, 0.13/s, 2 waits for a connection, 5.0 s in all, "
            "slowest: 160 15 s, 80 5.0 s"
        ),
        "outer > inner: 240 of 240 done (100 %), in 15 s, 16/s",
    ]


async def test_what_ends_again_and_again_is_not_said_each_time(caplog: pytest.LogCaptureFixture) -> None:
    with Monitor([LogLines()], clock=now):
        for _ in range(20):
            await consume([0.0625] * 10)
        assert lines(caplog) == [
            "load: 10 of 10 done (100 %), in 0.6 s, 16/s",
            "load: 170 of 170 done (100 %), in 11 s, 16/s",
        ]
    assert lines(caplog) == ["load: 200 of 200 done (100 %), in 12 s, 16/s"]


async def test_what_was_not_said_is_said_when_it_is_time(caplog: pytest.LogCaptureFixture) -> None:
    with Monitor([LogLines()], clock=now):
        await consume([0.05] * 10)
        await consume([0.05] * 10)
        lines(caplog)
        await consume([95.0], label="other")
        assert lines(caplog) == [
            "load: 20 of 20 done (100 %), in 1.0 s, 20/s",
            *["other: 0 of 1 done (0 %)"] * 9,
            "other: 1 of 1 done (100 %), in 95 s, 0.011/s, slowest: 95.0 95 s",
        ]


async def test_what_is_still_at_work_at_the_end_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with Monitor([LogLines()], clock=now) as monitor:
        work = Work("load", total=10, tally=Tally(bytes=2_000))
        work.begin(monitor)
        token = working_on.set(work)
        ended = Work("ended")
        working_on.reset(token)
        ended.begin(monitor)
        ended.end()
        await asyncio.sleep(2)
        work.done = 5
    assert lines(caplog) == ["load: 5 of 10 done (50 %), 2.5/s, 1.0 kB/s, 2.0 s left"]


async def test_lines_can_be_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with Monitor([LogLines(lines=False)], clock=now) as monitor:
        await consume([100.0])
        assert lines(caplog) == ["load: 1 of 1 done (100 %), in 100 s, 0.01/s, slowest: 100.0 100 s"]
        work = Work("load", tally=Tally(bytes=5_000_000))
        work.begin(monitor)
        await asyncio.sleep(20)
        work.end()
    assert lines(caplog) == [
        "load: 1 of 1 done (100 %), in 2 min, 0.0083/s, 5.0 MB at 42 kB/s, slowest: 100.0 100 s",
    ]


def test_what_is_nothing_is_left_out() -> None:
    assert progress_text(Progress(done=0, failed=0, total=None)) == "0 done"
    assert progress_text(Progress(done=0, failed=0, total=0)) == "0 of 0 done"
    full = Progress(
        done=1700,
        failed=3,
        total=17_000,
        skipped=12,
        resumed=500,
        retries=5,
        rate=170.2,
        bytes_rate=1.2e6,
        seconds_left=90.1,
    )
    assert progress_text(full) == (
        "1,700 of 17,000 done (10 %), 500 by an earlier try, 12 skipped, 3 failed, 5 retried, "
        "170/s, 1.2 MB/s, 90 s left"
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (rate_text(12345.6), "12,346/s"),
        (rate_text(9.94), "9.9/s"),
        (rate_text(0.0123), "0.012/s"),
        (bytes_text(0), "0 B"),
        (bytes_text(999), "999 B"),
        (bytes_text(1000), "1.0 kB"),
        (bytes_text(52_300_000), "52 MB"),
        (bytes_text(3e15), "3,000 TB"),
        (seconds_text(0.04), "0.0 s"),
        (seconds_text(9.96), "10 s"),
        (seconds_text(119), "119 s"),
        (seconds_text(300), "5 min"),
        (seconds_text(9000), "2.5 h"),
    ],
)
def test_numbers_are_as_short_as_they_can_be(written: str, expected: str) -> None:
    assert written == expected
