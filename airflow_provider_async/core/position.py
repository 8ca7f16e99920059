# SPDX-License-Identifier: Apache-2.0
"""How work that is done in order, such as reading pages, finds the cursor that it resumes by."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from airflow_provider_async.core.checks import check_name
from airflow_provider_async.core.resume import current_checkpoints

if TYPE_CHECKING:
    from airflow_provider_async.core.cursor import CursorCheckpoint
    from airflow_provider_async.core.resume import Checkpoints
    from airflow_provider_async.core.values import JSON

__all__ = ["Position"]

log = logging.getLogger(__name__)


class Position:
    """
    Where a piece of work goes on.

    :param name: of the work.
    :raises ValueError: if that is no name.
    """

    def __init__(self, name: str) -> None:
        self.name = check_name("resume", name)
        self._checkpoints: Checkpoints | None = None
        self._cursor: CursorCheckpoint | None = None

    async def open(self) -> dict[str, JSON] | None:
        """
        Read how far earlier tries have come.

        :return: what was kept last; ``None`` if nothing was.
        :raises CheckpointError: if another one of that name is at work.
        """
        if (checkpoints := current_checkpoints()) is None:
            log.info("resume=%r keeps nothing: this is neither a task nor a block of resumable()", self.name)
            return None
        self._cursor = await checkpoints.open_cursor(self.name)
        self._checkpoints = checkpoints
        return self._cursor.value

    def keep(self, value: dict[str, JSON]) -> None:
        """
        Note how far it has come.

        :raises CheckpointError: if that is too large to be kept.
        """
        if self._cursor is not None:
            self._cursor.set(value)

    async def keep_up(self) -> None:
        """Wait while what is done cannot be kept."""
        if self._checkpoints is not None:
            await self._checkpoints.hold.wait()

    def close(self) -> None:
        """Let another piece of work have the name. What an error has ended is saved at once."""
        if self._checkpoints is not None and self._cursor is not None:
            self._checkpoints.release(self._cursor.name)
            if sys.exception() is not None:
                self._checkpoints.save_soon()
            self._checkpoints = self._cursor = None
