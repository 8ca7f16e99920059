# SPDX-License-Identifier: Apache-2.0
"""
Drives: https://learn.microsoft.com/graph/api/resources/driveitem, .../driveitem-createuploadsession.

What is in a file is at URLs that need no token and take none, below ``/public/``.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_provider_async.msgraph.quickxorhash import QuickXorHash
from tests.msgraph.server_core import GraphAnswer, Routes, error
from tests.msgraph.server_paging import listing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.msgraph.server_core import GraphRequest, GraphServer

ROUTES = Routes()

_OK = 200
_UNIT_BYTES = 320 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_RANGE = re.compile(r"bytes=(\d+)-")


HASHES: dict[str, Callable[[bytes], str]] = {
    "quickXorHash": lambda content: QuickXorHash(content).base64(),
    "sha1Hash": lambda content: hashlib.sha1(content).hexdigest().upper(),
    "sha256Hash": lambda content: hashlib.sha256(content).hexdigest().upper(),
}


@dataclass
class File:
    """A file, with the versions of its content counted."""

    id: str
    name: str
    content: bytes
    version: int = 1
    hashes: tuple[str, ...] = ("quickXorHash",)
    #: What Graph says of the content where that is not the truth.
    lies: dict[str, object] = field(default_factory=dict)


@dataclass
class Session:
    """An upload on its way."""

    name: str
    conflict: str
    content: bytearray = field(default_factory=bytearray)


@dataclass
class Drive:
    """
    One drive, with one folder.

    :ivar url_lifetime: how many requests for a content a pre-authenticated URL is good for.
    """

    id: str = "b!drive"
    files: dict[str, File] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    finished: int = 0
    url_lifetime: int | None = None
    keys: dict[str, tuple[str, int]] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    key_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, name: str, content: bytes, **options: Any) -> File:  # noqa: ANN401 - a file's fields
        file = File(f"item{next(self.numbers)}", name, content, **options)
        self.files[file.id] = file
        return file

    def named(self, name: str) -> File | None:
        return next((file for file in self.files.values() if file.name == name), None)

    def put(self, name: str, content: bytes, conflict: str) -> File | None:
        """Return the file that has this content now; ``None`` if that is a conflict."""
        there = self.named(name)
        if there is None:
            return self.add(name, content)
        if conflict == "fail":
            return None
        if conflict == "rename":
            return self.add(f"{name} 1", content)
        there.content, there.version = content, there.version + 1
        return there


def drive_of(server: GraphServer) -> Drive:
    drive: Drive = server.data["drive"]
    return drive


def fill(server: GraphServer) -> None:
    server.data["drive"] = Drive()


def elsewhere(server: GraphServer) -> str:
    """Return the root of pre-authenticated URLs, which are on another host."""
    return f"{server.url.replace('127.0.0.1', 'localhost')}/public"


def describe(server: GraphServer, file: File) -> dict[str, Any]:
    drive = drive_of(server)
    key = f"key{next(drive.key_numbers)}"
    drive.keys[key] = (file.id, 0)
    return {
        "id": file.id,
        "name": file.name,
        "size": len(file.content),
        "cTag": f'"c:{{{file.id}}},{file.version}"',
        "eTag": f'"{{{file.id}}},{file.version}"',
        "parentReference": {"driveId": drive.id, "id": "root"},
        "file": {"mimeType": "text/plain", "hashes": {name: HASHES[name](file.content) for name in file.hashes}},
        "@microsoft.graph.downloadUrl": f"{elsewhere(server)}/content/{key}?tempauth=secret",
        **file.lies,
    }


@ROUTES.on("GET", "/(?:me/drive|drives/[^/]+)/root/children")
def list_children(server: GraphServer, request: GraphRequest, _: dict[str, str]) -> GraphAnswer:
    files = drive_of(server).files
    rows: list[dict[str, Any]] = [{"id": number} for number in files]
    if server.data.get("has_folder"):
        rows.append({"id": "folder1", "name": "a folder", "size": 0, "folder": {"childCount": 0}})
    answer = listing(server, request, rows)
    # Only what is on the page.
    page = [row if "folder" in row else describe(server, files[row["id"]]) for row in answer.body.get("value", ())]
    return replace(answer, body=answer.body | {"value": page}) if answer.status == _OK else answer


def _find(server: GraphServer, names: dict[str, str]) -> File | None:
    if "id" in names and names["id"] is not None:
        return drive_of(server).files.get(names["id"])
    return drive_of(server).named(names["path"])


_BY_ID = "/(?:me/drive|drives/[^/]+)/items/{id}"
_BY_PATH = "/(?:me/drive|drives/[^/]+)/(?:root|items/[^/]+):/(?P<path>[^:]+)"
_MISSING = error(404, "itemNotFound", "The resource could not be found.")


@ROUTES.on("GET", _BY_ID)
@ROUTES.on("GET", f"{_BY_PATH}:?")
def get_item(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    if names.get("id") == "folder1":
        return GraphAnswer(body={"id": "folder1", "name": "a folder", "size": 0, "folder": {}})
    file = _find(server, names)
    return _MISSING if file is None else GraphAnswer(body=describe(server, file))


@ROUTES.on("GET", f"{_BY_ID}/content")
@ROUTES.on("GET", f"{_BY_PATH}:/content")
def get_content(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    file = _find(server, names)
    if file is None:
        return _MISSING
    return GraphAnswer(status=302, headers={"Location": describe(server, file)["@microsoft.graph.downloadUrl"]})


@ROUTES.on("GET", "/public/content/{key}")
def get_public_content(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    drive = drive_of(server)
    number, used = drive.keys.get(names["key"], ("", 0))
    file = drive.files.get(number)
    if file is None or (drive.url_lifetime is not None and used >= drive.url_lifetime):
        return error(401, "unauthenticated", "The URL has expired.")
    drive.keys[names["key"]] = (number, used + 1)
    headers = {"ETag": f'"{{{file.id}}},{file.version}"', "Last-Modified": "Mon, 06 Jul 2026 08:30:00 GMT"}
    found = _RANGE.fullmatch(request.headers.get("range", ""))
    if found is None or request.headers.get("if-range") != headers["ETag"]:
        return GraphAnswer(body=file.content, headers=headers)
    at, size = int(found[1]), len(file.content)
    if at >= size:
        return GraphAnswer(status=416, headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {at}-{size - 1}/{size}"
    return GraphAnswer(status=206, body=file.content[at:], headers=headers)


def _created(server: GraphServer, file: File | None) -> GraphAnswer:
    if file is None:
        return error(409, "nameAlreadyExists", "The specified item name already exists.")
    return GraphAnswer(status=201 if file.version == 1 else 200, body=describe(server, file))


@ROUTES.on("PUT", f"{_BY_ID}/content")
@ROUTES.on("PUT", f"{_BY_PATH}:/content")
def put_content(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    conflict = request.query.get("@microsoft.graph.conflictBehavior", "replace")
    name = names.get("path") or getattr(_find(server, names), "name", None)
    return _MISSING if name is None else _created(server, drive_of(server).put(name, request.body, conflict))


@ROUTES.on("POST", f"{_BY_ID}/createUploadSession")
@ROUTES.on("POST", f"{_BY_PATH}:/createUploadSession")
def create_session(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    drive = drive_of(server)
    conflict = request.json["item"]["@microsoft.graph.conflictBehavior"]
    name = names.get("path") or getattr(_find(server, names), "name", None)
    if name is None:
        return _MISSING
    if conflict == "fail" and drive.named(name) is not None:
        return _created(server, None)
    key = f"session{next(drive.key_numbers)}"
    drive.sessions[key] = Session(name, conflict)
    return GraphAnswer(body={"uploadUrl": f"{elsewhere(server)}/upload/{key}?secret=1", **_expected(Session("", ""))})


def _expected(session: Session) -> dict[str, Any]:
    return {"expirationDateTime": "2026-12-01T00:00:00Z", "nextExpectedRanges": [f"{len(session.content)}-"]}


@ROUTES.on("GET", "/public/upload/{key}")
def get_session(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    session = drive_of(server).sessions.get(names["key"])
    return _MISSING if session is None else GraphAnswer(body=_expected(session))


@ROUTES.on("DELETE", "/public/upload/{key}")
def delete_session(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    found = drive_of(server).sessions.pop(names["key"], None)
    return _MISSING if found is None else GraphAnswer(status=204)


@ROUTES.on("PUT", "/public/upload/{key}")
def put_piece(server: GraphServer, request: GraphRequest, names: dict[str, str]) -> GraphAnswer:
    drive = drive_of(server)
    session = drive.sessions.get(names["key"])
    if session is None:
        return error(404, "itemNotFound", "The upload session was not found")
    found = _CONTENT_RANGE.fullmatch(request.headers.get("content-range", ""))
    if found is None:
        return error(400, "invalidRequest", "Content-Range is missing")
    first, last, size = map(int, found.groups())
    if last - first + 1 != len(request.body) or (last + 1 < size and len(request.body) % _UNIT_BYTES):
        return error(400, "invalidRequest", "The fragment has a wrong length")
    if first != len(session.content):
        return error(416, "invalidRange", "The uploaded fragment overlaps with data that has already been received.")
    session.content += request.body
    if last + 1 < size:
        return GraphAnswer(status=202, body=_expected(session))
    del drive.sessions[names["key"]]
    drive.finished += 1
    return _created(server, drive.put(session.name, bytes(session.content), session.conflict))
