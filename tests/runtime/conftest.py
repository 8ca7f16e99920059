# SPDX-License-Identifier: Apache-2.0
"""Event loops of both kinds, short bounds, and a way to see that a test left nothing behind."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.runtime import leftovers, runner, watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def short_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test can wait for, in the same order of size as the real ones."""
    monkeypatch.setattr(watchdog, "TICK_SECONDS", 0.02)
    monkeypatch.setattr(watchdog, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(watchdog, "BLOCKED_SECONDS", 0.1)
    monkeypatch.setattr(runner, "_INTERRUPT_SECONDS", 0.05)
    monkeypatch.setattr(runner, "_LAST_SECONDS", 0.05)
    monkeypatch.setattr(runner, "CLEAN_UP_SECONDS", 0.6)
    monkeypatch.setattr(runner, "KILL_CLEAN_UP_SECONDS", 0.4)


@pytest.fixture
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Signal handlers, threads and processes are as they were before the test."""
    monkeypatch.setattr(leftovers, "_cut_off", [])
    handlers = [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGINT)]
    threads = set(threading.enumerate())
    yield
    assert [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGINT)] == handlers
    until = time.monotonic() + 5
    while (remaining := set(threading.enumerate()) - threads) and time.monotonic() < until:
        remaining.pop().join(0.05)
    assert not remaining


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Make event loops: asyncio's, and uvloop's where it is installed."""
    if request.param == "asyncio":
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = pytest.importorskip("uvloop").new_event_loop
    return factory
