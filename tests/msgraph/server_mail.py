# SPDX-License-Identifier: Apache-2.0
"""Mail: https://learn.microsoft.com/graph/api/resources/message."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from tests.msgraph.server_core import NOT_FOUND, GraphAnswer, Routes
from tests.msgraph.server_directory import find
from tests.msgraph.server_paging import listing

if TYPE_CHECKING:
    from tests.msgraph.server_core import GraphRequest, GraphServer

ROUTES = Routes()


def make_messages(count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"message-{number}", "subject": f"Subject {number}", "isRead": number % 2 == 0}
        for number in range(count)
    ]


def fill(server: GraphServer) -> None:
    #: By user.
    server.data["messages"] = {}
    server.data["sent"] = []


@ROUTES.on("GET", "/users/{id}/messages")
def list_messages(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    user = find(server, "users", names["id"])
    if user is None:
        return NOT_FOUND
    return listing(server, request, server.data["messages"].get(user["id"], []), is_directory=False)


@ROUTES.on("POST", "/users/{id}/messages")
def create_message(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    user = find(server, "users", names["id"])
    if user is None:
        return NOT_FOUND
    message = {"id": f"message-{uuid.uuid4()}", **request.json}
    server.data["messages"].setdefault(user["id"], []).append(message)
    return GraphAnswer(status=201, body=message)


@ROUTES.on("POST", "/users/{id}/sendMail")
def send_mail(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    if find(server, "users", names["id"]) is None:
        return NOT_FOUND
    server.data["sent"].append(request.json["message"])
    return GraphAnswer(status=202)
