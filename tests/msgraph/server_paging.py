# SPDX-License-Identifier: Apache-2.0
"""How Graph's listings are cut into pages, and the queries that only some listings know."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from tests.msgraph.server_core import GraphAnswer, error

if TYPE_CHECKING:
    from tests.msgraph.server_core import GraphRequest, GraphServer

Row = Mapping[str, Any]

_LITERAL = re.compile(r"'((?:[^']|'')*)'")
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
        size = self.sizes[number % len(self.sizes)] if self.sizes else self.size
        return min(size, top) if top is not None else size


def listing(
    server: GraphServer,
    request: GraphRequest,
    rows: Sequence[Row],
    *,
    is_directory: bool = True,
    context: str = "",
) -> GraphAnswer:
    """Answer a request for a collection, or for one page of it."""
    query = request.query
    if (refusal := _refuse(server, request, is_directory=is_directory)) is not None:
        return refusal
    rows = [row for row in rows if _is_found(row, query)]
    if not is_directory and "$skip" in query:
        rows = rows[int(query["$skip"]) :]
    # Where this page begins, its number, and whether it is the one without rows before that.
    start, number, is_empty = (
        _read_token(query["$skiptoken"]) if "$skiptoken" in query else (0, 0, 0 in server.paging.empty)
    )
    top = int(query["$top"]) if "$top" in query else None
    size = 0 if is_empty else server.paging.size_of(number, top)
    page = rows[start : start + size]
    body: dict[str, Any] = {"@odata.context": f"{server.url}/$metadata#{context or request.path.lstrip('/')}"}
    if query.get("$count") == "true" and "$skiptoken" not in query:
        body["@odata.count"] = len(rows)
    following = (start, number, False) if is_empty else (start + size, number + 1, number + 1 in server.paging.empty)
    has_more = is_empty or following[0] < len(rows)
    if has_more:
        body["@odata.nextLink"] = _link(server, request, following, number)
    body["value"] = [_selected(row, query.get("$select")) for row in page]
    return GraphAnswer(body=body)


def _link(server: GraphServer, request: GraphRequest, following: tuple[int, int, bool], number: int) -> str:
    paging = server.paging
    token = request.query.get("$skiptoken", "") if number == paging.repeat_at else _write_token(*following)
    if number == paging.repeat_at and not token:
        token = _write_token(0, 0, False)
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


def _write_token(start: int, number: int, is_empty: bool) -> str:
    return base64.urlsafe_b64encode(f"{start}.{number}.{int(is_empty)}".encode()).decode().rstrip("=")


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
    return all(_holds(row, part.strip()) for part in condition.split(" and ")) if condition else True


def _holds(row: Row, condition: str) -> bool:
    if condition.lower().startswith("not"):
        return not _holds(row, condition[3:].strip().removeprefix("(").removesuffix(")"))
    if call := re.fullmatch(r"(\w+)\((\w+),\s*'((?:[^']|'')*)'\)+", condition):
        kind, name, text = call.groups()
        value = str(row.get(name, "")).lower()
        tests: dict[str, Callable[[str], bool]] = {"startswith": value.startswith, "endswith": value.endswith}
        return tests[kind.lower()](text.replace("''", "'").lower())
    if comparison := re.fullmatch(r"(\w+) (eq|ne) (.+)", condition):
        name, operator, text = comparison.groups()
        literal = _LITERAL.fullmatch(text)
        wanted: object = literal[1].replace("''", "'") if literal else {"true": True, "false": False}.get(text)
        return (row.get(name) == wanted) is (operator == "eq")
    raise ValueError(f"the server knows no condition {condition!r}")


def _selected(row: Row, select: str | None) -> Row:
    if not select:
        return row
    names = {"id", *select.split(",")}
    return {name: value for name, value in row.items() if name in names}
