# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from multidict import CIMultiDict

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import (
    ConnectionFailed,
    HTTPStatusError,
    InvalidBody,
    OperationTimeout,
    PoolTimeout,
    TransientResponse,
)
from airflow_provider_async.http import policy
from airflow_provider_async.http.policy import Quota

#: Sun, 06 Nov 1994 08:49:37 GMT.
NOW = 784111777.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("1.5", 1.5),
        (" 7 ", 7),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60),
        ("Sunday, 06-Nov-94 08:50:37 GMT", 60),
        ("Sun Nov  6 08:50:37 1994", 60),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("inf", None),
        ("nan", None),
        ("Sun, 99 Nov 1994 08:50:37 GMT", None),
    ],
)
def test_both_forms_of_retry_after_are_read(value: str, seconds: float | None) -> None:
    assert policy.retry_after(CIMultiDict({"retry-after": value}), NOW) == seconds


def test_a_date_is_compared_with_the_servers_clock() -> None:
    headers = {"Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT", "Date": "Sun, 06 Nov 1994 08:50:07 GMT"}
    assert policy.retry_after(headers, NOW + 10_000) == 30
    assert policy.retry_after(headers | {"Date": "never"}, NOW) == 60
    assert policy.retry_after({}, NOW) is None


@pytest.mark.parametrize(
    ("headers", "quota"),
    [
        ({"RateLimit": '"default";r=50;t=30'}, Quota(50, 30)),
        ({"RateLimit": '"100-in-1min"; r=0; t=12', "RateLimit-Policy": '"100-in-1min"; q=100; w=60'}, Quota(0, 12)),
        ({"RateLimit": '"minute";r=9;t=30, "day";r=3;t=80000'}, Quota(3, 80000)),
        ({"RateLimit": "limit=100, remaining=5, reset=7"}, Quota(5, 7)),
        ({"RateLimit": '"default";r=50'}, None),
        ({"RateLimit": "nonsense"}, None),
        ({"RateLimit-Remaining": "4", "RateLimit-Reset": "9"}, Quota(4, 9)),
        ({"X-RateLimit-Remaining": "4", "X-RateLimit-Reset": "9"}, Quota(4, 9)),
        (
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(NOW) + 86400 * 365 * 20)},
            Quota(0, 86400 * 365 * 20),
        ),
        ({"X-Rate-Limit-Remaining": "0", "X-Rate-Limit-Reset": f"{(NOW * 2) * 1000:.0f}"}, Quota(0, NOW)),
        ({"X-RateLimit-Remaining": "0, 5;w=1", "X-RateLimit-Reset": "9"}, Quota(0, 9)),
        ({"X-RateLimit-Remaining": "0"}, None),
        ({"X-RateLimit-Remaining": "many", "X-RateLimit-Reset": "9"}, None),
        ({}, None),
    ],
)
def test_all_forms_of_rate_limits_are_read(headers: dict[str, str], quota: Quota | None) -> None:
    assert policy.quota(headers, NOW) == quota


def status(number: int, retry_after: float | None = None) -> HTTPStatusError:
    return HTTPStatusError("no", status=number, url="", headers={}, retry_after=retry_after)


@pytest.mark.parametrize(
    ("error", "idempotent", "any_method"),
    [
        *((status(number), True, False) for number in (408, 425, 500, 502, 504)),
        *((status(number), True, True) for number in (429, 503)),
        *((status(number), False, False) for number in (400, 401, 403, 404, 409, 410, 412, 501, 505)),
        (ConnectionFailed(), True, False),
        (OperationTimeout(), True, False),
        (TransientResponse("busy"), True, True),
        (InvalidBody(), False, False),
        (PoolTimeout(), False, False),
        (ConnectionResetError(), True, False),
        (ValueError(), False, False),
    ],
)
def test_what_is_sent_again_depends_on_the_method(error: Exception, idempotent: bool, any_method: bool) -> None:
    assert policy.is_worth_it(error, idempotent=True, retry=Retry()) is idempotent
    assert policy.is_worth_it(error, idempotent=False, retry=Retry()) is any_method


def test_a_policy_may_know_further_errors_but_not_for_methods_that_do_harm() -> None:
    retry = Retry(is_transient=lambda error: isinstance(error, HTTPStatusError) and error.status == 409)
    assert policy.is_worth_it(status(409), idempotent=True, retry=retry)
    assert policy.is_worth_it(status(500), idempotent=True, retry=retry)
    assert not policy.is_worth_it(status(409), idempotent=False, retry=retry)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (status(429), True),
        (status(503, 1.0), True),
        (status(503), False),
        (status(500, 1.0), False),
        (TransientResponse("busy", retry_after=1), True),
        (TransientResponse("busy"), False),
        (ConnectionFailed(), False),
    ],
)
def test_what_means_that_the_server_takes_nothing_for_now(error: Exception, expected: bool) -> None:
    assert policy.is_throttling(error) is expected


def test_waits_are_drawn_between_nothing_and_a_bound_that_doubles() -> None:
    retry = Retry(initial_seconds=1, max_seconds=4)
    for failures, bound in ((1, 1), (2, 2), (3, 4), (4, 4), (10**6, 4)):
        waits = [policy.backoff(retry, failures) for _ in range(200)]
        assert 0 <= min(waits) < bound / 4
        assert bound * 3 / 4 < max(waits) <= bound
