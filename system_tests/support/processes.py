# SPDX-License-Identifier: Apache-2.0
"""Processes that a test starts: their output in a file, their end sure."""

from __future__ import annotations

import contextlib
import pwd
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def free_ports(number: int) -> list[int]:
    """
    Find TCP ports of the loopback interface that nobody listens on.

    :param number: how many, all different
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def tail(path: Path, lines: int = 40) -> str:
    """
    Read the end of a file of text.

    :param path: the file; a missing one counts as empty
    :param lines: how many lines at most
    """
    with contextlib.suppress(FileNotFoundError):
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    return ""


def find_processes(folder: Path) -> list[psutil.Process]:
    """
    Find processes by the folder that they were started in, which their forks share, orphans included.

    Their environment would not do: ``setproctitle``, which Airflow uses, writes over it.

    :param folder: their working directory
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if is_in(process, folder):
                found.append(process)
    return found


def is_in(process: psutil.Process, folder: Path) -> bool:
    """
    Tell whether a process runs that was started in a folder.

    :param process: it
    :param folder: the folder
    :raises psutil.Error: if it has gone altogether
    """
    return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder


def kill_all(processes: Iterable[psutil.Process], *, timeout_seconds: float = 10) -> None:
    """
    Kill processes, each by its own id, and wait until they are gone.

    :param processes: what to kill; those that have ended already are passed over
    :param timeout_seconds: how long to wait for their end
    :raises TimeoutError: if one is still there by then
    """
    processes = list(processes)
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(processes, timeout=timeout_seconds)
    if alive:
        raise TimeoutError(f"Processes {[process.pid for process in alive]} do not end.")


def as_user(name: str | None) -> dict[str, Any]:
    """
    Return what makes ``subprocess`` start a program as a user.

    :param name: the user's; None is that of this process
    """
    if name is None:
        return {}
    found = pwd.getpwnam(name)
    return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


class Component:
    """
    A process that runs until it is stopped.

    :param name: what it is called in errors
    :param command: the program and its arguments
    :param environment: all of its environment variables
    :param log: the file that its output goes to, in the folder that it is started in
    :param user: whose process it is; by default that of the tests
    """

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path, user: str | None = None
    ) -> None:
        self.name = name
        self._user = user
        self._command = command
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C reaches the tests alone, which then stop it in order."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._log.parent,
                start_new_session=True,
                **as_user(self._user),
            )

    @property
    def pid(self) -> int:
        """
        The id of its process.

        :raises RuntimeError: if it was not started, or was killed
        """
        if self._process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def check(self) -> None:
        """
        Check that it still runs.

        :raises RuntimeError: if it has ended; with the end of its output
        """
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise RuntimeError(f"{self.name} ended with exit code {code}:\n{self.log_tail()}")

    def log_tail(self, lines: int = 40) -> str:
        """
        Read the end of its output.

        :param lines: how many lines at most
        """
        return tail(self._log, lines)

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End it at once; it does not count as one that should run, until it is started again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def kill_tree(self) -> None:
        """End it and all processes below it at once."""
        if self._process is not None:
            below = psutil.Process(self._process.pid).children(recursive=True)
            self.kill()
            kill_all(below)

    def wait(self, timeout_seconds: float) -> None:
        """
        Wait for its end.

        :param timeout_seconds: how long
        :raises TimeoutError: if it has not ended by then
        """
        if self._process is None:
            return
        try:
            self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"{self.name} did not end within {timeout_seconds} s:\n{self.log_tail()}") from error
