# SPDX-License-Identifier: Apache-2.0
"""What the pool's owner says of a resource, asked so that a faulty answer never costs the pool its books."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Health"]

R = TypeVar("R")

log = logging.getLogger(__name__)


class Health(Generic[R]):
    """
    Whether a resource can be handed out, and whether an error that left a lease has spoiled it.

    :param is_usable: tells whether a resource can be handed out; ``None``: always.
    :param is_broken: tells whether an error means that its resource is broken; ``None``: none does.
    :param discards_cancelled: whether a cancellation spoils a resource.
    """

    def __init__(
        self,
        *,
        is_usable: Callable[[R], bool] | None,
        is_broken: Callable[[BaseException], bool] | None,
        discards_cancelled: bool,
    ) -> None:
        self._is_usable = is_usable
        self._is_broken = is_broken
        self._discards_cancelled = discards_cancelled

    def is_usable(self, resource: R) -> bool:
        """Tell whether a resource can be handed out; one whose check fails cannot."""
        if self._is_usable is None:
            return True
        try:
            return self._is_usable(resource)
        except Exception:
            log.exception("is_usable failed; the resource is taken for unusable")
            return False

    def is_spoiled_by(self, error: BaseException) -> bool:
        """
        Tell whether an error that left a lease says that the resource must not be used again.

        Its explicit causes and the parts of exception groups are asked too; what merely happened to be handled at the
        time (``__context__``) is not: it may stem from another resource.
        """
        seen: set[int] = set()
        errors = [error]
        while errors:
            error = errors.pop()
            if id(error) in seen:
                continue
            seen.add(id(error))
            if isinstance(error, BaseExceptionGroup):
                errors.extend(error.exceptions)
            # What is not an Exception (a cancellation, a generator that is closed, a signal's error) comes from
            # outside, in the middle of whatever was being done.
            elif not isinstance(error, Exception):
                if self._discards_cancelled:
                    return True
            elif self._means_broken(error):
                return True
            if error.__cause__ is not None:
                errors.append(error.__cause__)
        return False

    def _means_broken(self, error: Exception) -> bool:
        if self._is_broken is None:
            return False
        try:
            return self._is_broken(error)
        except Exception:
            log.exception("is_broken failed; the resource is taken for broken")
            return True
