# SPDX-License-Identifier: Apache-2.0
"""
Drives: https://learn.microsoft.com/graph/api/resources/driveitem, .../driveitem-createuploadsession.

What is in a file is at URLs that need no token and take none, below ``/public/``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_provider_async.msgraph.quickxorhash import QuickXorHash
from airflow_provider_async.testing.msgraph.answers import GraphAnswer, Routes, Row, error
from airflow_provider_async.testing.msgraph.paging import listing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_async.testing.msgraph.answers import GraphRequest
    from airflow_provider_async.testing.msgraph.server import GraphServer

__all__ = ["DRIVE", "ROUTES", "Drive", "File", "describe", "is_public"]

ROUTES = Routes()

_OK = 200
_UNIT_BYTES = 320 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_RANGE = re.compile(r"bytes=(\d+)-")

#: Whosever drive it is, it is the same.
DRIVE = "/(?:(?:me|(?:groups|sites|users)/[^/]+)/drive|drives/[^/]+)"

#: Below this, whoever knows the URL may ask, and must not send a token.
_PUBLIC = "/public/"

_HASHES: dict[str, Callable[[bytes], str]] = {
    "quickXorHash": lambda content: QuickXorHash(content).base64(),
    "sha1Hash": lambda content: hashlib.sha1(content, usedforsecurity=False).hexdigest().upper(),
    "sha256Hash": lambda content: hashlib.sha256(content).hexdigest().upper(),
}


@dataclass
class File:
    """
    A file.

    :param id: of the item.
    :param name: below the drive's root.
    :param content: its bytes.
    :param version: of the content, counted from 1.
    :param hashes: which ones Graph tells: ``quickXorHash``, ``sha1Hash``, ``sha256Hash``.
    :param lies: what Graph says of the file where that is not the truth, such as ``size``.
    """

    id: str
    name: str
    content: bytes
    version: int = 1
    hashes: tuple[str, ...] = ("quickXorHash",)
    lies: dict[str, object] = field(default_factory=dict)


@dataclass
class _Upload:
    """A file on its way."""

    name: str
    conflict: str
    content: bytearray = field(default_factory=bytearray)


class Drive:
    """
    A drive.

    :ivar id: what Graph calls it.
    :ivar files: by their ids.
    :ivar has_folder: whether an empty folder lies beside the files.
    :ivar finished: how many upload sessions came to their end.
    :ivar url_lifetime: how many requests for a content a pre-authenticated URL is good for; ``None`` for any number.
    """

    def __init__(self) -> None:
        self.id = "b!drive"
        self.files: dict[str, File] = {}
        self.has_folder = False
        self.finished = 0
        self.url_lifetime: int | None = None
        #: Of uploads, by what stands in their URLs.
        self.sessions: dict[str, _Upload] = {}
        #: By what stands in pre-authenticated URLs: a file's id, and how often the URL was used.
        self.keys: dict[str, tuple[str, int]] = {}
        self.key_numbers = itertools.count(1)
        self._numbers = itertools.count(1)

    def add(
        self,
        name: str,
        content: bytes,
        *,
        hashes: tuple[str, ...] = ("quickXorHash",),
        lies: Mapping[str, object] | None = None,
    ) -> File:
        """
        Put a file there, and return it.

        :param name: below the drive's root, such as ``reports/may.csv``.
        :param content: its bytes.
        :param hashes: as for :class:`File`, like ``lies``.
        """
        file = File(f"item{next(self._numbers)}", name, content, hashes=hashes, lies=dict(lies or {}))
        self.files[file.id] = file
        return file

    def named(self, name: str) -> File | None:
        """Find a file by its name."""
        return next((file for file in self.files.values() if file.name == name), None)

    def put(self, name: str, content: bytes, conflict: str) -> File | None:
        """
        Return the file that has this content now; ``None`` if that is a conflict.

        :param conflict: what becomes of a file of this name: ``fail``, ``rename`` or ``replace``.
        """
        there = self.named(name)
        if there is None:
            return self.add(name, content)
        if conflict == "fail":
            return None
        if conflict == "rename":
            return self.add(f"{name} 1", content)
        there.content, there.version = content, there.version + 1
        return there


def is_public(path: str) -> bool:
    """Tell whether a path is that of a pre-authenticated URL."""
    return path.startswith(_PUBLIC)


def _elsewhere(server: GraphServer) -> str:
    """Return the root of pre-authenticated URLs, which are on another host."""
    return f"{server.url.replace('127.0.0.1', 'localhost')}{_PUBLIC}"


def describe(server: GraphServer, file: File) -> Row:
    """Return what Graph says of a file: https://learn.microsoft.com/graph/api/resources/driveitem."""
    drive = server.drive
    key = f"key{next(drive.key_numbers)}"
    drive.keys[key] = (file.id, 0)
    return {
        "id": file.id,
        "name": file.name.rpartition("/")[2],
        "size": len(file.content),
        "cTag": f'"c:{{{file.id}}},{file.version}"',
        "eTag": f'"{{{file.id}}},{file.version}"',
        "parentReference": {"driveId": drive.id, "id": "root"},
        "file": {"mimeType": "text/plain", "hashes": {name: _HASHES[name](file.content) for name in file.hashes}},
        "@microsoft.graph.downloadUrl": f"{_elsewhere(server)}content/{key}?tempauth=secret",
        **file.lies,
    }


