# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.errors import InvalidConnection
from airflow_provider_async.runtime.extras import Extras

if TYPE_CHECKING:
    from collections.abc import Callable


def extras(value: object) -> Extras:
    return Extras({"x": value}, "my_conn")


@pytest.mark.parametrize("method", ["text", "boolean", "names", "seconds", "count", "rate"])
@pytest.mark.parametrize("value", [None, ""])
def test_what_is_missing_or_empty_is_none(method: str, value: object) -> None:
    assert getattr(extras(value), method)("x") is None
    assert getattr(extras(value), method)("y") is None
    assert extras(value).mapping("x") == {}


@pytest.mark.parametrize(
    ("method", "value", "expected"),
    [
        ("text", " a ", " a "),
        ("boolean", True, True),
        ("boolean", "False", False),
        ("names", ["a"], ("a",)),
        ("mapping", {"a": 1}, {"a": 1}),
        ("seconds", "1.5", 1.5),
        ("seconds", 2, 2.0),
        ("count", 3, 3),
        ("count", "3", 3),
        ("rate", 10, 10.0),
        ("rate", [100, "60"], (100.0, 60.0)),
        ("rate", ["0.5"], 0.5),
    ],
)
def test_values_are_read_by_type(method: str, value: object, expected: object) -> None:
    read: Callable[[str], Any] = getattr(extras(value), method)
    assert read("x") == expected
    assert extras(value).get("x") == value


@pytest.mark.parametrize(
    ("method", "value", "problem"),
    [
        ("text", 5, "must be a text, not of type int"),
        ("boolean", "yes", "must be true or false, not 'yes'"),
        ("boolean", 1, "must be true or false, not 1"),
        ("names", "a", "must be a list of names"),
        ("names", [1], "must be a list of names"),
        ("mapping", [1], "must be an object, not of type list"),
        ("seconds", "soon", "must be a number of seconds above zero, not 'soon'"),
        ("seconds", 0, "must be a number of seconds above zero, not 0"),
        ("seconds", True, "must be a number of seconds above zero, not True"),
        ("seconds", "inf", "must be a number of seconds above zero, not 'inf'"),
        ("seconds", [1], "must be a number of seconds above zero"),
        ("count", 0, "must be a whole number of at least 1, not 0"),
        ("count", 1.5, "must be a whole number of at least 1, not 1.5"),
        ("count", True, "must be a whole number of at least 1, not True"),
        ("rate", [1, 2, 3], "must be a number above zero, or a list of a number and seconds"),
        ("rate", [1, 0], "must be a number above zero, or a list of a number and seconds"),
        ("rate", [], "must be a number above zero, or a list of a number and seconds"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(method: str, value: object, problem: str) -> None:
    with pytest.raises(InvalidConnection) as caught:
        getattr(extras(value), method)("x")
    assert str(caught.value).startswith(f"Connection 'my_conn': extra x {problem}")


def test_extras_of_other_names_are_told() -> None:
    assert Extras({"a": 1, "b": 2}, "c").others(frozenset({"a"})) == {"b": 2}
