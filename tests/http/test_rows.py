# SPDX-License-Identifier: Apache-2.0
"""Where the rows of a page are found, and paths to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.paths import MISSING, find, replaced
from airflow_provider_async.http.rows import find_rows, rows_at

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON

BODY: JSON = {"a": {"b.c": [{"d": 1}, {"d": 2}], "n": None}, "@odata.nextLink": "x", "x.y": {"z": 3}, "x": {"y": 4}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", BODY),
        ("a.b.c.0.d", 1),
        ("a.b.c.-1.d", 2),
        ("a.n", None),
        ("@odata.nextLink", "x"),
        ("x.y.z", 3),
        ("x.y", {"z": 3}),
        ("a.b", MISSING),
        ("a.b.c.2", MISSING),
        ("a.b.c.-3", MISSING),
        ("a.b.c.d", MISSING),
        ("a.n.m", MISSING),
        ("nothing.at.all", MISSING),
    ],
)
def test_a_path_leads_through_objects_and_lists(path: str, found: object) -> None:
    assert find(BODY, path) == found


def test_a_value_is_replaced_in_a_copy() -> None:
    body: JSON = {"query": "...", "variables": {"after": None, "first": 10}}

    assert replaced(body, "variables.after", "x") == {"query": "...", "variables": {"after": "x", "first": 10}}
    assert body == {"query": "...", "variables": {"after": None, "first": 10}}
    assert replaced(None, "a.b", 1) == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([], ""),
        ([{"id": 1}], ""),
        ({"items": [], "errors": [{"a": 1}]}, "items"),
        ({"value": [1], "@odata.nextLink": "x"}, "value"),
        ({"data": {"results": [{}], "meta": []}}, "data.results"),
        ({"hits": {"total": 3, "hits": []}}, "hits.hits"),
        ({"_embedded": {"orders": [{}]}, "_links": {}}, "_embedded.orders"),
        ({"dags": [{"id": 1}], "total_entries": 1}, "dags"),
        ({"dags": [], "total_entries": 0}, "dags"),
        ({"tags": ["a"], "name": "x"}, "tags"),
        ({"columns": ["id"], "orders": [{"id": 1}]}, "orders"),
        ({"rows": [[1]], "columns": ["id"]}, "rows"),
    ],
)
def test_the_rows_are_found(body: JSON, path: str) -> None:
    assert find_rows(body) == path


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"items": [], "results": []}, "may be in 'items' or 'results': give items="),
        ({"data": {"items": [], "rows": []}}, "may be in 'data.items' or 'data.rows'"),
        ({"orders": [{}], "users": [{}]}, "may be in 'orders' or 'users'"),
        ({"id": 1, "name": "x"}, "no rows are found in an object with 'id', 'name': give items="),
        ({str(number): 1 for number in range(20)}, "'9', ...: give items="),
        ({}, "an object with nothing in it"),
        (None, "a body of type NoneType"),
        ("text", "a body of type str"),
    ],
)
def test_rows_that_are_not_clear_are_an_error(body: JSON, message: str) -> None:
    with pytest.raises(PaginationError) as caught:
        find_rows(body)
    assert message in str(caught.value)


def test_rows_come_from_their_path() -> None:
    assert rows_at({"data": [{"rows": [1, 2]}]}, "data.0.rows") == [1, 2]
    assert rows_at({"tags": None}, "tags") == []
    with pytest.raises(PaginationError, match=r"nothing at items='data' in an object with 'error'.*lambda"):
        rows_at({"error": "x"}, "data")
    with pytest.raises(PaginationError, match="at items='data' is no list, but an object with 'id'"):
        rows_at({"data": {"id": 1}}, "data")
