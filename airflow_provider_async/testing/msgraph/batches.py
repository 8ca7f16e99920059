# SPDX-License-Identifier: Apache-2.0
"""Batches: https://learn.microsoft.com/graph/json-batching."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from airflow_provider_async.testing.msgraph.answers import GraphAnswer, GraphRequest, Routes, error

if TYPE_CHECKING:
    from airflow_provider_async.testing.msgraph.server import GraphServer

__all__ = ["ROUTES"]

ROUTES = Routes()

_MOST_REQUESTS = 20
_BAD_REQUEST = 400


@ROUTES.on("POST", "/\\$batch")
async def answer_batch(server: GraphServer, request: GraphRequest) -> GraphAnswer:
    """Answer each part as if it had come alone, after those that it depends on."""
    parts: list[dict[str, Any]] = request.json["requests"]
    server.batches.append(parts)
    if not 0 < len(parts) <= _MOST_REQUESTS:
        return error(400, "BadRequest", f"Number of batch request steps exceeds the maximum value of {_MOST_REQUESTS}.")
    names = [part["id"] for part in parts]
    if len(set(names)) < len(names):
        return error(400, "BadRequest", "Request Id has to be unique in a batch.")
    for number, part in enumerate(parts):
        if not part["url"].startswith("/") or "://" in part["url"]:
            return error(400, "BadRequest", f"The url of {part['id']} is not relative.")
        if "body" in part and not any(name.lower() == "content-type" for name in part.get("headers", {})):
            return error(400, "BadRequest", "Content-Type header is required for a request with a body.")
        if not set(part.get("dependsOn", [])) <= set(names[:number]):
            return error(400, "BadRequest", f"{part['id']} depends on what does not stand before it.")
    done: dict[str, asyncio.Task[GraphAnswer]] = {}

    async def run(part: dict[str, Any]) -> GraphAnswer:
        needed = await asyncio.gather(*(done[name] for name in part.get("dependsOn", [])))
        if any(answer.status >= _BAD_REQUEST for answer in needed):
            return error(424, "FailedDependency", "A request on which this one depends has failed.")
        return await server.handle(_inner(request, part))

    for part in parts:
        done[part["id"]] = asyncio.ensure_future(run(part))
    answers = {name: await task for name, task in done.items()}
    # In no particular order, as the documentation warns.
    responses = [_outer(name, answer) for name, answer in reversed(answers.items())]
    return GraphAnswer(body={"responses": responses})


def _inner(request: GraphRequest, part: dict[str, Any]) -> GraphRequest:
    path, _, query = part["url"].partition("?")
    body = part.get("body")
    return GraphRequest(
        method=part["method"],
        path=unquote(path),
        raw_query=query,
        headers={name.lower(): value for name, value in part.get("headers", {}).items()},
        body=b"" if body is None else base64.b64decode(body) if isinstance(body, str) else json.dumps(body).encode(),
        version=request.version,
        is_inner=True,
    )


def _outer(name: str, answer: GraphAnswer) -> dict[str, Any]:
    made: dict[str, Any] = {"id": name, "status": answer.status, "headers": dict(answer.headers)}
    if isinstance(answer.body, bytes):
        is_text = str(answer.headers.get("Content-Type", "")).startswith("text/")
        made["body"] = answer.body.decode() if is_text else base64.b64encode(answer.body).decode()
    elif answer.body is not None:
        made["headers"] = {"Content-Type": "application/json"} | made["headers"]
        made["body"] = answer.body
    return made
