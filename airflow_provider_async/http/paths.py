# SPDX-License-Identifier: Apache-2.0
"""Dotted paths into JSON, such as ``data.results``."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from airflow_provider_async.core.values import JSON

__all__ = ["MISSING", "Missing", "find", "replaced"]


class Missing(Enum):
    """What is at a path that leads nowhere; ``None`` is something."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


def find(body: JSON, path: str) -> JSON | Missing:
    """
    Return what is at a path.

    A part is a name or, in a list, an index; a negative one counts from the end. A name may have dots itself, such as
    ``@odata.nextLink``.

    :param body: where the path begins.
    :param path: the whole body if empty.
    """
    if not path:
        return body
    if isinstance(body, dict) and path in body:
        return body[path]
    head, dot, rest = path.partition(".")
    while True:
        if (child := _child(body, head)) is not MISSING and dot and (found := find(child, rest)) is not MISSING:
            return found
        if not dot:
            return child
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"


def _child(body: JSON, name: str) -> JSON | Missing:
    if isinstance(body, dict):
        return body.get(name, MISSING)
    if isinstance(body, list) and name.removeprefix("-").isdecimal():
        index = int(name)
        if -len(body) <= index < len(body):
            return body[index]
    return MISSING


def replaced(body: JSON, path: str, value: JSON) -> JSON:
    """
    Return a body with another value at a path; what is not on the way there is shared with the old one.

    :param body: an object, or nothing.
    :param path: names of objects, which are made where there are none.
    :param value: what is to be there.
    """
    head, _, rest = path.partition(".")
    fields = body if isinstance(body, dict) else {}
    return {**fields, head: replaced(fields.get(head), rest, value) if rest else value}
