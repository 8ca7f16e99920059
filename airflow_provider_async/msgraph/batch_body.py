# SPDX-License-Identifier: Apache-2.0
"""How requests are written into a batch, and answers read from one: https://learn.microsoft.com/graph/json-batching."""

from __future__ import annotations

import base64
import binascii
import time
from typing import TYPE_CHECKING, Any, cast

import msgspec
from multidict import CIMultiDict
from yarl import URL

from airflow_provider_async.errors import HTTPStatusError, UnsafeURL
from airflow_provider_async.http import policy
from airflow_provider_async.http.response import Response
from airflow_provider_async.msgraph.failures import graph_error

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provider_async.errors import GraphError
    from airflow_provider_async.http.transport import Call
    from airflow_provider_async.msgraph.sender import GraphSender

__all__ = ["Answers", "EncodedRequest", "encode_batch", "encode_request", "read_answer", "refusal"]

_NOTHING = msgspec.Raw(b"null")


class EncodedRequest(msgspec.Struct, omit_defaults=True, rename="camel"):
    """A request as it stands in a batch, still without what depends on the others there."""

    method: str
    url: str
    headers: dict[str, str] = {}
    body: msgspec.Raw | None = None
    id: str = ""
    depends_on: list[str] = []

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        body = 0 if self.body is None else len(memoryview(self.body))
        return body + len(self.url) + sum(len(name) + len(value) + 6 for name, value in self.headers.items()) + 100


class Answer(msgspec.Struct):
    """An answer as it stands in the answer to a batch."""

    id: str
    status: int
    headers: dict[str, Any] | None = None
    body: msgspec.Raw = _NOTHING


class Answers(msgspec.Struct):
    """The answer to a batch: answers in any order."""

    responses: list[Answer]


def encode_request(sender: GraphSender, call: Call) -> EncodedRequest:
    """
    Write a request.

    :param sender: whose requests are relative to the root of a version.
    :param call: the request as it would be sent alone.
    :raises UnsafeURL: if it leads elsewhere.
    """
    root, url = f"{sender.base_url.rstrip('/')}/", str(call.url)
    if not url.startswith(root):
        where = sender.redactor.url(call.url)
        raise UnsafeURL(f"{call.method} {where} is not below {root}, and a batch leads nowhere else; send it alone")
    headers = {**(call.headers or {})}
    body: msgspec.Raw | None = None
    if call.body is not None:
        content = cast("bytes", call.body)
        kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
        is_json = "json" in kind
        body = msgspec.Raw(content if is_json else msgspec.json.encode(base64.b64encode(content).decode("ascii")))
        if not kind:
            headers["Content-Type"] = "application/octet-stream"
    return EncodedRequest(method=call.method, url=url[len(root) - 1 :], headers=headers, body=body)


def encode_batch(requests: Collection[EncodedRequest]) -> bytes:
    """Write a batch."""
    return msgspec.json.encode({"requests": requests})


def read_answer(sender: GraphSender, call: Call, answer: Answer) -> Response:
    """
    Return an answer as if its request had been sent alone.

    :param sender: of the request.
    :param call: the request.
    :param answer: to it.
    """
    headers = CIMultiDict((name, str(value)) for name, value in (answer.headers or {}).items())
    return Response(answer.status, headers, URL(call.url), _content(answer, headers), sender.redactor)


def refusal(sender: GraphSender, call: Call, response: Response) -> GraphError:
    """
    Return the error for an answer whose status means failure.

    :param sender: of the request.
    :param call: the request.
    :param response: the answer.
    """
    request, redactor, status = sender.describe(call), sender.redactor, response.status
    body = redactor.excerpt(response.body)
    sentence = f"{request} was answered with {status} in a batch"
    error = HTTPStatusError(
        f"{sentence}: {body}" if body else sentence,
        status=status,
        url=redactor.url(call.url),
        headers=response.headers,
        body=body,
        retry_after=policy.retry_after(response.headers, time.time()),
    )
    return graph_error(error, response.body, request, redactor)


def _content(answer: Answer, headers: CIMultiDict[str]) -> bytes:
    raw = bytes(answer.body)
    if raw == bytes(_NOTHING):
        return b""
    kind = headers.get("Content-Type", "application/json")
    if "json" in kind or not raw.startswith(b'"'):
        return raw
    # What is no JSON is a string: of base64, unless it is a text.
    text = msgspec.json.decode(raw, type=str)
    if kind.startswith("text/"):
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text.encode()
