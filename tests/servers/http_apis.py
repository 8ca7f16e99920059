# SPDX-License-Identifier: Apache-2.0
"""
What the server of ``http`` serves: lists in pages as servers of the world have them, limits, logins, and files.

Each is a handler for a path, or makes one. What it counts is read by the test.
"""

from __future__ import annotations

import asyncio
import base64
import csv
import gzip
import io
import json
import math
import zlib
from dataclasses import dataclass, field, replace
from email.utils import format_datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import parse_qsl, urlencode

from tests.servers.http import Answer, Handler, Request, answer_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

Row = dict[str, object]


# --- pages ----------------------------------------------------------------------------------------------------------


@dataclass
class OffsetList:
    """
    A list by offset and limit, which gives no more than ``most`` rows a page, whatever is asked for.

    :param total: what it says; ``None`` if it says nothing. By default the truth.
    """

    rows: Sequence[Row]
    most: int = 100
    limit: str = "limit"
    offset: str = "offset"
    total: int | None = -1

    def __call__(self, request: Request) -> Answer:
        start, size = request.number(self.offset, 0), min(request.number(self.limit, self.most), self.most)
        page: dict[str, object] = {"results": list(self.rows[start : start + size])}
        if self.total is not None:
            page["total"] = len(self.rows) if self.total < 0 else self.total
        return answer_json(page)


@dataclass
class NumberedList:
    """
    A list by page number, with the number of pages in each page.

    :param pages: the rows of each page; one in the middle may be empty.
    :param first: the number of the first page.
    :param says: whether it tells the number of pages.
    :param past_end: what is answered to a page after the last.
    """

    pages: Sequence[Sequence[Row]]
    first: int = 1
    says: bool = True
    past_end: Answer | None = None

    def __call__(self, request: Request) -> Answer:
        number = request.number("page", self.first) - self.first
        if number >= len(self.pages):
            return self.past_end or answer_json({"results": []})
        page: dict[str, object] = {"results": list(self.pages[number])}
        if self.says:
            page["total_pages"] = len(self.pages)
        return answer_json(page)


@dataclass
class LinkedList:
    """
    A list whose pages name the next one by a link.

    :param pages: the rows of each page.
    :param order: which page follows which, by index; a page that is missing has no link. ``{0: 1, 1: 0}`` never ends.
    :param form: where the link stands.
    :param base: what the links begin with: the server asked by default, ``""`` for links without a host, or another.
    """

    pages: Sequence[Sequence[Row]]
    form: Literal["header", "next", "links.next", "@odata.nextLink"] = "next"
    order: Mapping[int, int] | None = None
    base: str | None = None
    rows_at: str = "results"

    def __call__(self, request: Request) -> Answer:
        number = request.number("at", 0)
        following = self.order.get(number) if self.order is not None else number + 1
        rows = list(self.pages[number])
        link = None
        if following is not None and following < len(self.pages):
            query = {**{name: value for name, value in request.query if name != "at"}, "at": str(following)}
            link = f"{request.base if self.base is None else self.base}{request.path}?{urlencode(query)}"
        match self.form:
            case "header":
                return answer_json(rows, headers={"Link": f'<{link}>; rel="next"'} if link else {})
            case "links.next":
                return answer_json({self.rows_at: rows, "links": {"next": link}})
            case "@odata.nextLink":
                return answer_json({"value": rows} | ({self.form: link} if link else {}))
        return answer_json({self.rows_at: rows, "next": link})


@dataclass
class CursorList:
    """
    A list whose pages carry the cursor of the next one, which is sent as a parameter or in a body.

    :param pages: the rows of each page.
    :param cursors: of the pages but the first; by default each has one of its own.
    :param expired: cursors that are refused with 410.
    """

    pages: Sequence[Sequence[Row]]
    cursors: Sequence[str] = ()
    parameter: str = "cursor"
    field_name: str = "next_cursor"
    expired: set[str] = field(default_factory=set)

    def __call__(self, request: Request) -> Answer:
        cursors = ["", *(self.cursors or [f"c{number}" for number in range(1, len(self.pages))])]
        sent = json.loads(request.body).get(self.parameter, "") if request.body else request.param(self.parameter)
        if sent in self.expired:
            return answer_json({"error": "the cursor has expired"}, status=410)
        number = cursors.index(sent)
        following = cursors[number + 1] if number + 1 < len(self.pages) else None
        return answer_json({"results": list(self.pages[number]), self.field_name: following})


