# SPDX-License-Identifier: Apache-2.0
"""A process that belongs to the demo, spoken to in lines of JSON."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

__all__ = ["Child", "ChildEnded", "child"]


class ChildEnded(Exception):
    """A process ended without an answer."""


class Child:
    """
    A running process.

    :param name: what it is called in errors.
    :param process: with pipes for standard input and output.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process
        # These are there, for they were asked for.
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        self._requests = process.stdin
        self._answers = process.stdout

    async def ask(self, **request: object) -> dict[str, Any]:
        """
        Send a request and wait for its first answer.

        :raises ChildEnded: if the process ended instead.
        """
        # It has ended, if it takes nothing: then there is no answer either.
        with suppress(ConnectionError):
            self._requests.write(json.dumps(request).encode() + b"\n")
            await self._requests.drain()
        return await self.answer()

    async def end(self) -> dict[str, Any]:
        """
        Close the process's input, which it takes for its end, and wait for its last answer.

        :raises ChildEnded: if there is none.
        """
        self._requests.close()
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """
        Wait for another answer.

        :raises ChildEnded: if the process ended instead.
        """
        line = await self._answers.readline()
        if not line.endswith(b"\n"):
            raise ChildEnded(f"{self._name} ended unexpectedly, with status {await self._process.wait()}.")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def child(
    name: str,
    module: str,
    *,
    folder: Path,
    environment: Mapping[str, str],
    errors: IO[bytes] | None,
    inherits: Sequence[int] = (),
) -> AsyncIterator[Child]:
    """
    Run a Python module in a process, which is gone afterwards with all that it started.

    :param name: what the process is called in errors.
    :param module: the module's name.
    :param folder: the process's working directory.
    :param environment: its environment.
    :param errors: where its standard error goes; ``None`` for that of this process.
    :param inherits: open files that it gets under the same numbers.
    """
    start = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=folder,
            env=environment,
            pass_fds=inherits,
            # Ctrl-C at a terminal goes to a whole group: with one of its own, this one ends when it is told to.
            start_new_session=True,
        )
    )
    try:
        # Shielded: a start that asyncio itself has to undo may be waited for twice, which it complains about.
        yield Child(name, await asyncio.shield(start))
    finally:
        process = await start
        # Nothing that it could still do is wanted: all that it has written lies in a folder that is about to go.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
