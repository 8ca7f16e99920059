# SPDX-License-Identifier: Apache-2.0
"""How Graph's listings are cut into pages, and the queries that only some listings know."""

from __future__ import annotations

import base64
import json
import operator
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from airflow_provider_async.testing.msgraph.answers import GraphAnswer, Row, error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_async.testing.msgraph.answers import GraphRequest
    from airflow_provider_async.testing.msgraph.server import GraphServer

__all__ = ["Paging", "listing", "selected"]

_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_AND = re.compile(r" and (?=(?:[^']*'[^']*')*[^']*$)")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_ADVANCED = re.compile(r"\b(ne|not)\b|\bendswith\(|/\$count\b", re.IGNORECASE)


@dataclass
class Paging:
    """
    How listings are cut into pages.

    :param size: rows of a page, unless ``$top`` asks for fewer.
    :param most: what ``$top`` may be at most.
    :param link: how links to the next page are written.
    :param empty: the numbers of pages, counted from 0, before which there is one without rows.
    :param repeat_at: the number of a page whose link leads to itself.
    :param foreign_at: the number of a page whose link leads to another host.
    :param foreign: that host's URL.
    :param sizes: instead of ``size``, those of each page in turn.
    """

    size: int = 100
    most: int = 999
    link: Literal["absolute", "from root", "relative"] = "absolute"
    empty: frozenset[int] = frozenset()
    repeat_at: int | None = None
    foreign_at: int | None = None
    foreign: str = "http://127.0.0.2:1"
    sizes: tuple[int, ...] = ()

    def size_of(self, number: int, top: int | None) -> int:
        """Return how many rows a page has at most."""
        size = self.sizes[number % len(self.sizes)] if self.sizes else self.size
        return min(size, top) if top is not None else size


def listing(
    server: GraphServer,
    request: GraphRequest,
    rows: Sequence[Row],
    *,
    is_directory: bool,
) -> GraphAnswer:
    """
    Answer a request for a collection, or for one page of it.

    :param rows: all that there are.
    :param is_directory: whether the stricter rules of the directory hold.
    """
    query = request.query
    if (refusal := _refuse(server, request, is_directory=is_directory)) is not None:
        return refusal
    rows = _ordered([row for row in rows if _is_found(row, query)], query.get("$orderby"))
    if not is_directory and "$skip" in query:
        rows = rows[int(query["$skip"]) :]
    # Where this page begins, its number, and whether it is the one without rows before that.
    start, number, is_empty = (
        _read_token(query["$skiptoken"]) if "$skiptoken" in query else (0, 0, 0 in server.paging.empty)
    )
    top = int(query["$top"]) if "$top" in query else None
    size = 0 if is_empty else server.paging.size_of(number, top)
    page = rows[start : start + size]
    body: dict[str, Any] = {"@odata.context": f"{server.url}/$metadata#{request.path.lstrip('/')}"}
    if query.get("$count") == "true" and "$skiptoken" not in query:
        body["@odata.count"] = len(rows)
    following = (start, number, False) if is_empty else (start + size, number + 1, number + 1 in server.paging.empty)
    has_more = is_empty or following[0] < len(rows)
    if has_more:
        body["@odata.nextLink"] = _link(server, request, following, number)
    body["value"] = [selected(row, query.get("$select")) for row in page]
    return GraphAnswer(body=body)


def _link(server: GraphServer, request: GraphRequest, following: tuple[int, int, bool], number: int) -> str:
    paging = server.paging
    token = request.query.get("$skiptoken", "") if number == paging.repeat_at else _write_token(*following)
    if number == paging.repeat_at and not token:
        token = _write_token(0, 0)
    kept = {name: value for name, value in request.query.items() if name not in ("$skiptoken", "$skip")}
    query = "&".join(f"{quote(name, safe='$')}={quote(value)}" for name, value in kept.items())
    query = f"{query}&$skiptoken={token}" if query else f"$skiptoken={token}"
    path = f"/{request.version}{quote(request.path)}"
    if number == paging.foreign_at:
        return f"{paging.foreign}{path}?{query}"
    forms = {
        "absolute": f"{server.origin}{path}?{query}",
        "from root": f"{path}?{query}",
        "relative": f"{path.rpartition('/')[2]}?{query}",
    }
    return forms[paging.link]