def paged(rows: Sequence[Row], size: int) -> list[Sequence[Row]]:
    """Cut rows into pages."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def refusing_duplicates(handler: Handler) -> Handler:
    """Refuse a request that has a parameter twice."""

    def handle(request: Request) -> Answer | Awaitable[Answer]:
        names = [name for name, _ in request.query]
        if len(names) != len(set(names)):
            return answer_json({"error": "a parameter came twice"}, status=400)
        return handler(request)

    return handle


# --- limits ---------------------------------------------------------------------------------------------------------


def throttled(headers: Mapping[str, str] | None = None, *, status: int = 429) -> Answer:
    """Return a refusal for having asked too often."""
    return answer_json({"error": "slow down"}, status=status, headers=headers)


def retry_at(moment: datetime, *, server_time: datetime | None = None) -> dict[str, str]:
    """Return headers that name a moment, and the time on the server's clock."""
    named = {"Retry-After": format_datetime(moment, usegmt=True)}
    return named | ({"Date": format_datetime(server_time, usegmt=True)} if server_time else {})


@dataclass
class Window:
    """
    At most so many requests in each window of time, told by the headers of a draft or by those of old.

    :param handler: what answers those within the limit.
    :param limit: how many requests.
    :param seconds: how long a window is.
    :param form: ``structured`` is ``RateLimit: "default";r=..;t=..``, ``combined`` the form of an earlier draft,
        ``x`` is ``X-RateLimit-*`` in seconds, ``epoch`` the same in seconds since 1970, ``retry`` is ``Retry-After``
        alone, and ``none`` says nothing.
    :param refused: how many were.
    """

    handler: Handler
    limit: int
    seconds: float
    form: Literal["structured", "combined", "x", "epoch", "retry", "none"] = "structured"
    epoch: Callable[[], float] = lambda: 0.0
    refused: int = 0
    _began: float = -1e9
    _count: int = 0

    async def __call__(self, request: Request) -> Answer:
        if request.at - self._began >= self.seconds:
            self._began, self._count = request.at, 0
        self._count += 1
        left = max(0, self.limit - self._count)
        # Whole seconds, rounded up: less would be too early.
        wait = math.ceil(self.seconds - (request.at - self._began))
        if self._count > self.limit:
            self.refused += 1
            headers = self._headers(0, wait) | ({} if self.form == "none" else {"Retry-After": str(wait)})
            return throttled(headers)
        answered = self.handler(request)
        answer = answered if isinstance(answered, Answer) else await answered
        return replace(answer, headers={**answer.headers, **self._headers(left, wait)})

    def _headers(self, left: int, wait: int) -> dict[str, str]:
        seconds = int(self.seconds)
        match self.form:
            case "structured":
                policy = f'"default";q={self.limit};w={seconds}'
                return {"RateLimit-Policy": policy, "RateLimit": f'"default";r={left};t={wait}'}
            case "combined":
                return {"RateLimit": f"limit={self.limit}, remaining={left}, reset={wait}"}
            case "x" | "epoch":
                reset = wait if self.form == "x" else int(self.epoch()) + wait
                return {"X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": str(reset)}
        return {}


# --- logins ---------------------------------------------------------------------------------------------------------


def guarded(handler: Handler, expected: Callable[[Request], bool]) -> Handler:
    """Answer 401 unless the request carries what is expected."""

    def handle(request: Request) -> Answer | Awaitable[Answer]:
        return handler(request) if expected(request) else answer_json({"error": "who are you?"}, status=401)

    return handle


def by_login(login: str, password: str) -> Callable[[Request], bool]:
    encoded = base64.b64encode(f"{login}:{password}".encode()).decode()
    return lambda request: request.authorization == f"Basic {encoded}"


def by_token(token: str) -> Callable[[Request], bool]:
    return lambda request: request.authorization == f"Bearer {token}"


def by_key(key: str, *, header: str = "", query: str = "") -> Callable[[Request], bool]:
    return lambda request: (request.headers.get(header.lower()) if header else request.param(query)) == key


