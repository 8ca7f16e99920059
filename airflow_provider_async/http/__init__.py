# SPDX-License-Identifier: Apache-2.0
"""HTTP: a hook and a pool for Airflow's ``http`` Connections. aiohttp is imported when they are first used."""

from __future__ import annotations

from airflow_provider_async.http.auth import ApiKey, Auth, Basic, Bearer
from airflow_provider_async.http.hook import AsyncHTTPHook
from airflow_provider_async.http.pages import (
    BodyCursor,
    Cursor,
    JSONLink,
    LinkHeader,
    Offset,
    Page,
    PageNumber,
    Paginator,
    SinglePage,
)
from airflow_provider_async.http.pagination import Pagination
from airflow_provider_async.http.pool import HTTPClientPool
from airflow_provider_async.http.requests import PageRequest, PageResponse
from airflow_provider_async.http.tokens import OAuth2ClientCredentials

__all__ = [
    "ApiKey",
    "AsyncHTTPHook",
    "Auth",
    "Basic",
    "Bearer",
    "BodyCursor",
    "Cursor",
    "HTTPClientPool",
    "JSONLink",
    "LinkHeader",
    "OAuth2ClientCredentials",
    "Offset",
    "Page",
    "PageNumber",
    "PageRequest",
    "PageResponse",
    "Pagination",
    "Paginator",
    "SinglePage",
]
