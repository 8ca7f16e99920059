# SPDX-License-Identifier: Apache-2.0
"""What callers give, and the sentences that refuse it."""

from __future__ import annotations

import math
import re

import pytest

from airflow_provider_async.core.checks import check_above_zero, check_at_least, check_concurrency


def test_what_is_not_given_is_right() -> None:
    check_at_least(1, size=None)
    check_above_zero(rate=None)
    check_concurrency("max_concurrency", None)


def test_the_first_number_that_is_too_small_is_named() -> None:
    check_at_least(1, size=1, leases=2)
    check_at_least(0, max_idle=0.0)
    with pytest.raises(ValueError, match=r"^leases must be at least 1, not 0$"):
        check_at_least(1, size=1, leases=0, limit=-1)
    with pytest.raises(ValueError, match=r"^sftp_default: max_idle must be at least 0, not nan$"):
        check_at_least(0, "sftp_default", max_idle=math.nan)


@pytest.mark.parametrize("bad", [0, -1, math.inf, math.nan])
def test_seconds_and_both_numbers_of_a_rate_are_above_zero_and_finite(bad: float) -> None:
    check_above_zero(timeout=0.1, rate=(10, 60))
    for rate in (bad, (bad, 60), (10, bad)):
        with pytest.raises(ValueError, match=re.escape(f"rate must be above zero, not {bad}")):
            check_above_zero(timeout=1, rate=rate)


def test_a_concurrency_is_a_number_or_auto() -> None:
    for good in (1, 500, "auto"):
        check_concurrency("max_concurrency", good)
    for bad in (0, -1, "fast", ""):
        with pytest.raises(ValueError, match="max_concurrency must be at least 1, or 'auto', not "):
            check_concurrency("max_concurrency", bad)
