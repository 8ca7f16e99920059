# SPDX-License-Identifier: Apache-2.0
"""The demo from its beginning to its end, however that comes."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from airflow_provider_async.example_dags.demo.processes import ChildEnded
from airflow_provider_async.example_dags.demo.report import format_table, say, say_end_of
from airflow_provider_async.example_dags.demo.scenario import DemoFailed, Options, RunFailed, measure

__all__ = ["run"]

#: For all of it. Two cores need about a minute.
_TIMEOUT_SECONDS = 600.0


def run(options: Options, *, verbose: bool) -> int:
    """
    Run the demo. However it ends, SIGKILL aside, no process and no file is left behind.

    :param options: what it is to do.
    :param verbose: whether Airflow's log is shown.
    :return: the exit status: 0 when all rows are there, 128 and its number after a signal.
    """
    stopped_by: list[signal.Signals] = []
    try:
        return asyncio.run(_run_until_stopped(options, stopped_by, verbose=verbose))
    except asyncio.CancelledError:
        say("Stopped: no process and no file is left behind.")
        return 128 + stopped_by[0]
    except (ChildEnded, DemoFailed) as error:
        print(f"demo: {error}", file=sys.stderr)  # noqa: T201 - the demo's output
        return 1


async def _run_until_stopped(options: Options, stopped_by: list[signal.Signals], *, verbose: bool) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101 - for mypy

    def stop(signum: signal.Signals) -> None:
        # Once: what comes then is the clean-up.
        if not stopped_by:
            stopped_by.append(signum)
            task.cancel()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # What is ignored was meant to be, by nohup for example.
        if signal.getsignal(signum) is not signal.SIG_IGN:
            loop.add_signal_handler(signum, stop, signum)
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await _run(options, verbose=verbose)
    except TimeoutError:
        raise DemoFailed(f"It took more than {_TIMEOUT_SECONDS:.0f} s: --verbose shows what Airflow does.") from None


async def _run(options: Options, *, verbose: bool) -> int:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="async-demo-") as name, ExitStack() as stack:
        folder = Path(name)
        log = None if verbose else stack.enter_context((folder / "log").open("wb"))
        try:
            measurements = await measure(options, folder, log)
        except (ChildEnded, RunFailed):
            if log is not None:
                say_end_of(Path(log.name))
            raise
    say(f"\n{format_table(measurements)}\n")
    say("ratio: files a second of the first line over those of this one.")
    say(f"It took {time.monotonic() - began:.0f} s, and has left no process and no file behind.")
    if not all(measurement.is_complete for measurement in measurements):
        raise DemoFailed("Rows are missing.")
    return 0