@dataclass
class Tokens:
    """
    Gives tokens to a client with an id and a secret (RFC 6749, section 4.4), one request at a time.

    :param lifetime_seconds: what it says of a token; it is valid until :meth:`expire`.
    :param given: how many tokens.
    :param overlaps: how many requests came while another was worked on; they are refused.
    :param refused: how many requests came to what is guarded with a token that is not valid.
    """

    client_id: str = "me"
    secret: str = "hush-hush"
    lifetime_seconds: int = 3600
    given: int = 0
    overlaps: int = 0
    refused: int = 0
    _valid: set[str] = field(default_factory=set)
    _busy: bool = False

    async def __call__(self, request: Request) -> Answer:
        if self._busy:
            self.overlaps += 1
            return answer_json({"error": "temporarily_unavailable"}, status=400)
        self._busy = True
        try:
            await asyncio.sleep(0.01)
        finally:
            self._busy = False
        form = dict(parse_qsl(request.body.decode()))
        in_body = (form.get("client_id"), form.get("client_secret")) == (self.client_id, self.secret)
        if form.get("grant_type") != "client_credentials" or not (
            in_body or by_login(self.client_id, self.secret)(request)
        ):
            return answer_json({"error": "invalid_client"}, status=401)
        self.given += 1
        token = f"token-{self.given}"
        self._valid.add(token)
        return answer_json({"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime_seconds})

    def expire(self) -> None:
        """Refuse all tokens given so far."""
        self._valid.clear()

    def guarding(self, handler: Handler) -> Handler:
        """Let a request through that has a valid token."""

        def is_valid(request: Request) -> bool:
            valid = (request.authorization or "").removeprefix("Bearer ") in self._valid
            self.refused += not valid
            return valid

        return guarded(handler, is_valid)


# --- files and streams ----------------------------------------------------------------------------------------------


@dataclass
class StoredFile:
    """
    A file that can be read in part (RFC 9110, section 14), and may be replaced while somebody reads it.

    :param etag: with its quotes; ``None`` if it has none.
    :param cuts: after how many bytes the connection ends, for the next requests in turn.
    :param ranges: whether it can be read in part.
    """

    content: bytes
    etag: str | None = '"v1"'
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True

    def replace(self, content: bytes, etag: str) -> None:
        self.content, self.etag = content, etag

    def __call__(self, request: Request) -> Answer:
        headers = {"ETag": self.etag} if self.etag else {}
        asked = request.headers.get("range", "").removeprefix("bytes=")
        same = request.headers.get("if-range", self.etag) == self.etag
        cut = self.cuts.pop(0) if self.cuts else None
        if not self.ranges:
            return Answer(body=self.content, headers=headers, cut_after=cut)
        headers["Accept-Ranges"] = "bytes"
        if not asked or not same:
            return Answer(body=self.content, headers=headers, cut_after=cut)
        first, _, last = asked.partition("-")
        start, end = int(first), int(last) if last else len(self.content) - 1
        if start >= len(self.content):
            return Answer(status=416, headers={"Content-Range": f"bytes */{len(self.content)}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{len(self.content)}"
        return Answer(body=self.content[start : end + 1], status=206, headers=headers, cut_after=cut)


def zipped(answer: Answer) -> Answer:
    """Return an answer with its body compressed."""
    return replace(answer, body=gzip.compress(answer.body), headers={**answer.headers, "Content-Encoding": "gzip"})


def json_lines(rows: Sequence[Row]) -> Answer:
    body = "".join(json.dumps(row) + "\n" for row in rows)
    return Answer(body=body.encode(), headers={"Content-Type": "application/x-ndjson"})


def comma_separated(rows: Sequence[Row]) -> Answer:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return Answer(body=text.getvalue().encode(), headers={"Content-Type": "text/csv"})


def bomb(mib: int) -> Answer:
    """Return an answer that is a thousandth of what it becomes when it is decompressed: so many MiB of zeros."""
    compressor = zlib.compressobj(level=9, wbits=31)
    zeros = bytes(1024**2)
    body = b"".join([*(compressor.compress(zeros) for _ in range(mib)), compressor.flush()])
    return Answer(body=body, headers={"Content-Encoding": "gzip", "Content-Type": "application/json"})


def redirect(target: str, *, status: int = 302) -> Answer:
    return Answer(status=status, headers={"Location": target})
