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

from tests.msgraph.server_core import GraphAnswer, Routes, error
from tests.msgraph.server_drive import describe, drive_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.msgraph.server_core import GraphRequest, GraphServer

ROUTES = Routes()


@dataclass
class Deltas:
    """
    The links that were given.

    :ivar page_size: rows on a page.
    :ivar gives_location: whether a 410 says where to begin anew.
    """

    page_size: int = 10
    gives_location: bool = True
    snapshots: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    rests: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def expire(self) -> None:
        self.snapshots.clear()
        self.rests.clear()


def deltas_of(server: GraphServer) -> Deltas:
    deltas: Deltas = server.data["deltas"]
    return deltas


def fill(server: GraphServer) -> None:
    server.data["deltas"] = Deltas()


@ROUTES.on("GET", "/{kind}/delta")
def directory_delta(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    there = {row["id"]: dict(row) for row in server.data[names["kind"]]}
    return _delta(
        server,
        request,
        there,
        row_of=there.__getitem__,
        gone=lambda id_: {"@removed": {"reason": "deleted"}, "id": id_},
    )


@ROUTES.on("GET", "/(?:me/drive|drives/[^/]+)/root/delta")
def drive_delta(server: GraphServer, request: GraphRequest, _: dict[str, str]) -> GraphAnswer:
    files = drive_of(server).files
    return _delta(
        server,
        request,
        {file.id: (file.name, file.version) for file in files.values()},
        row_of=lambda id_: describe(server, files[id_]),
        gone=lambda id_: {"id": id_, "deleted": {"state": "deleted"}},
    )


def _delta(
    server: GraphServer,
    request: GraphRequest,
    there: Mapping[str, Any],
    *,
    row_of: Callable[[str], dict[str, Any]],
    gone: Callable[[str], dict[str, Any]],
) -> GraphAnswer:
    deltas, query = deltas_of(server), request.query
    token = query.get("$skiptoken") or query.get("$deltatoken") or query.get("token") or ""
    if token == "latest":
        rows, then = [], there
    elif token.startswith("rest"):
        if token not in deltas.rests:
            return _gone(server, request)
        rows, then = deltas.rests[token], deltas.snapshots[token]
    elif token:
        if token not in deltas.snapshots:
            return _gone(server, request)
        before, then = deltas.snapshots[token], there
        rows = [row_of(id_) for id_ in there if before.get(id_) != there[id_]]
        rows += [gone(id_) for id_ in before if id_ not in there]
    else:
        rows, then = [row_of(id_) for id_ in there], there
    page, rest = rows[: deltas.page_size], rows[deltas.page_size :]
    kept = {name: value for name, value in query.items() if name not in ("$skiptoken", "$deltatoken", "token")}
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
    location = {"Location": f"{server.url}{request.path}?$deltatoken="}
    headers = location if deltas_of(server).gives_location else {}
    return error(410, "resyncRequired", "Resync required. Replace any local items with the server's.", headers=headers)
