# SPDX-License-Identifier: Apache-2.0
"""What happens in the demo: a server, its files, and an Airflow that loads them in three ways."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import sys
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from airflow_provider_async.example_dags.demo.files import make_order
from airflow_provider_async.example_dags.demo.processes import child
from airflow_provider_async.example_dags.demo.report import Measurement, say
from airflow_provider_async.example_dags.orders import select

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_async.example_dags.demo.files import Order
    from airflow_provider_async.example_dags.demo.processes import Child

__all__ = ["DemoFailed", "Options", "RunFailed", "measure"]

_EXAMPLES = "airflow_provider_async.example_dags"

#: The folder with the files, as the server's clients see it.
_REMOTE_FOLDER = "/orders"

#: A signal is heard after so many files at the latest.
_FILES_AT_ONCE = 50


class DemoFailed(Exception):
    """The demo cannot go on; the message is for the user."""


class RunFailed(DemoFailed):
    """A DAG run failed; the log tells why."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """
    What the demo is to do.

    :param port: the server's; 0 for a free one.
    :param files: how many there are; the async task loads all of them.
    :param sample: how many of them Airflow's hook loads, with a connection for each.
    :param kept_sample: how many it loads over one connection.
    """

    port: int = 0
    files: int = 2000
    sample: int = 100
    kept_sample: int = 200


@dataclass(frozen=True)
class _Way:
    """
    A way of loading files.

    :param name: what it is called.
    :param module: where its DAG is, in the package of the examples.
    :param dag_id: the DAG, and the function that makes it.
    :param conn_id: its Connection.
    :param login: the name under which it logs in, by which the server counts.
    :param files: how many it loads.
    :param fails_halfway: whether its first try meets a file that its sender has not written to the end.
    """

    name: str
    module: str
    dag_id: str
    conn_id: str
    login: str
    files: int
    fails_halfway: bool = False


@dataclass(frozen=True)
class _Stage:
    """
    All that is written, in one folder.

    :param folder: an empty one.
    """

    folder: Path

    @property
    def airflow(self) -> Path:
        return self.folder / "airflow"

    @property
    def dags(self) -> Path:
        return self.folder / "dags"

    @property
    def served(self) -> Path:
        return self.folder / "served"

    @property
    def orders(self) -> Path:
        return self.served / _REMOTE_FOLDER.strip("/")

    def database(self, way: _Way) -> Path:
        return self.folder / f"{way.login}.db"

    def cut_short(self) -> dict[str, str]:
        """Cut a file in the middle of the list, and say where all of it is kept and where it belongs."""
        names = sorted(path.name for path in self.orders.iterdir())
        file, whole = self.orders / names[len(names) // 2], self.folder / "whole.xml"
        file.replace(whole)
        document = whole.read_bytes()
        file.write_bytes(document[: len(document) // 2])
        return {"at": str(whole), "file": str(file)}

    def make(self, ways: Sequence[_Way]) -> None:
        """Make the folders, and fill the one with the DAGs: only with what will run, for each run parses all of it."""
        for folder in (self.airflow, self.dags, self.orders):
            folder.mkdir(parents=True)
        examples = Path(__file__).parents[1]
        for module in {way.module for way in ways}:
            shutil.copy(examples.joinpath(*module.split(".")).with_suffix(".py"), self.dags)


async def measure(options: Options, folder: Path, errors: IO[bytes] | None) -> list[Measurement]:
    """
    Load files in three ways.

    :param options: how many.
    :param folder: an empty folder for all that is written.
    :param errors: where the log goes; ``None`` for standard error.
    :raises DemoFailed: if the server cannot listen.
    :raises RunFailed: if a DAG run fails.
    :raises ChildEnded: if the server or Airflow ends before it is told to.
    """
    sample, kept_sample = (min(count, options.files) for count in (options.sample, options.kept_sample))
    ours = ("example_sftp", "load_orders", "sftp_default")
    ways = [
        _Way("SFTPClientPool in @task.async_python", *ours, "ours", options.files),
        _Way("the same, with a try that fails", *ours, "retried", options.files, fails_halfway=True),
        _Way("SFTPHook in @task", "demo.hook_dags", "load_orders_in_loop", "sftp_loop", "loop", sample),
        _Way(
            "SFTPHook in @task, connection kept", "demo.hook_dags", "load_orders_kept", "sftp_kept", "kept", kept_sample
        ),
    ]
    stage = _Stage(folder)
    stage.make(ways)
    environment = _environment(stage, quiet=errors is not None)
    async with AsyncExitStack() as stack:
        say("Starting Airflow and an SFTP server, both for this run alone ...")
        terminal = stack.enter_context(_terminal())
        airflow, server = [
            await stack.enter_async_context(
                child(
                    name,
                    f"{_EXAMPLES}.demo.{module}",
                    folder=folder,
                    environment=environment,
                    errors=errors,
                    inherits=terminal,
                )
            )
            for name, module in (("Airflow", "in_airflow"), ("The SFTP server", "server"))
        ]
        connection = await _start_server(server, stage, options.port)
        orders = await _lay_out(options.files, stage)
        await _start_airflow(airflow, ways, terminal)
        seconds = [await _load(airflow, way, stage, connection) for way in ways]
        connections = (await server.end())["connections"]
    return [
        _check(way, stage, orders[: way.files], seconds=taken, connections=connections.get(way.login, 0))
        for way, taken in zip(ways, seconds, strict=True)
    ]


def _environment(stage: _Stage, *, quiet: bool) -> dict[str, str]:
    """Return the environment of an Airflow that neither knows nor touches the user's own, nor the user's SSH keys."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_") and name != "SSH_AUTH_SOCK"
    }
    return inherited | {
        "HOME": str(stage.folder),
        "TMPDIR": str(stage.folder),
        "AIRFLOW_HOME": str(stage.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(stage.dags),
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # SFTPHook logs each file, which takes dag.test() longer than to read it: that would be no fair comparison.
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING" if quiet else "INFO",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


async def _start_server(server: Child, stage: _Stage, port: int) -> dict[str, object]:
    """Return the Connection to the server, without a login."""
    password = secrets.token_urlsafe()
    answer = await server.ask(root=str(stage.served), port=port, password=password)
    if "error" in answer:
        raise DemoFailed(answer["error"])
    say(f"The SFTP server listens on {answer['host']}, port {answer['port']}.")
    return {
        "conn_type": "sftp",
        "host": answer["host"],
        "port": answer["port"],
        "password": password,
        # SFTPHook compresses unless told not to: with no network in between, that would only slow it down.
        "extra": {"host_key": answer["host_key"], "look_for_keys": False, "compress": False},
    }


async def _lay_out(count: int, stage: _Stage) -> list[Order]:
    say(f"Laying out {count:,} XML files ...")
    orders: list[Order] = []
    for number in range(count):
        order = make_order(number)
        (stage.orders / order.name).write_bytes(order.document)
        orders.append(order)
        if number % _FILES_AT_ONCE == 0:
            await asyncio.sleep(0)
    return orders


@contextmanager
def _terminal() -> Iterator[list[int]]:
    """Open the terminal that standard error is, if it is one, a second time: that of Airflow goes to a log."""
    if not sys.stderr.isatty():
        yield []
        return
    with os.fdopen(os.dup(sys.stderr.fileno()), "wb") as terminal:
        yield [terminal.fileno()]


async def _start_airflow(airflow: Child, ways: Sequence[_Way], terminal: Sequence[int]) -> None:
    say("Waiting for Airflow to make its database ...")
    answer = await airflow.answer()
    say(f"Airflow {answer['version']} is ready.")
    await airflow.ask(dags={way.dag_id: f"{_EXAMPLES}.{way.module}" for way in ways}, terminal=terminal)


async def _load(airflow: Child, way: _Way, stage: _Stage, connection: Mapping[str, object]) -> float:
    """Run a DAG, and return how many seconds its task took."""
    say(
        f"Running the DAG {way.dag_id}: {way.files:,} files{', one of them cut short' if way.fails_halfway else ''} ..."
    )
    answer = await airflow.ask(
        dag_id=way.dag_id,
        conf={"folder": _REMOTE_FOLDER, "database": str(stage.database(way)), "sample": way.files},
        environment={f"AIRFLOW_CONN_{way.conn_id.upper()}": json.dumps({**connection, "login": way.login})},
        whole=stage.cut_short() if way.fails_halfway else None,
    )
    if answer["state"] != "success":
        raise RunFailed(f"The run of the DAG {way.dag_id} ended as {answer['state']}.")
    if way.fails_halfway:
        loaded = int(answer["loaded_before_retry"])
        say(f"Its first try loaded {loaded:,} files, its retry went on with the other {way.files - loaded:,}.")
    return float(answer["seconds"])


def _check(way: _Way, stage: _Stage, orders: Sequence[Order], *, seconds: float, connections: int) -> Measurement:
    """Compare what is in a database with what was laid out."""
    database = stage.database(way)
    expected = {line for order in orders for line in order.lines}
    found = select(str(database)) if database.exists() else set()
    return Measurement(
        name=way.name,
        files=way.files,
        seconds=seconds,
        rows=len(found & expected),
        expected_rows=len(expected),
        connections=connections,
    )
