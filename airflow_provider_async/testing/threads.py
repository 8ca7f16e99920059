# SPDX-License-Identifier: Apache-2.0
"""Servers that run beside a test, whether that is async or not."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

__all__ = ["running_in_a_thread"]

S = TypeVar("S")


@contextmanager
def running_in_a_thread(server: AbstractAsyncContextManager[S]) -> Iterator[S]:
    """
    Run a server in an event loop of its own.

    :param server: it runs while this is entered.
    """
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, name="server")
        running = runner.run(stack.enter_async_context(server))
        thread.start()
        try:
            yield running
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            runner.run(stack.aclose())
