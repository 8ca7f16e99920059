# SPDX-License-Identifier: Apache-2.0
"""How a pool opens a connection, and what it remembers of the attempts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Connector"]

R = TypeVar("R")


class Connector(Generic[R]):
    """
    Opens resources, and counts.

    :param connect: opens one.
    :param close: closes one.
    :param is_usable: tells whether one can be handed out.
    :ivar connects: how often one was opened.
    :ivar errors: how often that failed.
    :ivar last_error: of the last attempt that failed.
    :ivar is_failing: whether the last attempt failed.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[R]],
        *,
        close: Callable[[R], Awaitable[object]],
        is_usable: Callable[[R], bool],
    ) -> None:
        self._connect = connect
        self._close = close
        self._is_usable = is_usable
        self.connects = 0
        self.errors = 0
        self.last_error: BaseException | None = None
        self.is_failing = False

    async def open(self, opened: Callable[[float], None]) -> R:
        """
        Open a resource.

        :param opened: told how many seconds that took.
        :raises ConnectionError: if it was unusable as soon as it was open.
        """
        began = time.monotonic()
        try:
            resource = await self._connect()
            await self._reject_unusable(resource)
        except (Exception, asyncio.CancelledError) as error:
            self.errors += 1
            self.last_error = error
            self.is_failing = True
            raise
        self.connects += 1
        self.is_failing = False
        opened(time.monotonic() - began)
        return resource

    async def _reject_unusable(self, resource: R) -> None:
        # Were it put to use, it would be replaced at once, again and again without a pause.
        if not self._is_usable(resource):
            with contextlib.suppress(Exception):
                await self._close(resource)
            raise ConnectionError("the connection was unusable as soon as it was open")
