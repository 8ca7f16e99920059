# SPDX-License-Identifier: Apache-2.0
"""What a delta query says of one item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON

__all__ = ["Change", "change_of"]


@dataclass(frozen=True, slots=True)
class Change:
    """
    What has become of one item; or that all of them come anew.

    :param kind: ``changed``, with the item as it is now, or as far as it has changed; ``removed``, with little more
        than its ``id``; or ``reset``, without an item: what was known until now is void, for everything that there is
        follows, as if each item were new. What is not in there, is no more.
    :param item: as Graph gives it.
    :param reason: why it was removed, ``deleted`` for good or ``changed`` so that it is not found any more; or why all
        come anew.
    """

    kind: Literal["changed", "removed", "reset"]
    item: Mapping[str, JSON] = field(default_factory=dict)
    reason: str | None = None

    @property
    def id(self) -> str:
        """The item's id; empty for a reset."""
        return str(self.item.get("id", ""))


def change_of(item: Mapping[str, JSON]) -> Change:
    """Return what one row of a delta says."""
    removed = item.get("@removed")
    if removed is not None:
        return Change("removed", item, str(removed.get("reason", "deleted")) if isinstance(removed, dict) else None)
    # Items of a drive have a facet instead: https://learn.microsoft.com/graph/api/driveitem-delta.
    if isinstance(item.get("deleted"), Mapping):
        return Change("removed", item, "deleted")
    return Change("changed", item)
