# SPDX-License-Identifier: Apache-2.0
"""What is tried again and when, and how many requests may begin in a time."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from aiolimiter import AsyncLimiter

from airflow_provider_async.errors import (
    ConnectionFailed,
    HTTPStatusError,
    OperationTimeout,
    PoolError,
    TransientResponse,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.core.values import Rate

__all__ = [
    "IDEMPOTENT_METHODS",
    "TOO_MANY_REQUESTS",
    "Quota",
    "backoff",
    "http_date",
    "is_overload",
    "is_throttling",
    "is_worth_it",
    "limiter",
    "quota",
    "retry_after",
]

#: RFC 9110, section 9.2.2: doing it twice is doing it once.
IDEMPOTENT_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"})

#: Worth another attempt where that does no harm.
_TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})

#: The server did nothing, and says so.
_REFUSED_STATUSES = frozenset({429, 503})

TOO_MANY_REQUESTS = 429
_UNAVAILABLE = 503
_SERVER_ERROR = 500

#: Larger numbers are no seconds from now, but seconds or milliseconds since 1970.
_EPOCH_SECONDS = 1e9
_EPOCH_MILLISECONDS = 1e11

#: One parameter of a structured field (RFC 9651): `;r=50`. Earlier drafts had a list: `remaining=50, reset=30`.
_PARAMETER = re.compile(r"(?:^|[;,])\s*(r|t|remaining|reset)\s*=\s*\"?(-?\d+(?:\.\d+)?)")

_REMAINING_HEADERS = ("X-RateLimit-Remaining", "X-Rate-Limit-Remaining", "RateLimit-Remaining")
_RESET_HEADERS = ("X-RateLimit-Reset", "X-Rate-Limit-Reset", "RateLimit-Reset")


@dataclass(frozen=True, slots=True)
class Quota:
    """
    What a server says about how many more requests it takes.

    :param remaining: how many, until then.
    :param reset_seconds: how long until it takes more.
    """

    remaining: float
    reset_seconds: float


def is_throttling(error: BaseException) -> bool:
    """Tell whether an error means that the server takes no request for now, from anyone."""
    if isinstance(error, TransientResponse):
        return error.retry_after is not None
    if not isinstance(error, HTTPStatusError):
        return False
    return error.status == TOO_MANY_REQUESTS or (error.status == _UNAVAILABLE and error.retry_after is not None)


def is_overload(error: BaseException) -> bool:
    """Tell whether an error may mean that the server has too much to do, and does not say that it refuses."""
    if isinstance(error, HTTPStatusError):
        return error.status >= _SERVER_ERROR and not is_throttling(error)
    return isinstance(error, (ConnectionFailed, OperationTimeout))


def is_worth_it(error: BaseException, *, idempotent: bool, retry: Retry) -> bool:
    """
    Tell whether a request that failed is sent again.

    :param error: what came of it.
    :param idempotent: whether sending it twice does no harm.
    :param retry: the policy, which may know further errors.
    """
    if isinstance(error, TransientResponse):
        return True
    if isinstance(error, HTTPStatusError):
        if error.status in (_TRANSIENT_STATUSES if idempotent else _REFUSED_STATUSES):
            return True
    elif isinstance(error, (ConnectionFailed, OperationTimeout)) and idempotent:
        return True
    # The pool has already tried for as long as it was allowed to.
    return idempotent and not isinstance(error, PoolError) and retry.is_transient(error)


def backoff(retry: Retry, failures: int) -> float:
    """
    Return how many seconds to wait after a failure, at random ("full jitter").

    :param retry: the policy.
    :param failures: how many there were.
    """
    bound = min(retry.max_seconds, retry.initial_seconds * 2.0 ** min(failures - 1, 63))
    return random.random() * bound  # noqa: S311 - no secret


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """
    Return how many seconds the header ``Retry-After`` asks to wait (RFC 9110, section 10.2.3).

    :param headers: of an answer, found in any case.
    :param now: seconds since 1970; the server's own clock is preferred, if it tells the time.
    :return: at least 0; ``None`` if there is no such header, or no sense in it.
    """
    value = headers.get("Retry-After")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is None:
        date = http_date(value)
        if date is None:
            return None
        seconds = date - _server_time(headers, now)
    elif seconds < 0:
        return None
    return max(0.0, seconds)


def quota(headers: Mapping[str, str], now: float) -> Quota | None:
    """
    Return how many more requests a server takes, if it says.

    Understood are the structured field ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers, of several policies the
    one with the least left), its earlier forms, and ``X-RateLimit-*`` with seconds from now or since 1970.

    :param headers: of an answer, found in any case.
    :param now: seconds since 1970; the server's own clock is preferred, if it tells the time.
    """
    structured = headers.get("RateLimit")
    if structured is not None:
        return _structured_quota(structured)
    remaining = _first_number(headers, _REMAINING_HEADERS)
    if remaining is None:
        return None
    reset = _first_number(headers, _RESET_HEADERS)
    if reset is None:
        return None
    if reset >= _EPOCH_MILLISECONDS:
        reset /= 1000
    if reset >= _EPOCH_SECONDS:
        reset -= _server_time(headers, now)
    return Quota(remaining, max(0.0, reset))


def _structured_quota(value: str) -> Quota | None:
    # `"minute";r=9;t=30, "day";r=900;t=80000`, or `limit=10, remaining=9, reset=30`.
    items = value.split(",") if ";" in value else [value]
    quotas = []
    for item in items:
        found = {name[:3]: float(number) for name, number in _PARAMETER.findall(item)}
        remaining = found.get("r", found.get("rem"))
        reset = found.get("t", found.get("res"))
        if remaining is not None and reset is not None:
            quotas.append(Quota(remaining, max(0.0, reset)))
    return min(quotas, key=lambda one: (one.remaining, -one.reset_seconds), default=None)


def _first_number(headers: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    for name in names:
        if (value := headers.get(name)) is not None:
            return _number(value.partition(",")[0].partition(";")[0])
    return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def http_date(text: str) -> float | None:
    """Return the seconds since 1970 of a date as HTTP writes it (RFC 9110, section 5.6.7), if it is one."""
    try:
        date = parsedate_to_datetime(text)
        # The oldest of the three forms names no zone; all are in GMT.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _server_time(headers: Mapping[str, str], now: float) -> float:
    date = headers.get("Date")
    server = None if date is None else http_date(date)
    return now if server is None else server


def limiter(rate: Rate | None) -> AsyncLimiter | None:
    """Return what lets requests begin at a rate."""
    if rate is None:
        return None
    number, seconds = rate if isinstance(rate, tuple) else (rate, 1.0)
    # One at a time instead of so many at once: no window of these seconds then has more than that.
    return AsyncLimiter(1, seconds / number)
