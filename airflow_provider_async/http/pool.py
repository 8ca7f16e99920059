# SPDX-License-Identifier: Apache-2.0
"""HTTPClientPool: many requests to one server."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from airflow_provider_async.core.pooled import amap_over
from airflow_provider_async.core.progress import Tally
from airflow_provider_async.http.auth import Auth, CallableAuth
from airflow_provider_async.http.client import HTTPClient
from airflow_provider_async.http.connection import read_url
from airflow_provider_async.http.hook import AsyncHTTPHook, transport_pool
from airflow_provider_async.http.options import HTTPOptions
from airflow_provider_async.http.paginate import MOST_EMPTY_PAGES, paginate
from airflow_provider_async.http.requests import PageRequest
from airflow_provider_async.http.session_pool import SessionPool
from airflow_provider_async.runtime.extras import invalid

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence

    from airflow_provider_async.core.amap import AsyncMap
    from airflow_provider_async.core.pool import Pool
    from airflow_provider_async.core.pooled import Ack
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.core.shards import Shard
    from airflow_provider_async.core.values import JSON, Concurrency, Rate
    from airflow_provider_async.http.auth import AuthFunction
    from airflow_provider_async.http.caller import Caller
    from airflow_provider_async.http.connection import ConnectionFields
    from airflow_provider_async.http.download import DownloadedFile, Existing
    from airflow_provider_async.http.pagination import Pagination
    from airflow_provider_async.http.paginator import Paginator
    from airflow_provider_async.http.response import Response
    from airflow_provider_async.http.transport import Transport
    from airflow_provider_async.http.values import Check, Params

__all__ = ["HTTPClientPool"]

T = TypeVar("T")


class HTTPClientPool(SessionPool, HTTPClient):
    """
    One session of aiohttp that many requests share, with one login, one retry policy and one limit.

    ``async with HTTPClientPool("http_default") as pool:`` reads the Connection; connections are opened when they are
    needed and kept open between requests, and all are closed at the end. A pool belongs to one event loop and is
    entered once.

    The Connection's headers and its login go to its own scheme, host and port, and to ``allowed_hosts``; no redirect
    and no link takes them elsewhere. ``max_concurrency`` and ``rate`` may also stand in the Connection's extras; what
    is given here wins. Its extras ``max_connections`` and ``max_requests`` say what the server takes from all tasks
    together, and hold whatever is given here.

    A request is tried again after a connection that failed, a body that was cut short and the statuses 408, 425, 429,
    500, 502, 503 and 504 if its method is idempotent, and after 429 and 503 whatever its method. When a server asks to
    wait (``Retry-After``, ``RateLimit``, ``X-RateLimit-*``), all requests of the pool wait together. A request that is
    refused because there are too many is bounded by the policy's budget alone, not by its attempts.

    :param http_conn_id: the id of an ``http`` Connection; ``None`` for no Connection.
    :param max_concurrency: requests in flight, 16 by default. ``auto`` finds out how many are best for this server, up
        to 128: it begins with 4, goes on as long as throughput grows, and falls back when the server refuses.
    :param rate: how many requests may begin in a second, or a tuple of a number and seconds; spread evenly.
    :param timeout: seconds for reaching the server, and between two pieces of an answer; 60 by default.
    :param total_timeout: seconds for one answer that is read as a whole; 300 by default.
    :param retry: the policy for requests: by default five attempts within two minutes.
    :param auth: what proves who asks, instead of the Connection's login: one of the classes here, or a function,
        async or not, that returns headers.
    :param base_url: instead of the Connection's.
    :param headers: in addition to the Connection's.
    :param allowed_hosts: other hosts that may have the headers and the login: ``name`` or ``name:port``.
    :param check: given each answer of success, raises what is wrong with it; an error of the type
        :class:`~airflow_provider_async.errors.TransientResponse` is tried again, as a 503 is.
    :param max_body_bytes: no answer that is read as a whole may be larger, after decompression; 256 MiB by default.
    :param acquire_timeout: seconds that a request waits for its turn, pauses apart.
    :param close_timeout: seconds that requests have to end when the pool closes.
    :param shard: this task's part of the work, if several share it; the pool then has its share of ``max_connections``,
        ``max_requests`` and ``rate``.
    :param connection: the Connection itself, for scripts and tests without Airflow's database.
    """

    def __init__(
        self,
        http_conn_id: str | None = "http_default",
        *,
        max_concurrency: Concurrency | None = None,
        rate: Rate | None = None,
        timeout: float | None = None,
        total_timeout: float | None = None,
        retry: Retry | None = None,
        auth: Auth | AuthFunction | None = None,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        allowed_hosts: Iterable[str] = (),
        check: Check | None = None,
        max_body_bytes: int | None = None,
        acquire_timeout: float = 30.0,
        close_timeout: float = 30.0,
        shard: Shard[Any] | None = None,
        connection: ConnectionFields | None = None,
    ) -> None:
        super().__init__()
        self._given = HTTPOptions.given(
            max_concurrency=max_concurrency,
            rate=rate,
            timeout=timeout,
            total_timeout=total_timeout,
            max_body_bytes=max_body_bytes,
            allowed_hosts=allowed_hosts,
        )
        self.http_conn_id = http_conn_id
        made = auth if auth is None or isinstance(auth, Auth) else CallableAuth(auth)
        self._hook = AsyncHTTPHook(http_conn_id, auth=made, connection=connection)
        self._base_url = base_url
        self._headers = dict(headers or {})
        self._check = check
        self._retry = retry
        self._shard = shard
        self._acquire_timeout = acquire_timeout
        self._close_timeout = close_timeout

    async def _open(self) -> tuple[Pool[Transport, Transport], Caller]:
        # aiohttp takes a fifth of a second to import: a DAG file is parsed without it.
        from airflow_provider_async.http.caller import Caller

        options = await self._read()
        pool = transport_pool(
            options, name=self._name, acquire_timeout=self._acquire_timeout, close_timeout=self._close_timeout
        )
        sender = self._sender = Caller(options, pool.lease, retry=self._retry, check=self._check)
        return pool, sender

    async def _read(self) -> HTTPOptions:
        options = await self._hook.read()
        changes = dict(self._given)
        if self._base_url is not None:
            changes["base_url"], login, _ = read_url(self._base_url, None, "base_url", options.conn_id)
            if login is not None:
                raise invalid(options.conn_id, "base_url", "has a login in it; give auth=..., or use a Connection")
        headers = {**options.headers, **self._headers}
        return replace(options, headers=headers, **changes).within_limits(self._shard)

    def get_many(
        self,
        urls: Iterable[str] | AsyncIterable[str],
        *,
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[str, Response]:
        """
        Get many URLs, several at a time, and iterate over the answers as they arrive.

        :param urls: as for :meth:`request`; an iterable or an async iterable, of any length.
        :param limit: how many at once; ``max_concurrency`` by default and at most.
        :param ordered: yield in the order of the URLs.
        :param retry: another policy.
        :param resume: a name under which is kept which URLs are done, in a task or a block of
            :func:`~airflow_provider_async.resumable`: the next try leaves them out.
        :param ack: when a URL is acknowledged: when the consumer comes back for the ``next`` answer or batch, or by a
            call of ``outcome.ack()`` (``manual``).
        :param label: what the work is called in errors and logs.
        :return: answers with ``url`` (after redirects), ``status``, ``headers``, ``body`` and ``json()``; see
            :func:`~airflow_provider_async.amap`.
        """
        sender = self.sender
        tally = Tally()
        read = partial(sender.read, tally=tally)

        def get(url: str) -> Awaitable[Response]:
            return sender.run(sender.call("GET", url), read, retry=retry)

        return amap_over(
            self._opened,
            get,
            urls,
            limit=limit,
            ordered=ordered,
            resume=resume,
            ack=ack,
            label=label or "get_many",
            tally=tally,
        )

    @overload
    def paginate(
        self,
        url: str,
        *,
        method: str = "GET",
        params: Params | None = None,
        json: JSON | None = None,
        headers: Mapping[str, str] | None = None,
        paginator: Paginator | Literal["auto"] = "auto",
        items: str | None = None,
        prefetch: int = 1,
        max_pages: int | None = None,
        max_empty_pages: int = MOST_EMPTY_PAGES,
        equal_pages: bool = False,
        resume: str | None = None,
        label: str | None = None,
    ) -> Pagination[JSON]: ...

    @overload
    def paginate(
        self,
        url: str,
        *,
        method: str = "GET",
        params: Params | None = None,
        json: JSON | None = None,
        headers: Mapping[str, str] | None = None,
        paginator: Paginator | Literal["auto"] = "auto",
        items: Callable[[JSON], Sequence[T]],
        prefetch: int = 1,
        max_pages: int | None = None,
        max_empty_pages: int = MOST_EMPTY_PAGES,
        equal_pages: bool = False,
        resume: str | None = None,
        label: str | None = None,
    ) -> Pagination[T]: ...

    def paginate(
        self,
        url: str,
        *,
        method: str = "GET",
        params: Params | None = None,
        json: JSON | None = None,
        headers: Mapping[str, str] | None = None,
        paginator: Paginator | Literal["auto"] = "auto",
        items: str | Callable[[JSON], Sequence[T]] | None = None,
        prefetch: int = 1,
        max_pages: int | None = None,
        max_empty_pages: int = MOST_EMPTY_PAGES,
        equal_pages: bool = False,
        resume: str | None = None,
        label: str | None = None,
    ) -> Pagination[JSON] | Pagination[T]:
        """
        Read the pages of a listing, and iterate over its rows: ``async for row in pool.paginate("orders"):``.

        :param url: of the first page, as for :meth:`request`, like ``params``, ``json`` and ``headers``.
        :param method: of all requests; each is tried again, for to read a page twice does no harm.
        :param paginator: as for :func:`~airflow_provider_async.http.paginate.paginate`, like all that follow.
        :return: rows with ``async for``, or pages by ``.pages()``.
        """
        sender = self.sender
        request = PageRequest(method=method, url=url, params=sender.query(params), json=json, headers=headers)
        pages: Pagination[Any] = paginate(
            sender.page_fetcher(request),
            request,
            paginator=paginator,
            items=cast("Callable[[JSON], Sequence[T]]", items),
            # More would only wait for a lease until the acquire time-out.
            prefetch=min(prefetch, sender.options.max_concurrency),
            max_pages=max_pages,
            max_empty_pages=max_empty_pages,
            equal_pages=equal_pages,
            resume=resume,
            label=label,
        )
        self._opened.attach(pages)
        return pages

    def download_many(
        self,
        urls: Iterable[str] | AsyncIterable[str],
        folder: str | os.PathLike[str],
        *,
        name: Callable[[str], str] | None = None,
        existing: Existing = "overwrite",
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[str, DownloadedFile]:
        """
        Download many URLs into a local folder.

        Each file appears there when it is complete, with the time that the server says it was changed. One that was
        interrupted goes on where it stopped, in a later try too, if the server has a strong ``ETag`` and knows ranges.

        :param urls: as for :meth:`request`; an iterable or an async iterable, of any length.
        :param folder: made if it is missing.
        :param name: makes of a URL the file's name, relative to the folder; by default the last part of the URL's path.
            Two URLs that give one name are refused.
        :param existing: what becomes of a file that is there: ``overwrite`` it, ``skip`` its URL, or ``error``.
        :param limit: as for :meth:`get_many`, like the others.
        :return: files with ``url``, ``path``, ``size`` and ``skipped``.
        """
        from airflow_provider_async.http.download import Download

        tally = Tally()
        download = Download(self.sender, folder, name=name, existing=existing, retry=retry, tally=tally)
        return amap_over(
            self._opened,
            download,
            urls,
            limit=limit,
            ordered=ordered,
            resume=resume,
            ack=ack,
            label=label or "download_many",
            tally=tally,
        )

    @property
    def _name(self) -> str:
        return f"HTTPClientPool({self.http_conn_id!r})"
