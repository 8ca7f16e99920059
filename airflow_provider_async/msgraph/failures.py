# SPDX-License-Identifier: Apache-2.0
"""What Graph says of an error (https://learn.microsoft.com/graph/errors), as an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from airflow_provider_async.errors import GraphError, HTTPStatusError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_async.http.redaction import Redactor

__all__ = ["graph_error"]


def graph_error(error: HTTPStatusError, body: object, request: str, redactor: Redactor) -> GraphError:
    """
    Return the error for an answer whose status means failure.

    :param error: what is known of any server's answer.
    :param body: of the answer: bytes, or decoded already, as it stands in the answer to a batch.
    :param request: what errors call the request.
    :param redactor: takes secrets out.
    """
    if isinstance(body, (bytes, bytearray)):
        try:
            body = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = None
    said = _object(body, "error")
    headers = {name.lower(): value for name, value in error.headers.items()}
    # The name has changed over time; each level may have the next one in it.
    inner = _object(said, "innerError") or _object(said, "innererror")
    code, detail = _text(said, "code"), redactor.text(_text(said, "message"))
    request_id = headers.get("request-id") or _text(inner, "request-id") or None
    client_request_id = headers.get("client-request-id") or _text(inner, "client-request-id") or None
    date = _text(inner, "date") or headers.get("date")
    sentence = str(error)
    if code:
        sentence = f"{request} was answered with {error.status} {code}" + (f": {detail}" if detail else "")
    names = [("request-id", request_id), ("client-request-id", client_request_id), ("date", date)]
    known = ", ".join(f"{name} {value}" for name, value in names if value)
    return GraphError(
        f"{sentence} ({known})" if known else sentence,
        status=error.status,
        url=error.url,
        headers=error.headers,
        body=error.body,
        retry_after=error.retry_after,
        code=code,
        detail=detail,
        request_id=request_id,
        client_request_id=client_request_id,
        inner_error=inner,
        date=date,
    )


def _object(value: object, name: str) -> Mapping[str, object]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _text(value: Mapping[str, object], name: str) -> str:
    found = value.get(name)
    return found if isinstance(found, str) else ""
