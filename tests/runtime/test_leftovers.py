# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import multiprocessing
import time
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.runtime import leftovers
from airflow_provider_async.runtime.runner import Runner

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from pathlib import Path

pytestmark = [
    pytest.mark.usefixtures("short_bounds", "nothing_left_behind"),
    pytest.mark.timeout(method="thread"),  # the other method needs SIGALRM, which a run takes over
]

# A forked child of a real task has core's handler, which ignores SIGTERM.
IGNORES_SIGTERM = """
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({ready!r}).touch()
time.sleep(3600)
"""


def start(code: str) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=exec, args=[code])
    process.start()
    return process


def test_processes_that_the_coroutine_started_are_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ready = tmp_path / "ready"
    processes: list[BaseProcess] = []

    async def main() -> None:
        processes.append(start(IGNORES_SIGTERM.format(ready=str(ready))))
        while not ready.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)

    Runner[None]().run(main)
    assert "Ending 1 processes that the task started and left behind" in caplog.text
    assert not processes[0].is_alive()


def test_processes_that_others_started_are_left_alone() -> None:
    process = start("import time; time.sleep(3600)")

    async def main() -> None:
        await asyncio.sleep(0)

    try:
        Runner[None]().run(main)
        assert process.is_alive()
    finally:
        process.kill()
        process.join()


def test_what_threads_do_is_known_only_while_they_do_it() -> None:
    threads = leftovers.Threads()
    threads.submit(time.sleep, 0).result()
    threads.end(lambda: time.monotonic() + 5)
    with pytest.raises(RuntimeError, match="after shutdown"):
        threads.submit(time.sleep, 0)
