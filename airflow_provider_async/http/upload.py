# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PTH116
"""How a local file becomes the body of a request."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_async.errors import FileChanged
from airflow_provider_async.http.piece import WholeFile

if TYPE_CHECKING:
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.http.caller import Caller
    from airflow_provider_async.http.response import Response
    from airflow_provider_async.http.transport import Call

__all__ = ["upload"]


async def upload(sender: Caller, call: Call, path: str | os.PathLike[str], *, retry: Retry | None) -> Response:
    """
    Send a file, from its beginning with each attempt and with each redirect that keeps the body.

    :param sender: sends it.
    :param call: the request, still without a body.
    :param path: the file's path.
    :param retry: another policy.
    :raises OSError: if the file cannot be read.
    :raises FileChanged: if its size changed meanwhile.
    """
    size = os.stat(path).st_size
    call.headers = {
        "Content-Type": "application/octet-stream",
        **(call.headers or {}),
        "Content-Length": str(size),
    }
    call.body = partial(WholeFile, path, size)
    response = await sender.send(call, retry=retry)
    if os.stat(path).st_size != size:
        raise FileChanged(f"'{os.fspath(path)}' was changed while it was sent")
    return response
