# SPDX-License-Identifier: Apache-2.0
"""
Delta queries: https://learn.microsoft.com/graph/delta-query-overview.

A link stands for what there was when it was given; what differs from that has changed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from airflow_provider_async.testing.msgraph.answers import NOT_FOUND, GraphAnswer, Routes, Row, error
from airflow_provider_async.testing.msgraph.files import DRIVE, describe
from airflow_provider_async.testing.msgraph.paging import selected
from airflow_provider_async.testing.msgraph.rows import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_async.testing.msgraph.answers import GraphRequest
    from airflow_provider_async.testing.msgraph.server import GraphServer

__all__ = ["ROUTES", "Deltas"]

ROUTES = Routes()

_TOKENS = ("$skiptoken", "$deltatoken", "token")


@dataclass
class Deltas:
    """
    The links that were given.

    :param page_size: rows on a page.
    :param gives_location: whether a 410 says where to begin anew.
    """

    page_size: int = 10
    gives_location: bool = True
    snapshots: dict[str, Mapping[str, Any]] = field(default_factory=dict, init=False, repr=False)
    rests: dict[str, list[Row]] = field(default_factory=dict, init=False, repr=False)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), init=False, repr=False)

    def expire(self) -> None:
        """Answer 410 to all links that were given until now."""
        self.snapshots.clear()
        self.rests.clear()


@ROUTES.on("GET", f"{DRIVE}/root/delta(?:\\(\\))?")
def drive_delta(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """https://learn.microsoft.com/graph/api/driveitem-delta."""
    files = server.drive.files
    return _delta(
        server,
        request,
        {file.id: (file.name, file.version) for file in files.values()},
        row_of=lambda id_: describe(server, files[id_]),
        gone=lambda id_: {"id": id_, "deleted": {"state": "deleted"}},
    )


@ROUTES.on("GET", "/{path:path}/delta(?:\\(\\))?")
def collection_delta(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """Answer with what differs in a collection, such as https://learn.microsoft.com/graph/api/user-delta."""
    key = key_of(server, request.names["path"])
    if key is None:
        return NOT_FOUND
    there = {row["id"]: dict(row) for row in server.collections[key]}
    return _delta(
        server,
        request,
        there,
        row_of=lambda id_: selected(there[id_], request.query.get("$select")),
        gone=lambda id_: {"@removed": {"reason": "deleted"}, "id": id_},
    )


def _delta(
    server: GraphServer,
    request: GraphRequest,
    there: Mapping[str, Any],
    *,
    row_of: Callable[[str], Row],
    gone: Callable[[str], Row],
) -> GraphAnswer:
    deltas, query = server.deltas, request.query
    since = query.get("$skiptoken") or query.get("$deltatoken") or query.get("token") or ""
    if since == "latest":
        rows, then = [], there
    elif since.startswith("rest"):
        if since not in deltas.rests:
            return _gone(server, request)
        rows, then = deltas.rests[since], deltas.snapshots[since]
    elif since:
        if since not in deltas.snapshots:
            return _gone(server, request)
        before, then = deltas.snapshots[since], there
        rows = [row_of(id_) for id_ in there if before.get(id_) != there[id_]]
        rows += [gone(id_) for id_ in before if id_ not in there]
    else:
        rows, then = [row_of(id_) for id_ in there], there
    page, rest = rows[: deltas.page_size], rows[deltas.page_size :]
    kept = {name: value for name, value in query.items() if name not in _TOKENS}
    if rest:
        key = f"rest{next(deltas.numbers)}"
        deltas.rests[key] = rest
        link = {"@odata.nextLink": _link(server, request, {**kept, "$skiptoken": key})}
    else:
        key = f"since{next(deltas.numbers)}"
        link = {"@odata.deltaLink": _link(server, request, {**kept, "$deltatoken": key})}
    deltas.snapshots[key] = then
    return GraphAnswer(body={"@odata.context": f"{server.url}/$metadata#delta", "value": page, **link})


def _link(server: GraphServer, request: GraphRequest, query: Mapping[str, str]) -> str:
    return f"{server.url}{request.path}?{urlencode(query)}"


def _gone(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    # As in all links, what was selected stays.
    kept = {name: value for name, value in request.query.items() if name not in _TOKENS}
    location = {"Location": _link(server, request, {**kept, "$deltatoken": ""})}
    headers = location if server.deltas.gives_location else {}
    return error(410, "resyncRequired", "Resync required. Replace any local items with the server's.", headers=headers)
