# SPDX-License-Identifier: Apache-2.0
"""
Collections of rows, whatever they are: https://learn.microsoft.com/graph/use-the-api.

A collection is at the path that a test gives it; a user in a path may be named by its principal name, or be ``me``, who
is the first user.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from airflow_provider_async.testing.msgraph.answers import NOT_FOUND, GraphAnswer, Routes, error
from airflow_provider_async.testing.msgraph.paging import listing, selected

if TYPE_CHECKING:
    from airflow_provider_async.testing.msgraph.answers import GraphRequest, Row
    from airflow_provider_async.testing.msgraph.server import GraphServer

__all__ = ["ROUTES", "canonical", "find", "is_directory", "key_of"]

ROUTES = Routes()

#: What is in the directory has stricter rules: https://learn.microsoft.com/graph/aad-advanced-queries.
_DIRECTORY = {
    "administrativeUnits",
    "applications",
    "contacts",
    "devices",
    "directoryObjects",
    "directoryRoles",
    "groups",
    "servicePrincipals",
    "users",
}
_OF_THE_DIRECTORY = {"appRoleAssignments", "memberOf", "members", "owners", "transitiveMemberOf", "transitiveMembers"}


def is_directory(key: str) -> bool:
    """
    Tell whether a collection has objects of the directory.

    :param key: as :func:`key_of` gives it.
    """
    return key in _DIRECTORY or ("/" in key and key.rpartition("/")[2] in _OF_THE_DIRECTORY)


def find(server: GraphServer, key: str, name: str) -> Row | None:
    """
    Find a row.

    :param key: of its collection.
    :param name: its id or, of a user, the principal name.
    """
    rows = server.collections.get(key, [])
    return next((row for row in rows if name in (row["id"], row.get("userPrincipalName"))), None)


def canonical(server: GraphServer, path: str) -> str:
    """
    Return what a collection is kept under, whoever is named how in its path.

    :param path: such as ``/me/messages``.
    """
    first, *rest = path.strip("/").split("/")
    if first == "me" and rest and server.collections["users"]:
        first, rest = "users", [server.collections["users"][0]["id"], *rest]
    if rest and (row := find(server, first, rest[0])) is not None:
        rest[0] = row["id"]
    return "/".join([first, *rest])


def key_of(server: GraphServer, path: str) -> str | None:
    """
    Return what a collection is kept under, or ``None`` if there is none.

    :param path: as for :func:`canonical`.
    """
    keys = canonical(server, path), path.strip("/")
    return next((key for key in keys if key in server.collections), None)


def _find(server: GraphServer, request: GraphRequest) -> tuple[str, Row] | None:
    """Find the row that a path ends with, and its collection."""
    key = key_of(server, request.names["path"])
    row = None if key is None else find(server, key, request.names["id"])
    return None if key is None or row is None else (key, row)


@ROUTES.on("GET", "/")
def describe(server: GraphServer, _: GraphRequest) -> GraphAnswer:
    """https://learn.microsoft.com/graph/traverse-the-graph."""
    value = [{"name": name, "kind": "EntitySet", "url": name} for name in server.collections if "/" not in name]
    return GraphAnswer(body={"@odata.context": f"{server.url}/$metadata", "value": value})


@ROUTES.on("GET", "/me")
def get_me(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """https://learn.microsoft.com/graph/api/user-get."""
    users = server.collections["users"]
    return GraphAnswer(body=selected(users[0], request.query.get("$select"))) if users else NOT_FOUND


@ROUTES.on("POST", "/me/sendMail")
@ROUTES.on("POST", "/users/{id}/sendMail")
def send_mail(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """https://learn.microsoft.com/graph/api/user-sendmail."""
    if "id" in request.names and find(server, "users", request.names["id"]) is None:
        return NOT_FOUND
    server.sent.append(request.json)
    return GraphAnswer(status=202)


@ROUTES.on("GET", "/{path:path}/\\$count")
def count(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """https://learn.microsoft.com/graph/query-parameters#count."""
    key = key_of(server, request.names["path"])
    if key is None:
        return NOT_FOUND
    if is_directory(key) and request.headers.get("consistencylevel", "").lower() != "eventual":
        return error(400, "Request_BadRequest", "$count is not currently supported.")
    return GraphAnswer(body=str(len(server.collections[key])).encode(), headers={"Content-Type": "text/plain"})


@ROUTES.on("GET", "/{path:path}")
def get(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """Answer with a page of a collection, or with a row."""
    path = request.names["path"]
    if (key := key_of(server, path)) is not None:
        return listing(server, request, server.collections[key], is_directory=is_directory(key))
    collection, _, name = path.rpartition("/")
    key = key_of(server, collection)
    row = None if key is None else find(server, key, name)
    if row is None:
        return error(404, "Request_ResourceNotFound", f"Resource '{name}' does not exist.")
    select = request.query.get("$select")
    chosen = row if select is None else {name: row.get(name) for name in select.split(",")}
    return GraphAnswer(body={"@odata.context": f"{server.url}/$metadata#{key}/$entity", **chosen})


@ROUTES.on("POST", "/{path:path}")
def create(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """Add a row, which gets an id unless it has one."""
    key = key_of(server, request.names["path"])
    if key is None:
        return NOT_FOUND
    row = {"id": str(uuid.uuid4()), **request.json}
    if any(find(server, key, name) for name in (row["id"], row.get("userPrincipalName")) if name is not None):
        return error(400, "Request_BadRequest", "Another object with the same value for property exists.")
    server.collections[key].append(row)
    return GraphAnswer(status=201, body=row)


@ROUTES.on("PATCH", "/{path:path}/{id}")
def change(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """Change what is given of a row."""
    found = _find(server, request)
    if found is None:
        return NOT_FOUND
    found[1].update(request.json)
    wants_it = request.headers.get("prefer") == "return=representation"
    return GraphAnswer(body=found[1]) if wants_it else GraphAnswer(status=204)


@ROUTES.on("DELETE", "/{path:path}/{id}")
def delete(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """Remove a row."""
    found = _find(server, request)
    if found is None:
        return NOT_FOUND
    key, row = found
    server.collections[key].remove(row)
    return GraphAnswer(status=204)
