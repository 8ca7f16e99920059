# SPDX-License-Identifier: Apache-2.0
"""What holds work back while that which it has done cannot be kept."""

from __future__ import annotations

import asyncio
import logging

__all__ = ["Hold"]

log = logging.getLogger(__name__)


class Hold:
    """
    Holds work back while its checkpoints cannot be saved: what it does then is done again if the process ends.

    Not for ever: a store that stays away fails no work. When it is known not to come back soon, the work goes on.

    :param most_seconds: how long, until a save works again.
    """

    def __init__(self, *, most_seconds: float) -> None:
        self._most_seconds = most_seconds
        self._is_free = asyncio.Event()
        self._is_free.set()
        self._has_given_up = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_on(self) -> bool:
        """Whether work is held back."""
        return not self._is_free.is_set()

    async def wait(self) -> None:
        """Wait until work may go on."""
        await self._is_free.wait()

    def begin(self) -> None:
        """Hold work back, unless that was given up already."""
        if self.is_on or self._has_given_up:
            return
        log.warning("the work waits until checkpoints can be saved again, %g s at most", self._most_seconds)
        self._is_free.clear()
        self._timer = asyncio.get_running_loop().call_later(self._most_seconds, self._give_up)

    def end(self) -> None:
        """Let work go on: all that was done is kept."""
        self._has_given_up = False
        if self.is_on:
            log.info("checkpoints are saved again, and the work goes on")
            self._let_go()

    def close(self) -> None:
        """Let go whoever still waits."""
        self._let_go()

    def _give_up(self) -> None:
        log.warning("the work goes on: what it does until checkpoints can be saved may be done again")
        self._has_given_up = True
        self._let_go()

    def _let_go(self) -> None:
        self._is_free.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
