# SPDX-License-Identifier: Apache-2.0
"""Every error of this package that a user can catch."""

from __future__ import annotations

__all__ = [
    "AsyncProviderError",
    "CallCancelled",
    "CheckpointError",
    "FileChanged",
    "InvalidConnection",
    "IteratorClosed",
    "OperationTimeout",
    "PoolClosed",
    "PoolConnectError",
    "PoolError",
    "PoolTimeout",
    "SupervisorUnavailable",
    "UnsafePath",
    "UnsupportedAirflow",
    "VerificationFailed",
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


class CheckpointError(AsyncProviderError):
    """What is done cannot be kept: a name or a key is used twice, or a result is no small JSON value."""


class IteratorClosed(AsyncProviderError):
    """An ``amap`` was closed, by its pool for example, before whoever iterates over it had all results."""


class InvalidConnection(AsyncProviderError, ValueError):
    """A field or an extra of an Airflow Connection cannot be used."""


class OperationTimeout(AsyncProviderError, TimeoutError):
    """A server did not answer a request within the operation time-out; its connection is given up."""


class FileChanged(AsyncProviderError):
    """A file was changed while it was transferred, so that what arrived is neither its old nor its new contents."""


class VerificationFailed(AsyncProviderError):
    """What was transferred differs from its source, or could not be compared as asked for."""


class SupervisorUnavailable(AsyncProviderError):
    """Airflow's supervisor is gone, does not answer, or cannot be asked from this process."""


class UnsafePath(AsyncProviderError, ValueError):
    """A name that a server or a caller gave would lead outside of a folder, or to the file of another name."""


class UnsupportedAirflow(AsyncProviderError):
    """The running Airflow is too old for what was asked."""
