# SPDX-License-Identifier: Apache-2.0
"""
The pool's bookkeeping: which resource has which leases out, and which has to go.

Everything here is synchronous and does no I/O. Each method changes the state in one step; resources that have
to be closed are left in :attr:`Slots.doomed` for the caller, who closes them and says so with :meth:`Slots.forget`.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PoolStatistics", "Slot", "Slots"]

R = TypeVar("R")

#: Lifetimes are shortened by up to this part, so that resources opened together do not all end together.
_LIFETIME_JITTER = 0.1


@dataclass(frozen=True, kw_only=True)
class PoolStatistics:
    """
    What a pool holds at one moment.

    :param size: how many resources may be open at most.
    :param limit: how many leases may be out at most.
    :param open: resources that are open, those included that are draining or being closed.
    :param connecting: resources that are being opened.
    :param draining: open resources that take no new lease and are closed when the last one returns.
    :param leased: leases that are out.
    :param free: leases that could be had without waiting for another to return.
    :param withheld: leases that a draining resource keeps from being had; ``free + leased + withheld == limit``, so it
        is negative while more leases are out than a limit that was lowered.
    :param waiting: how many wait for a lease.
    :param connects: how often a resource was opened, since the beginning.
    :param connect_errors: how often that failed, since the beginning.
    :param waits: how often a lease was waited for, since the beginning; the first one waits for its resource to open.
    :param wait_seconds: how long these waits took, all added up.
    :param returned: how many leases have ended, since the beginning.
    :param spoiled: of how many the resource was broken then.
    :param auto: whether the limit is being found out.
    """

    size: int
    limit: int
    open: int
    connecting: int
    draining: int
    leased: int
    free: int
    withheld: int
    waiting: int
    connects: int
    connect_errors: int
    waits: int = 0
    wait_seconds: float = 0.0
    returned: int = 0
    spoiled: int = 0
    auto: bool = False

    def beside(self, other: PoolStatistics) -> PoolStatistics:
        """Return the sums of two pools."""
        sums = {field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        return PoolStatistics(**sums | {"auto": self.auto or other.auto})

    def after(self, earlier: PoolStatistics) -> PoolStatistics:
        """Return the same, with what another pool counted since its beginning, which is closed now."""
        return replace(
            self,
            connects=self.connects + earlier.connects,
            connect_errors=self.connect_errors + earlier.connect_errors,
            waits=self.waits + earlier.waits,
            wait_seconds=self.wait_seconds + earlier.wait_seconds,
            returned=self.returned + earlier.returned,
            spoiled=self.spoiled + earlier.spoiled,
        )


class Slot(Generic[R]):
    """One open resource and what is known of it."""

    __slots__ = ("doomed", "expires_at", "idle_since", "leased", "resource", "retired", "uses")

    def __init__(self, resource: R, *, opened_at: float, expires_at: float) -> None:
        self.resource = resource
        self.expires_at = expires_at
        self.idle_since = opened_at
        self.leased = 0
        self.uses = 0
        self.retired = False
        self.doomed = False


class Slots(Generic[R]):
    """
    The resources of a pool, each with room for a number of leases.

    A slot is *usable*, or *retired*: broken, expired or over-used. A retired slot takes no new lease and is doomed when
    its last lease returns. Until it is forgotten it counts as open, and what it could have leased is withheld.
    """

    def __init__(
        self,
        *,
        size: int,
        leases: int,
        limit: int,
        is_usable: Callable[[R], bool],
        max_idle: float | None,
        max_lifetime: float | None,
        max_uses: int | None,
        clock: Callable[[], float],
    ) -> None:
        self.size = size
        self.leases = leases
        self.limit = limit
        self.leased = 0
        self.returned = 0
        self.spoiled = 0
        self.usable = 0
        self.connecting = 0
        self.doomed: list[Slot[R]] = []
        self._is_usable = is_usable
        self._max_idle = math.inf if max_idle is None else max_idle
        self._max_lifetime = math.inf if max_lifetime is None else max_lifetime
        self._max_uses = math.inf if max_uses is None else max_uses
        self.ages = max_idle is not None or max_lifetime is not None
        self._clock = clock
        # Usable slots by the number of their leases: the least loaded is found without a search, and dicts
        # keep the order of use, so that the idle slot used last is the first to be used again.
        self._by_load: list[dict[Slot[R], None]] = [{} for _ in range(leases + 1)]
        # No usable slot has fewer leases than that.
        self._least_load = 0
        self._retired: set[Slot[R]] = set()
        # An exclusive resource is opened when somebody waits for it; a shared one before that, at half its load.
        self._crowded = (leases + 1) // 2 if leases > 1 else math.inf

    @property
    def draining(self) -> int:
        """How many retired resources are not closed yet."""
        return len(self._retired)

    @property
    def open(self) -> int:
        """How many resources are open, those included that are draining or being closed."""
        return self.usable + self.draining

    @property
    def free(self) -> int:
        """How many more leases could be out, counting resources that are still to be opened."""
        leased_by_usable = self.leased - sum(slot.leased for slot in self._retired)
        room = (self.size - self.draining) * self.leases - leased_by_usable
        return max(0, min(self.limit - self.leased, room))

    def take(self) -> Slot[R] | None:
        """
        Lease the least-loaded usable resource, among equals the one used last.

        :return: its slot, or ``None`` if there is no room now.
        """
        if self.leased >= self.limit:
            return None
        now = self._clock() if self.ages else 0.0
        self._advance()
        while (load := self._least_load) < self.leases:
            slot, _ = self._by_load[load].popitem()
            if not self._is_fit(slot, now):
                self._retire(slot)
                self._advance()
                continue
            slot.leased = load + 1
            slot.uses += 1
            self.leased += 1
            if slot.uses >= self._max_uses:
                self._retire(slot)
            else:
                self._by_load[load + 1][slot] = None
            return slot
        return None

    def give_back(self, slot: Slot[R], *, broken: bool) -> None:
        """
        Return a lease.

        :param slot: what :meth:`take` returned.
        :param broken: whether the resource must not be leased again.
        """
        load = slot.leased
        slot.leased = load - 1
        self.leased -= 1
        self.returned += 1
        self.spoiled += broken
        if slot.retired:
            if slot.leased == 0:
                self._doom(slot)
            return
        del self._by_load[load][slot]
        if broken:
            self._retire(slot)
            return
        self._by_load[load - 1][slot] = None
        self._least_load = min(self._least_load, load - 1)
        if load == 1 and self.ages:
            slot.idle_since = self._clock()

    def add(self, resource: R) -> None:
        """Put a newly opened resource to use."""
        now = self._clock()
        lifetime = self._max_lifetime * (1 - random.random() * _LIFETIME_JITTER)  # noqa: S311 - no secret
        self._by_load[0][Slot(resource, opened_at=now, expires_at=now + lifetime)] = None
        self._least_load = 0
        self.usable += 1

    def forget(self, slot: Slot[R]) -> None:
        """Note that a doomed resource is closed: another may be opened in its place."""
        self._retired.discard(slot)

    def retire_idle(self) -> float:
        """
        Retire the idle resources whose time has come.

        :return: seconds until the next one is due; infinity if none will be.
        """
        now = self._clock()
        next_due = math.inf
        for slot in list(self._by_load[0]):
            due = min(slot.expires_at, slot.idle_since + self._max_idle)
            if due <= now:
                del self._by_load[0][slot]
                self._retire(slot)
            else:
                next_due = min(next_due, due - now)
        return next_due

    def retire_all(self, *, even_leased: bool = False) -> None:
        """
        Retire every usable resource.

        :param even_leased: doom also those whose leases are out, retired earlier or not.
        """
        for slots in self._by_load:
            while slots:
                self._retire(slots.popitem()[0])
        if even_leased:
            for slot in self._retired:
                self._doom(slot)

    def wants_another(self, waiting: int) -> bool:
        """
        Tell whether one more resource should be opened.

        :param waiting: how many waiters there are for whom no lease is free.
        """
        if self.open + self.connecting >= self.size:
            return False
        if min(waiting, self.limit - self.leased) > self.connecting * self.leases:
            return True
        if self.connecting:
            return False
        self._advance()
        return self.usable > 0 and self._least_load >= self._crowded

    def is_crowded(self, slot: Slot[R]) -> bool:
        """Tell whether a slot has so many leases that :meth:`wants_another` is worth asking."""
        return slot.leased >= self._crowded and self.usable < self.size

    def statistics(
        self, *, waiting: int, connects: int, connect_errors: int, waits: int, wait_seconds: float, auto: bool
    ) -> PoolStatistics:
        """Return the counts of this moment, with those that are kept elsewhere."""
        free = self.free
        return PoolStatistics(
            size=self.size,
            limit=self.limit,
            open=self.open,
            connecting=self.connecting,
            draining=self.draining,
            leased=self.leased,
            free=free,
            withheld=self.limit - self.leased - free,
            waiting=waiting,
            connects=connects,
            connect_errors=connect_errors,
            waits=waits,
            wait_seconds=wait_seconds,
            returned=self.returned,
            spoiled=self.spoiled,
            auto=auto,
        )

    def _advance(self) -> None:
        """Look up the least load, unless it still is what it was."""
        while self._least_load < self.leases and not self._by_load[self._least_load]:
            self._least_load += 1

    def _is_fit(self, slot: Slot[R], now: float) -> bool:
        if self.ages and (now >= slot.expires_at or (slot.leased == 0 and now >= slot.idle_since + self._max_idle)):
            return False
        return self._is_usable(slot.resource)

    def _retire(self, slot: Slot[R]) -> None:
        slot.retired = True
        self.usable -= 1
        self._retired.add(slot)
        if slot.leased == 0:
            self._doom(slot)

    def _doom(self, slot: Slot[R]) -> None:
        if not slot.doomed:
            slot.doomed = True
            self.doomed.append(slot)
