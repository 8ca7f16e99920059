# SPDX-License-Identifier: Apache-2.0
"""
How far something has come that is done in order, kept so that the next try can go on: one small value.

A try writes a value of its own, and that of the newest try counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_async.core.envelope import seal
from airflow_provider_async.core.kept import Kept
from airflow_provider_async.errors import CheckpointError

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON, CheckpointStore

__all__ = ["CursorCheckpoint"]

#: The smallest of the stores' limits is 64 KB for a value, as a JSON string.
_MOST_BYTES = 30_000


class CursorCheckpoint(Kept):
    """
    The cursor of one piece of work; see :class:`~airflow_provider_async.core.kept.Kept` for the parameters.

    :ivar value: the newest cursor, ``None`` if there is none.
    """

    kind = "cursor"

    def __init__(self, store: CheckpointStore, name: str, *, identity: str, attempt: int) -> None:
        super().__init__(store, name, identity=identity, attempt=attempt)
        self.value: dict[str, JSON] | None = None
        self._unsaved: str | None = None

    async def _read(self) -> None:
        for attempt in range(self._attempt + 1):
            if (value := await self._get(self._key(attempt))) is not None:
                self.value = value

    def _forget(self) -> None:
        self.value = None

    def set(self, value: dict[str, JSON]) -> None:
        """
        Note how far it has come; :meth:`save` keeps it.

        :param value: small.
        :raises CheckpointError: if it is too large to be kept.
        """
        text = seal(value, self._owner)
        if len(text) > _MOST_BYTES:
            raise CheckpointError(f"the cursor of {self.name!r} is too large to be kept: {len(text)} bytes as JSON")
        self.value, self._unsaved = value, text

    async def save(self) -> None:
        """
        Write what is not written yet.

        :raises Exception: what the store raises; nothing is lost, and the next call tries again.
        """
        async with self._saving:
            if self._unsaved is None:
                return
            await self._set_head()
            # A newer one that comes meanwhile is not taken for saved.
            text, self._unsaved = self._unsaved, None
            try:
                await self._set(self._key(self._attempt), text)
            except BaseException:
                self._put_back(text)
                raise

    def _put_back(self, text: str) -> None:
        if self._unsaved is None:
            self._unsaved = text

    def _stop(self) -> None:
        self._unsaved = None
