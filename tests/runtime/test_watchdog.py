# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.runtime import watchdog
from airflow_provider_async.runtime.runner import Runner
from airflow_provider_async.runtime.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    LoopFactory = Callable[[], asyncio.AbstractEventLoop]

pytestmark = [
    pytest.mark.usefixtures("short_bounds", "nothing_left_behind"),
    pytest.mark.timeout(method="thread"),  # the other method needs SIGALRM, which a run takes over
]


def wait_for_report(caplog: pytest.LogCaptureFixture) -> bool:
    """Block until the watchdog has reported, for at most five seconds."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if caplog.records:
            return True
        time.sleep(0.01)
    return False


def test_a_call_that_blocks_the_loop_is_reported_with_its_stack_while_it_blocks(
    loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async def load() -> bool:
        return wait_for_report(caplog)

    async def main() -> bool:
        return await load()

    assert Runner[bool](loop_factory=loop_factory).run(main)
    (record,) = caplog.records
    message = record.getMessage()
    assert "has blocked the event loop for 0." in message
    assert "in load\n    return wait_for_report(caplog)" in message
    assert "in wait_for_report" in message
    assert "asyncio/" not in message
    assert "runtime/" not in message.partition("It stands")[2]


def test_it_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        for _ in range(2):
            time.sleep(0.2)  # noqa: ASYNC251 - the point
            await asyncio.sleep(0)

    Runner[None]().run(main)
    assert len(caplog.records) == 1


def test_a_loop_that_waits_is_not_blocked(loop_factory: LoopFactory, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        await asyncio.sleep(0.4)

    Runner[None](loop_factory=loop_factory).run(main)
    assert caplog.records == []


def test_a_blocked_callback_is_reported_too(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> bool:
        done = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: done.set_result(wait_for_report(caplog)))
        reported: bool = await done
        return reported

    assert Runner[bool]().run(main)


def test_an_import_is_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "slow_library.py").write_text("import time\ntime.sleep(0.4)\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    async def main() -> None:
        import slow_library  # type: ignore[import-not-found]  # noqa: F401

    Runner[None]().run(main)
    assert not caplog.records


def test_a_debugger_may_hold_the_loop(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(globals(), "__name__", "pdb")

    async def main() -> None:
        time.sleep(0.3)  # noqa: ASYNC251

    Runner[None]().run(main)
    assert caplog.records == []


def test_a_thread_that_runs_no_loop_yet_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.new_event_loop()
    with Watchdog(loop, timeout_seconds=None, on_timeout=sys.exit, interrupt_due=lambda: False, interrupt=sys.exit):
        time.sleep(0.2)
    loop.close()
    assert caplog.records == []


def test_a_loop_that_is_closed_needs_no_watching() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    before = threading.active_count()
    with Watchdog(loop, timeout_seconds=None, on_timeout=sys.exit, interrupt_due=lambda: False, interrupt=sys.exit):
        until = time.monotonic() + 5
        while threading.active_count() > before and time.monotonic() < until:
            time.sleep(0.01)
        assert threading.active_count() == before


def test_the_time_out_is_kept_to_better_than_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "TICK_SECONDS", 10.0)
    reached = threading.Event()
    loop = asyncio.new_event_loop()
    started = time.monotonic()
    with Watchdog(loop, timeout_seconds=0.1, on_timeout=reached.set, interrupt_due=lambda: False, interrupt=sys.exit):
        assert reached.wait(5)
        assert 0.1 <= time.monotonic() - started < 2
    loop.close()


def test_interrupts_are_not_sent_faster_than_they_can_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "AGAIN_SECONDS", 0.2)
    sent: list[float] = []
    two = threading.Event()

    def interrupt() -> None:
        sent.append(time.monotonic())
        if len(sent) == 2:
            two.set()

    loop = asyncio.new_event_loop()
    with Watchdog(loop, timeout_seconds=None, on_timeout=sys.exit, interrupt_due=lambda: True, interrupt=interrupt):
        assert two.wait(5)
    loop.close()
    assert sent[1] - sent[0] >= 0.2