@ROUTES.on("GET", f"{DRIVE}/root/children")
@ROUTES.on("GET", f"{DRIVE}/root:/(?P<path>[^:]+):/children")
def list_children(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """https://learn.microsoft.com/graph/api/driveitem-list-children."""
    files = server.drive.files
    folder = request.names.get("path", "")
    rows: list[Row] = [{"id": number} for number, file in files.items() if file.name.rpartition("/")[0] == folder]
    if server.drive.has_folder and not folder:
        rows.append({"id": "folder1", "name": "a folder", "size": 0, "folder": {"childCount": 0}})
    answer = listing(server, request, rows, is_directory=False)
    # Only what is on the page.
    page = [row if "folder" in row else describe(server, files[row["id"]]) for row in answer.body.get("value", ())]
    return replace(answer, body=answer.body | {"value": page}) if answer.status == _OK else answer


def _find(server: GraphServer, request: GraphRequest) -> File | None:
    if "id" in request.names and request.names["id"] is not None:
        return server.drive.files.get(request.names["id"])
    return server.drive.named(request.names["path"])


_BY_ID = f"{DRIVE}/items/{{id}}"
_BY_PATH = f"{DRIVE}/(?:root|items/[^/]+):/(?P<path>[^:]+)"
_MISSING = error(404, "itemNotFound", "The resource could not be found.")


@ROUTES.on("GET", _BY_ID)
@ROUTES.on("GET", f"{_BY_PATH}:?")
def get_item(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """https://learn.microsoft.com/graph/api/driveitem-get."""
    if request.names.get("id") == "folder1":
        return GraphAnswer(body={"id": "folder1", "name": "a folder", "size": 0, "folder": {}})
    file = _find(server, request)
    return _MISSING if file is None else GraphAnswer(body=describe(server, file))


@ROUTES.on("GET", f"{_BY_ID}/content")
@ROUTES.on("GET", f"{_BY_PATH}:/content")
def get_content(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """https://learn.microsoft.com/graph/api/driveitem-get-content."""
    file = _find(server, request)
    if file is None:
        return _MISSING
    return GraphAnswer(status=302, headers={"Location": describe(server, file)["@microsoft.graph.downloadUrl"]})


@ROUTES.on("GET", "/public/content/{key}")
def get_public_content(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """Answer with a content, or with the rest of it."""
    drive = server.drive
    number, used = drive.keys.get(request.names["key"], ("", 0))
    file = drive.files.get(number)
    if file is None or (drive.url_lifetime is not None and used >= drive.url_lifetime):
        return error(401, "unauthenticated", "The URL has expired.")
    drive.keys[request.names["key"]] = (number, used + 1)
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
def put_content(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """https://learn.microsoft.com/graph/api/driveitem-put-content."""
    conflict = request.query.get("@microsoft.graph.conflictBehavior", "replace")
    name = request.names.get("path") or getattr(_find(server, request), "name", None)
    return _MISSING if name is None else _created(server, server.drive.put(name, request.body, conflict))


@ROUTES.on("POST", f"{_BY_ID}/createUploadSession")
@ROUTES.on("POST", f"{_BY_PATH}:/createUploadSession")
def create_session(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """https://learn.microsoft.com/graph/api/driveitem-createuploadsession."""
    drive = server.drive
    conflict = request.json["item"]["@microsoft.graph.conflictBehavior"]
    name = request.names.get("path") or getattr(_find(server, request), "name", None)
    if name is None:
        return _MISSING
    if conflict == "fail" and drive.named(name) is not None:
        return _created(server, None)
    key = f"session{next(drive.key_numbers)}"
    drive.sessions[key] = _Upload(name, conflict)
    return GraphAnswer(body={"uploadUrl": f"{_elsewhere(server)}upload/{key}?secret=1", **_expected(_Upload("", ""))})


def _expected(session: _Upload) -> Row:
    until = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    return {"expirationDateTime": f"{until:%Y-%m-%dT%H:%M:%SZ}", "nextExpectedRanges": [f"{len(session.content)}-"]}


@ROUTES.on("GET", "/public/upload/{key}")
def get_session(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """Tell what is missing of an upload."""
    session = server.drive.sessions.get(request.names["key"])
    return _MISSING if session is None else GraphAnswer(body=_expected(session))


@ROUTES.on("DELETE", "/public/upload/{key}")
def delete_session(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """Give an upload up."""
    found = server.drive.sessions.pop(request.names["key"], None)
    return _MISSING if found is None else GraphAnswer(status=204)


@ROUTES.on("PUT", "/public/upload/{key}")
def put_piece(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """Take a piece of an upload."""
    drive = server.drive
    session = drive.sessions.get(request.names["key"])
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
    del drive.sessions[request.names["key"]]
    drive.finished += 1
    return _created(server, drive.put(session.name, bytes(session.content), session.conflict))
