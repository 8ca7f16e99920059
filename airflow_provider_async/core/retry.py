# SPDX-License-Identifier: Apache-2.0
"""What may be retried, and when."""

from __future__ import annotations

import asyncio
import errno
import socket
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_async.core.checks import check_at_least
from airflow_provider_async.core.work import working_on

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tenacity import AsyncRetrying, RetryCallState

__all__ = ["Retry", "is_transient"]

T = TypeVar("T")

#: A peer that is not there at the moment, as opposed to an address or a path that is wrong.
_TRANSIENT_ERRNOS = frozenset(
    {
        errno.EADDRNOTAVAIL,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
    }
)


def is_transient(error: BaseException) -> bool:
    """
    Tell whether an error of a connection or a request may be gone at the next attempt.

    Transient are: a connection that is refused, reset or aborted, a host or a network that cannot be
    reached, a stream that ended early, a time-out, and a name server that failed for now. Everything else is not.

    :param error: what was raised.
    """
    if isinstance(error, (ConnectionError, TimeoutError, EOFError)):
        return True
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS


@dataclass(frozen=True)
class Retry:
    """
    A policy: exponential back-off with jitter, bounded by a number of attempts and by a budget of time.

    :param attempts: how often a call is made in all, the first time included.
    :param initial_seconds: the longest wait after the first failure; it doubles with each further one, and
        each wait is drawn evenly between nothing and that bound ("full jitter"), so that callers which failed together
        do not come back together.
    :param max_seconds: no single wait is longer.
    :param budget_seconds: no attempt begins later than this after the first failure.
    :param is_transient: tells which errors are worth another attempt.
    """

    _: KW_ONLY
    attempts: int = 5
    initial_seconds: float = 0.2
    max_seconds: float = 30.0
    budget_seconds: float = 120.0
    is_transient: Callable[[BaseException], bool] = is_transient

    def __post_init__(self) -> None:
        check_at_least(1, attempts=self.attempts)
        for name in ("initial_seconds", "max_seconds", "budget_seconds"):
            if (seconds := getattr(self, name)) < 0:
                msg = f"{name} must not be negative, but is {seconds}"
                raise ValueError(msg)

    async def call(self, function: Callable[[], Awaitable[T]]) -> T:
        """
        Await ``function()``, again while it fails with transient errors and the policy allows it.

        :param function: called without arguments, once for each attempt.
        :raises Exception: the last error of ``function``, as it is.
        """
        # tenacity costs 40 µs a call, so it is entered only once something has failed.
        try:
            return await function()
        except Exception as error:
            if not self.is_transient(error):
                raise
            return await self._call_again(function, error)

    async def _call_again(self, function: Callable[[], Awaitable[T]], first_error: Exception) -> T:
        from tenacity import stop_after_attempt, stop_before_delay

        pending: Exception | None = first_error

        async def attempt() -> T:
            nonlocal pending
            if pending is None:
                if (work := working_on.get()) is not None:
                    work.retries += 1
                return await function()
            error, pending = pending, None
            raise error

        stop = stop_after_attempt(self.attempts) | stop_before_delay(self.budget_seconds)
        return await self.retrying(stop=stop)(attempt)

    def retrying(self, *, stop: Callable[[RetryCallState], bool]) -> AsyncRetrying:
        """
        Return tenacity's form of this policy, with a rule of the caller's own for when to give up.

        :param stop: told the state after each failure; the last error is raised when it returns true.
        """
        from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

        def is_worth_it(error: BaseException) -> bool:
            # A cancellation is never retried, whatever the policy's owner says.
            return isinstance(error, Exception) and self.is_transient(error)

        return AsyncRetrying(
            sleep=asyncio.sleep,
            stop=stop,
            wait=wait_random_exponential(multiplier=self.initial_seconds, max=self.max_seconds),
            retry=retry_if_exception(is_worth_it),
            reraise=True,
        )
