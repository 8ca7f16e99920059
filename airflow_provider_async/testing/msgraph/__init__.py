# SPDX-License-Identifier: Apache-2.0
"""
A Microsoft Graph server, from the public documentation, that fails on demand and remembers what it was asked.

Entra, which gives the tokens, is part of it. It knows collections of any rows, their pages, changes and single rows,
mails that are sent, one drive with its files, and batches; what else an application asks is said with
:meth:`~airflow_provider_async.testing.msgraph.GraphServer.on`.
"""

from __future__ import annotations

from airflow_provider_async.testing.msgraph.answers import RESET, GraphAnswer, GraphRequest, error, throttled
from airflow_provider_async.testing.msgraph.deltas import Deltas
from airflow_provider_async.testing.msgraph.files import Drive, File
from airflow_provider_async.testing.msgraph.paging import Paging
from airflow_provider_async.testing.msgraph.server import GraphServer
from airflow_provider_async.testing.msgraph.tokens import Tokens

__all__ = [
    "RESET",
    "Deltas",
    "Drive",
    "File",
    "GraphAnswer",
    "GraphRequest",
    "GraphServer",
    "Paging",
    "Tokens",
    "error",
    "throttled",
]
