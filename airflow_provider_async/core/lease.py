# SPDX-License-Identifier: Apache-2.0
"""One borrowing from a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

    from airflow_provider_async.core.pool import Pool
    from airflow_provider_async.core.slots import Slot

__all__ = ["Lease"]

R = TypeVar("R")
V = TypeVar("V")


class Lease(Generic[R, V]):
    """One borrowing of a resource, as an async context manager; see :meth:`Pool.lease`."""

    __slots__ = ("_entered", "_pool", "_slot")

    _slot: Slot[R]

    def __init__(self, pool: Pool[R, V]) -> None:
        self._pool = pool
        self._entered = False

    async def __aenter__(self) -> V:
        if self._entered:
            raise RuntimeError(f"a lease of {self._pool.name} is entered once")
        self._entered = True
        return self._lend(await self._pool._acquire())

    def enter_at_once(self) -> V | None:
        """Borrow as ``async with`` does, if that takes no waiting; ``None`` if it does, and nothing is borrowed."""
        slot = None if self._entered else self._pool._take()
        if slot is None:
            return None
        self._entered = True
        return self._lend(slot)

    def _lend(self, slot: Slot[R]) -> V:
        self._slot = slot
        try:
            return self._pool._view(slot.resource)
        except BaseException:
            self._pool._release(slot, broken=False)
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.give_back(exc)

    def give_back(self, error: BaseException | None = None) -> None:
        """
        Return what was borrowed, as leaving ``async with`` does.

        :param error: what ended its use, if an error did.
        """
        self._pool._release(self._slot, broken=error is not None and self._pool._health.is_spoiled_by(error))
