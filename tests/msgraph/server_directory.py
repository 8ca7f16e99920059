# SPDX-License-Identifier: Apache-2.0
"""Users and groups: https://learn.microsoft.com/graph/api/resources/users, .../groups-overview."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from tests.msgraph.server_core import NOT_FOUND, GraphAnswer, Routes, error
from tests.msgraph.server_paging import listing

if TYPE_CHECKING:
    from tests.msgraph.server_core import GraphRequest, GraphServer

ROUTES = Routes()


def make_users(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": str(uuid.UUID(int=number)),
            "displayName": f"User {number}",
            "userPrincipalName": f"user{number}@contoso.com",
            "mail": f"user{number}@contoso.com" if number % 2 else None,
            "accountEnabled": number % 10 != 0,
            "businessPhones": ["+1 425 555 0109"],
            "jobTitle": "Engineer" if number % 3 else "Product Manager",
        }
        for number in range(count)
    ]


def make_groups(count: int) -> list[dict[str, Any]]:
    return [
        {"id": str(uuid.UUID(int=1 << 64 | number)), "displayName": f"Group {number}", "mailEnabled": number % 2 == 0}
        for number in range(count)
    ]


def fill(server: GraphServer) -> None:
    server.data["users"] = make_users(5)
    server.data["groups"] = make_groups(3)
    server.data["members"] = {}


def find(server: GraphServer, kind: str, name: str) -> dict[str, Any] | None:
    """Find a user or a group by its id or, of a user, the principal name."""
    rows: list[dict[str, Any]] = server.data[kind]
    return next((row for row in rows if name in (row["id"], row.get("userPrincipalName"))), None)


def tagged(row: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"@odata.type": f"#microsoft.graph.{kind}", **row}


@ROUTES.on("GET", "/")
def describe(server: GraphServer, request: GraphRequest, _: dict[str, str]) -> GraphAnswer:
    value = [{"name": name, "kind": "EntitySet", "url": name} for name in ("users", "groups")]
    return GraphAnswer(body={"@odata.context": f"{server.url}/$metadata", "value": value})


@ROUTES.on("GET", "/{kind}/\\$count")
def count(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    if request.headers.get("consistencylevel", "").lower() != "eventual":
        return error(400, "Request_BadRequest", "$count is not currently supported.")
    body = str(len(server.data[names["kind"]])).encode()
    return GraphAnswer(body=body, headers={"Content-Type": "text/plain"})


@ROUTES.on("GET", "/users")
def list_users(server: GraphServer, request: GraphRequest, _: dict[str, str]) -> GraphAnswer:
    return listing(server, request, server.data["users"])


@ROUTES.on("GET", "/groups")
def list_groups(server: GraphServer, request: GraphRequest, _: dict[str, str]) -> GraphAnswer:
    return listing(server, request, server.data["groups"])


@ROUTES.on("POST", "/users")
def create_user(server: GraphServer, request: GraphRequest, _: dict[str, str]) -> GraphAnswer:
    user = {"id": str(uuid.uuid4()), **request.json}
    if find(server, "users", user.get("userPrincipalName", "")) is not None:
        return error(400, "Request_BadRequest", "Another object with the same value for property exists.")
    server.data["users"].append(user)
    return GraphAnswer(status=201, body=user)


@ROUTES.on("GET", "/me")
def get_me(server: GraphServer, request: GraphRequest, _: dict[str, str]) -> GraphAnswer:
    return GraphAnswer(body=server.data["users"][0])


@ROUTES.on("GET", "/users/{id}")
def get_user(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    user = find(server, "users", names["id"])
    if user is None:
        return error(404, "Request_ResourceNotFound", f"Resource '{names['id']}' does not exist.")
    select = request.query.get("$select")
    chosen = user if select is None else {name: user.get(name) for name in select.split(",")}
    return GraphAnswer(body={"@odata.context": f"{server.url}/$metadata#users/$entity", **chosen})


@ROUTES.on("PATCH", "/users/{id}")
def change_user(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    user = find(server, "users", names["id"])
    if user is None:
        return NOT_FOUND
    user.update(request.json)
    wants_it = request.headers.get("prefer") == "return=representation"
    return GraphAnswer(body=user) if wants_it else GraphAnswer(status=204)


@ROUTES.on("DELETE", "/users/{id}")
def delete_user(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    user = find(server, "users", names["id"])
    if user is None:
        return NOT_FOUND
    server.data["users"].remove(user)
    return GraphAnswer(status=204)


@ROUTES.on("GET", "/groups/{id}/members")
def list_members(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    if find(server, "groups", names["id"]) is None:
        return NOT_FOUND
    rows = [tagged(row, "user") for row in server.data["members"].get(names["id"], [])]
    return listing(server, request, rows)
