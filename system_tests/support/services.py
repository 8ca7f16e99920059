# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL and Redis on the loopback, each in a folder of its own, which can be killed and come back."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from system_tests.support.processes import Component, as_user, find_processes, free_ports, kill_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

START_SECONDS = 30
SUPERUSER = "postgres"


class NotInstalled(Exception):
    """What a test needs is not there: a program, or a right; the message says which."""


def find_postgres() -> Path:
    """
    Find the folder with PostgreSQL's programs, the newest version's where there are several.

    :raises NotInstalled: when there is none
    """
    found = [program.parent for program in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    if on_path := shutil.which("postgres"):
        found.insert(0, Path(on_path).resolve().parent)
    complete = [folder for folder in found if (folder / "initdb").exists()]
    if not complete:
        raise NotInstalled("PostgreSQL's server is not installed")
    return max(complete, key=lambda folder: [int(part) for part in folder.parts[-2].split(".") if part.isdigit()])


def find_redis() -> str:
    """
    Find the program of Redis's server.

    :raises NotInstalled: when there is none
    """
    found = shutil.which("redis-server")
    if found is None:
        raise NotInstalled("redis-server is not installed")
    return found


class Postgres:
    """
    A PostgreSQL server, between the entry and the exit of a ``with`` block; its one user needs no password.

    What a crash of the machine would lose is not cared for; what a crash of the server would lose is.

    :raises NotInstalled: when it is not installed
    """

    def __init__(self) -> None:
        self._programs = find_postgres()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-")).resolve()
        self._data = self._folder / "data"
        # It refuses to run as root.
        self._user = SUPERUSER if os.geteuid() == 0 else None
        self.databases: set[str] = set()
        (self.port,) = free_ports(1)
        options = {
            "fsync": "off",
            "listen_addresses": "127.0.0.1",
            "max_connections": "200",
            "port": str(self.port),
            "unix_socket_directories": "",
        }
        self._server = Component(
            "PostgreSQL",
            [str(self._programs / "postgres"), "-D", str(self._data)]
            + [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")],
            environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            log=self._folder / "log",
            user=self._user,
        )

    def url(self, database: str) -> str:
        """
        Return what SQLAlchemy connects to.

        :param database: the name of a database
        """
        return f"postgresql+psycopg2://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str, *, template: str = "template1") -> None:
        """
        Make a database.

        :param database: its name
        :param template: the database that it is a copy of, which nobody is connected to
        """
        self.run("createdb", f"--template={template}", database)
        self.databases.add(database)

    def dump(self, database: str) -> str:
        """
        Return all that is in a database, as text.

        :param database: its name
        """
        return self.run("pg_dump", "--inserts", database)

    def run(self, program: str, *arguments: str) -> str:
        """
        Run one of PostgreSQL's programs.

        :param program: its name
        :param arguments: those after the ones that say which server
        :raises RuntimeError: if it fails; with its output
        :return: its output
        """
        which = ["--host=127.0.0.1", f"--port={self.port}", f"--username={SUPERUSER}"]
        return self._run(program, *which, *arguments)

    def start(self) -> None:
        """
        Start it, and wait until it answers.

        :raises TimeoutError: if it does not in time
        """
        self._server.start()
        self._wait_for(self._answers)

    def kill(self) -> None:
        """End it and all of its processes at once, as ``kill -9`` does."""
        self._server.kill()
        kill_all(find_processes(self._data))

    def __enter__(self) -> Self:
        try:
            if self._user is not None:
                shutil.chown(self._folder, self._user)
            self._run("initdb", "-D", str(self._data), "-A", "trust", "-U", SUPERUSER, "-E", "UTF8", "--no-sync")
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, and remove all that it has."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        with contextlib.suppress(RuntimeError):
            self.run("pg_isready")
            return True
        return False

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            self._server.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"PostgreSQL does not answer:\n{self._server.log_tail()}")
            time.sleep(0.1)

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            cwd=self._folder,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            **as_user(self._user),
        )
        if done.returncode:
            raise RuntimeError(f"{program} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
        return str(done.stdout)


class Redis:
    """
    A Redis server that keeps nothing on disk, between the entry and the exit of a ``with`` block.

    :raises NotInstalled: when it is not installed
    """

    def __init__(self) -> None:
        program = find_redis()
        self._folder = Path(tempfile.mkdtemp(prefix="redis-")).resolve()
        (self.port,) = free_ports(1)
        self._server = Component(
            "Redis",
            [program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(self._folder)],
            environment={"PATH": os.defpath},
            log=self._folder / "log",
        )

    @property
    def url(self) -> str:
        """What a Celery broker is configured with."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """
        Start it, and wait until it can be connected to.

        :raises TimeoutError: if it cannot in time
        """
        self._server.start()
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            self._server.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"Redis does not answer:\n{self._server.log_tail()}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does; all that was in it is lost."""
        self._server.kill()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, and remove all that it has."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
