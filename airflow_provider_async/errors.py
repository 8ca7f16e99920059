# SPDX-License-Identifier: Apache-2.0
"""Every error of this package that a user can catch."""

from __future__ import annotations

__all__ = [
    "AsyncProviderError",
    "CallCancelled",
    "InvalidConnection",
    "IteratorClosed",
    "PoolClosed",
    "PoolConnectError",
    "PoolError",
    "PoolTimeout",
    "SupervisorUnavailable",
    "UnsafePath",
    "UnsupportedAirflow",
]


class AsyncProviderError(Exception):
    """Base class of all errors of this package."""


class PoolError(AsyncProviderError):
    """Base class of the errors of a pool itself."""


class PoolTimeout(PoolError, TimeoutError):
    """No lease became free within the acquire time-out."""


class PoolClosed(PoolError):
    """The pool was closed, or was never opened."""


class PoolConnectError(PoolError):
    """A connection was refused for good, such as by a wrong password; the pool does not try again."""


class CallCancelled(AsyncProviderError):
    """The function of an ``amap`` cancelled itself, so that its item has neither a value nor an error."""


class IteratorClosed(AsyncProviderError):
    """An ``amap`` was closed, by its pool for example, before whoever iterates over it had all results."""


class InvalidConnection(AsyncProviderError, ValueError):
    """A field or an extra of an Airflow Connection cannot be used."""


class SupervisorUnavailable(AsyncProviderError):
    """Airflow's supervisor is gone, does not answer, or cannot be asked from this process."""


class UnsafePath(AsyncProviderError, ValueError):
    """A name that a server or a caller gave would lead outside of a folder, or to the file of another name."""


class UnsupportedAirflow(AsyncProviderError):
    """The running Airflow is too old for what was asked."""
