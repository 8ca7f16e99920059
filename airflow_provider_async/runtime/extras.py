# SPDX-License-Identifier: Apache-2.0
"""The extras of an Airflow Connection, checked one by one as they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_provider_async.core.limits import ServerLimits
from airflow_provider_async.errors import InvalidConnection

if TYPE_CHECKING:
    from airflow_provider_async.core.values import Concurrency, Rate

__all__ = ["Extras", "invalid"]


def invalid(conn_id: str, name: str, problem: str) -> InvalidConnection:
    """
    Return the error for a field of a Connection.

    :param conn_id: the Connection's id.
    :param name: the field, as the user sees it.
    :param problem: the rest of the sentence; never with the value of a secret.
    """
    return InvalidConnection(f"Connection {conn_id!r}: {name} {problem}")


class Extras:
    """
    The extras of one Connection, by type; what is missing or empty is ``None``.

    :param values: the extras, decoded.
    :param conn_id: what errors call the Connection.
    """

    def __init__(self, values: Mapping[str, object], conn_id: str) -> None:
        self._values = values
        self._conn_id = conn_id

    def invalid(self, name: str, problem: str) -> InvalidConnection:
        """Return the error for an extra; ``problem`` is the rest of the sentence."""
        return invalid(self._conn_id, f"extra {name}", problem)

    def others(self, known: frozenset[str]) -> dict[str, object]:
        """Return the extras of other names than these."""
        return {name: value for name, value in self._values.items() if name not in known}

    def get(self, name: str) -> object:
        """Return an extra as it is."""
        return self._values.get(name)

    def text(self, name: str) -> str | None:
        """
        Read a text.

        :raises InvalidConnection: if it is something else.
        """
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.invalid(name, f"must be a text, not of type {type(value).__name__}")
        return value if value.strip() else None

    def boolean(self, name: str) -> bool | None:
        """
        Read ``true`` or ``false``, as a JSON value or as a text.

        :raises InvalidConnection: if it is something else, such as ``yes`` or 1: those would not mean to Airflow's
            hooks what they say.
        """
        value = self._values.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise self.invalid(name, f"must be true or false, not {value!r}")

    def names(self, name: str) -> tuple[str, ...] | None:
        """
        Read a list of texts.

        :raises InvalidConnection: if it is something else.
        """
        value = self._values.get(name)
        return self.as_names(name, value) if value else None

    def as_names(self, name: str, value: object) -> tuple[str, ...]:
        """
        Check that a value, which may be a part of an extra, is a list of texts.

        :raises InvalidConnection: if it is something else.
        """
        if not isinstance(value, list) or not all(isinstance(element, str) for element in value):
            raise self.invalid(name, "must be a list of names")
        return tuple(value)

    def mapping(self, name: str) -> Mapping[str, object]:
        """
        Read an object; a missing one is empty.

        :raises InvalidConnection: if it is something else.
        """
        value = self._values.get(name) or {}
        if not isinstance(value, Mapping):
            raise self.invalid(name, f"must be an object, not of type {type(value).__name__}")
        return value

    def seconds(self, name: str) -> float | None:
        """
        Read a number of seconds above zero, as a JSON value or as a text.

        :raises InvalidConnection: if it is something else.
        """
        value = self._values.get(name)
        if value is None or value == "":
            return None
        seconds = _number(value)
        if seconds is None:
            raise self.invalid(name, f"must be a number of seconds above zero, not {value!r}")
        return seconds

    def count(self, name: str) -> int | None:
        """
        Read a whole number of at least 1, as a JSON value or as a text.

        :raises InvalidConnection: if it is something else.
        """
        value = self._values.get(name)
        if value is None or value == "":
            return None
        is_digits = isinstance(value, str) and value.isascii() and value.isdigit()
        if isinstance(value, bool) or not (isinstance(value, int) or is_digits) or int(str(value)) < 1:
            raise self.invalid(name, f"must be a whole number of at least 1, not {value!r}")
        return int(str(value))

    def concurrency(self, name: str) -> Concurrency | None:
        """
        Read a whole number of at least 1, or ``auto``.

        :raises InvalidConnection: if it is something else.
        """
        return "auto" if self._values.get(name) == "auto" else self.count(name)

    def limits(self) -> ServerLimits:
        """
        Read what the server takes from all tasks together: ``max_connections``, ``max_requests`` and ``rate``.

        :raises InvalidConnection: if one of them is no number.
        """
        return ServerLimits(
            max_connections=self.count("max_connections"),
            max_requests=self.count("max_requests"),
            rate=self.rate("rate"),
        )

    def rate(self, name: str) -> Rate | None:
        """
        Read a rate: a number for each second, or a list of a number and seconds.

        :raises InvalidConnection: if it is something else.
        """
        value = self._values.get(name)
        if value is None or value == "":
            return None
        parts = value if isinstance(value, list) else [value]
        numbers = [number for number in map(_number, parts) if number is not None]
        if len(numbers) != len(parts) or len(numbers) not in (1, 2):
            raise self.invalid(name, f"must be a number above zero, or a list of a number and seconds, not {value!r}")
        return (numbers[0], numbers[1]) if len(numbers) > 1 else numbers[0]


def _number(value: object) -> float | None:
    """Return a finite number above zero, or ``None`` if the value is something else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None
