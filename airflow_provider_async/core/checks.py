# SPDX-License-Identifier: Apache-2.0
"""What a caller gives, refused at once where it makes no sense: ``None`` is what was not given."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_async.core.values import Rate

__all__ = ["check_above_zero", "check_at_least", "check_concurrency", "check_name"]

#: A name is part of the stores' keys, for which the narrowest limit is that of file names, 255 bytes.
_NAME_CHARACTERS = 100


def check_at_least(least: int, whose: str = "", /, **arguments: float | None) -> None:
    """
    Check arguments, which are given by name.

    :param whose: what the error calls the one that they are for.
    :raises ValueError: if one is below; it names the first.
    """
    for name, value in arguments.items():
        if value is not None and not value >= least:
            raise ValueError(f"{f'{whose}: ' if whose else ''}{name} must be at least {least}, not {value}")


def check_above_zero(**arguments: Rate | None) -> None:
    """
    Check seconds and rates, which are given by name.

    :raises ValueError: if one is zero, negative or without end; it names the first.
    """
    for name, value in arguments.items():
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not 0 < number < math.inf:
                raise ValueError(f"{name} must be above zero, not {number}")


def check_concurrency(argument: str, value: int | str | None) -> None:
    """
    Check how many may run at once.

    :raises ValueError: if it is neither a number of at least 1 nor ``auto``.
    """
    if value is None or value == "auto":
        return
    if isinstance(value, str) or value < 1:
        raise ValueError(f"{argument} must be at least 1, or 'auto', not {value!r}")


def check_name(argument: str, name: str) -> str:
    """
    Return a name under which something is kept.

    :raises ValueError: if it cannot be part of a store's keys.
    """
    if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii() or len(name) > _NAME_CHARACTERS:
        allowed = f"letters, digits, '_' and '-', of {_NAME_CHARACTERS} at most"
        raise ValueError(f"{argument} must be a name of {allowed}, not {name!r}")
    return name