def _write_token(start: int, number: int, empty: int = 0) -> str:
    return base64.urlsafe_b64encode(f"{start}.{number}.{int(empty)}".encode()).decode().rstrip("=")


def _read_token(token: str) -> tuple[int, int, bool]:
    start, number, is_empty = base64.urlsafe_b64decode(f"{token}{'=' * (-len(token) % 4)}").decode().split(".")
    return int(start), int(number), is_empty == "1"


def _refuse(server: GraphServer, request: GraphRequest, *, is_directory: bool) -> GraphAnswer | None:
    query = request.query
    if "$top" in query and not 1 <= int(query["$top"]) <= server.paging.most:
        return error(400, "Request_UnsupportedQuery", f"Invalid page size specified: '{query['$top']}'.")
    if not is_directory:
        return error(400, "ErrorInvalidUrlQuery") if "$search" in query and "$count" in query else None
    if "$skip" in query:
        return error(400, "Request_UnsupportedQuery", "'$skip' is not supported by the service.")
    condition = _LITERAL.sub("''", query.get("$filter", ""))
    is_advanced = "$search" in query or _ADVANCED.search(condition) or (condition and "$orderby" in query)
    is_eventual = request.headers.get("consistencylevel", "").lower() == "eventual"
    if is_advanced and not (is_eventual and ("$count" in query or "$skiptoken" in query)):
        return error(400, "Request_UnsupportedQuery", "Missing ConsistencyLevel: eventual and $count=true.")
    if "$count" in query and not is_eventual:
        return error(400, "Request_BadRequest", "$count is not currently supported without ConsistencyLevel: eventual.")
    return None


def _is_found(row: Row, query: Mapping[str, str]) -> bool:
    search = query.get("$search", "").strip('"')
    if search:
        name, _, text = search.partition(":")
        if text.lower() not in str(row.get(name, "")).lower():
            return False
    condition = query.get("$filter", "")
    return all(_holds(row, part.strip()) for part in _AND.split(condition)) if condition else True


def _holds(row: Row, condition: str) -> bool:
    if condition.lower().startswith("not"):
        return not _holds(row, condition[3:].strip().removeprefix("(").removesuffix(")"))
    if call := re.fullmatch(r"(contains|endswith|startswith)\((\w+),\s*'((?:[^']|'')*)'\)+", condition, re.IGNORECASE):
        kind, name, text = call.groups()
        text_of = str(row.get(name, "")).lower()
        tests: dict[str, Callable[[str], bool]] = {
            "contains": text_of.__contains__,
            "endswith": text_of.endswith,
            "startswith": text_of.startswith,
        }
        return tests[kind.lower()](text.replace("''", "'").lower())
    if comparison := re.fullmatch(r"(\w+) (eq|ne|lt|le|gt|ge) (.+)", condition):
        name, sign, text = comparison.groups()
        wanted, value = _literal(text), row.get(name)
        if sign in ("eq", "ne"):
            return (value == wanted) is (sign == "eq")
        return value is not None and bool(_COMPARISONS[sign](value, wanted))
    raise ValueError(f"the server knows no condition {condition!r}")


def _literal(text: str) -> object:
    """Read a text in quotes, a number, ``true``, ``false`` or ``null``; anything else is a date, or a name."""
    if (quoted := _LITERAL.fullmatch(text)) is not None:
        return quoted[1].replace("''", "'")
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value


def _ordered(rows: list[Row], orderby: str | None) -> list[Row]:
    """Sort by properties; rows without one come first."""
    for part in reversed(orderby.split(",") if orderby else []):
        name, _, direction = part.strip().partition(" ")
        rows = sorted(rows, key=partial(_rank, name), reverse=direction == "desc")
    return rows


def _rank(name: str, row: Row) -> tuple[bool, Any]:
    value = row.get(name)
    return (False, 0) if value is None else (True, value)


def selected(row: Row, select: str | None) -> Row:
    """
    Return what is wanted of a row.

    :param select: names with commas between them, if not all.
    """
    if not select:
        return row
    names = {"id", *select.split(",")}
    return {name: value for name, value in row.items() if name in names}
