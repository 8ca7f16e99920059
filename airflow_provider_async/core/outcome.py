# SPDX-License-Identifier: Apache-2.0
"""What became of one item of an ``amap``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Finished", "Outcome"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T, R]):
    """
    What became of one item.

    :param item: the item.
    :param value: what the function returned; ``None`` if it failed.
    :param error: what the function raised; ``None`` if it did not.
    """

    item: T
    value: R | None
    error: Exception | None
    _acknowledge: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    def ack(self) -> None:
        """Count the item as done, with ``ack="manual"``: the next try will leave it out."""
        if self._acknowledge is None:
            raise RuntimeError('an outcome is acknowledged by hand where amap is given resume=... and ack="manual"')
        self._acknowledge()


@dataclass(slots=True)  # one that is frozen takes three times as long to be made
class Finished(Generic[T]):
    """An item whose call has ended, on its way to the consumer; with its key, if it can be resumed by."""

    item: T
    value: Any = None
    error: Exception | None = None
    hashed: int | None = None
