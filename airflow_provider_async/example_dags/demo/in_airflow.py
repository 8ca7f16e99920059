# SPDX-License-Identifier: Apache-2.0
"""
The demo's Airflow, as a process: ``python -m airflow_provider_async.example_dags.demo.in_airflow``.

It makes its database, is told by a line on its standard input which DAGs there are, and by one line each to run them,
and answers each line on its standard output. When its input ends, because the demo was killed, it ends too.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from airflow_provider_async.example_dags.orders import select

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

__all__: list[str] = []

_TASK_ID = "load"


def main() -> None:
    """Do what the input says, until it ends."""
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    # Airflow logs to standard output: that becomes what standard error is, and the answers keep a way of their own.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    import airflow
    from airflow.utils.db import initdb

    # What `airflow db migrate` does to an empty database. Importing Airflow a second time, for that command, would
    # take longer than making the tables.
    initdb()
    _answer(answers, version=airflow.__version__)

    request = json.loads(requests.get())
    # All before the first run, so that each finds the libraries imported. A worker imports those of SFTPHook while it
    # parses the DAG, not in the task's time either.
    dags: dict[str, DAG] = {
        dag_id: getattr(importlib.import_module(module), dag_id)() for dag_id, module in request["dags"].items()
    }
    # The task draws its progress on standard error if that is a terminal; everything else goes on to the log.
    terminal = os.fdopen(request["terminal"][0], "w") if request["terminal"] else sys.stderr
    _answer(answers)
    while True:
        request = json.loads(requests.get())
        os.environ.update(request["environment"])
        with contextlib.redirect_stderr(terminal):
            outcome = _run(dags[request["dag_id"]], request["conf"], request["whole"])
        _answer(answers, **outcome)


def _run(dag: DAG, conf: dict[str, object], whole: dict[str, str] | None) -> dict[str, object]:
    """
    Run a DAG, and time its task: the calls alone, for what Airflow does around them is the same for all.

    ``whole`` names a file that makes a first try fail, and what it is replaced by before the next one.
    """
    seconds = begun = 0.0
    loaded: int | None = None

    def pre_execute(_context: Context) -> None:
        nonlocal begun
        begun = time.perf_counter()

    def post_execute(_context: Context, _result: object = None) -> None:
        nonlocal seconds
        seconds += time.perf_counter() - begun

    def on_retry(_context: Context) -> None:
        nonlocal loaded
        post_execute(_context)
        database = Path(str(conf["database"]))
        loaded = len({line.order_id for line in select(str(database))}) if database.exists() else 0
        if whole is not None:
            Path(whole["at"]).replace(whole["file"])

    task = dag.get_task(_TASK_ID)
    for hook in (pre_execute, post_execute):
        setattr(task, hook.__name__, hook)
    task.on_retry_callback = [on_retry]
    run = dag.test(run_conf=conf)
    return {"state": run.state, "seconds": seconds, "loaded_before_retry": loaded}


def _listen(requests: queue.SimpleQueue[bytes]) -> None:
    # Unbuffered: a thread that holds the lock of sys.stdin spoils the end of its process.
    with open(0, "rb", buffering=0, closefd=False) as standard_input:
        while line := standard_input.readline():
            requests.put(line)
    os._exit(1)


def _answer(answers: IO[str], **message: object) -> None:
    print(json.dumps(message), file=answers, flush=True)


if __name__ == "__main__":
    main()
