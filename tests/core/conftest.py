# SPDX-License-Identifier: Apache-2.0
"""An event loop whose time is virtual, and resources that are opened, broken and closed on demand."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.core.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for time to pass, lets it pass."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise AssertionError("everything waits, and nothing will ever happen")
        self.now += timeout
        return super().select(0)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Sleeping takes no time here: when nothing else is to be done, the clock is moved to the next timer."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def step(self) -> None:
        """Let everything run that can run without time passing, and return."""
        for _ in range(50):
            self.call_soon(self.stop)
            self.run_forever()

    def let_time_pass(self, seconds: float) -> None:
        """Let everything happen that happens within these seconds, and return."""
        self.run_until_complete(asyncio.sleep(seconds))
        self.step()


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual-time": VirtualTimeLoop}


@pytest.fixture
def make_virtual_loop() -> Callable[[], VirtualTimeLoop]:
    """For tests that step through event loops from outside."""
    return VirtualTimeLoop


class Connection:
    """What a fake server hands out."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_open = True
        self.is_usable = True

    def __repr__(self) -> str:
        return f"connection {self.number}"


class ConnectionBroken(Exception):
    """The error that means that a connection is broken."""


class Server:
    """
    Connections to nothing, with everything that can go wrong.

    ``connect_seconds`` and ``close_seconds`` of (virtual) time; ``refuse`` is a list of errors for the next attempts;
    the most that were ever open at once is in ``most_open``.
    """

    def __init__(self) -> None:
        self.connect_seconds = 0.0
        self.close_seconds = 0.0
        self.refuse: list[BaseException] = []
        self.attempts = 0
        self.most_open = 0
        self.connections: list[Connection] = []

    @property
    def open(self) -> list[Connection]:
        return [connection for connection in self.connections if connection.is_open]

    async def connect(self) -> Connection:
        self.attempts += 1
        await asyncio.sleep(self.connect_seconds)
        if self.refuse:
            raise self.refuse.pop(0)
        connection = Connection(len(self.connections) + 1)
        self.connections.append(connection)
        self.most_open = max(self.most_open, len(self.open))
        return connection

    async def close(self, connection: Connection) -> None:
        assert connection.is_open, f"{connection} is closed twice"
        try:
            await asyncio.sleep(self.close_seconds)
        finally:
            connection.is_open = False

    def broken(self) -> Exception:
        """Make the error that means that a connection is broken."""
        return ConnectionBroken()

    def pool(self, *, size: int = 1, **options: object) -> Pool[Connection, Connection]:
        """Make a pool of this server's connections."""
        options = {
            "is_broken": lambda error: isinstance(error, ConnectionBroken),
            "is_usable": lambda connection: connection.is_usable,
            "clock": lambda: asyncio.get_running_loop().time(),
            **options,
        }
        return Pool(self.connect, close=self.close, size=size, **options)  # type: ignore[arg-type]


@pytest.fixture
def server() -> Server:
    return Server()
