# SPDX-License-Identifier: Apache-2.0
"""Where the rows of a page are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.paths import MISSING, find

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON

__all__ = ["find_rows", "rows_at", "tells_of_error"]

#: What servers call the list of rows, or what it is in.
_NAMES = ("items", "data", "results", "result", "value", "values", "records", "rows", "entries", "hits", "_embedded")

#: What servers tell in that something is wrong, also in an answer of success.
_ERROR_NAMES = ("error", "errors", "error_description", "error_message", "errorMessage", "fault", "message", "detail")

_MOST_NAMES = 10


def find_rows(body: JSON) -> str:
    """
    Return the path to the one list that must be the rows.

    That is the body itself if it is a list; else the only list under a name that is known for it, or, if there is
    none, the only list of objects that there is, or the only list.

    :raises PaginationError: if there is none, or several could be meant.
    """
    if isinstance(body, list):
        return ""
    found = _under_known_names(body)
    for least in (_is_list_of_objects, _is_list):
        if not found and isinstance(body, dict):
            found = [name for name, value in body.items() if least(value)]
    if len(found) == 1:
        return found[0]
    if found:
        raise PaginationError(f"the rows may be in {' or '.join(map(repr, found))}: give items=..., the path to them")
    raise PaginationError(f"no rows are found in {_describe(body)}: give items=..., the path to them")


def _under_known_names(body: JSON) -> list[str]:
    if not isinstance(body, dict):
        return []
    found = []
    for name in _NAMES:
        value = body.get(name)
        if isinstance(value, list):
            found.append(name)
        elif isinstance(value, dict):
            inner = _under_known_names(value)
            if not inner and name == "_embedded":
                inner = [key for key, one in value.items() if isinstance(one, list)]
            found.extend(f"{name}.{path}" for path in inner)
    return found


def _is_list(value: JSON) -> bool:
    return isinstance(value, list)


def _is_list_of_objects(value: JSON) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def rows_at(body: JSON, path: str) -> list[JSON]:
    """
    Return the rows at a path. ``null`` means none, as some servers write an empty list.

    :raises PaginationError: if there is nothing at the path, or no list.
    """
    found = find(body, path)
    if isinstance(found, list):
        return found
    if found is None:
        return []
    if found is MISSING:
        raise PaginationError(
            f"there is nothing at items={path!r} in {_describe(body)}; where a server leaves out an empty list, "
            "give a function instead: items=lambda body: body.get(...) or []"
        )
    raise PaginationError(f"at items={path!r} is no list, but {_describe(found)}")


def tells_of_error(body: JSON) -> bool:
    """Tell whether a body without rows seems to say why."""
    return isinstance(body, dict) and any(body.get(name) for name in _ERROR_NAMES)


def _describe(body: JSON) -> str:
    if not isinstance(body, dict):
        return f"a body of type {type(body).__name__}"
    names = ", ".join(repr(name) for name in list(body)[:_MOST_NAMES])
    return f"an object with {names or 'nothing in it'}{', ...' if len(body) > _MOST_NAMES else ''}"
