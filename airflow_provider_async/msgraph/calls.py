# SPDX-License-Identifier: Apache-2.0
"""What a pool at Microsoft Graph does many times: batches, deltas and files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from airflow_provider_async.core.amap import amap
from airflow_provider_async.core.checks import check_at_least
from airflow_provider_async.core.pooled import amap_over
from airflow_provider_async.core.progress import Tally
from airflow_provider_async.http.requests import PageRequest
from airflow_provider_async.http.session_pool import SessionPool
from airflow_provider_async.msgraph.batch_request import LARGEST_BATCH, BatchRequest, arrange
from airflow_provider_async.msgraph.client import MSGraphClient
from airflow_provider_async.msgraph.delta import Delta

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping

    from airflow_provider_async.core.amap import AsyncMap
    from airflow_provider_async.core.pooled import Ack
    from airflow_provider_async.core.retry import Retry
    from airflow_provider_async.http.response import Response
    from airflow_provider_async.http.transport import Call
    from airflow_provider_async.msgraph.batch_request import Group
    from airflow_provider_async.msgraph.batcher import Batcher
    from airflow_provider_async.msgraph.targets import GraphParams, Target

__all__ = ["GraphCalls"]

T = TypeVar("T")

#: Whatever is larger on average gains nothing from a batch, whose parts come all at once at the end.
_LARGE_BYTES = 256 * 1024


class GraphCalls(SessionPool, MSGraphClient):
    """What is asked of Graph in numbers."""

    _retry: Retry | None = None

    def delta(
        self,
        url: Target,
        *,
        params: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
        link: str | None = None,
        cursor: str | None = None,
        resume: str | None = None,
        label: str | None = None,
    ) -> Delta:
        """
        Read what has changed, and iterate over it: ``async for change in pool.delta("users/delta", cursor="users"):``.

        The first query gives everything that there is; so does one whose link has expired, which for directory objects
        is after seven days. Before that comes a change of the kind ``reset``: what was known until then is void.

        :param url: of a delta function, such as ``users/delta`` or ``drives/{id}/root/delta``.
        :param params: for the query, such as ``{"$select": ["displayName"]}``.
        :param headers: of all requests, such as ``{"Prefer": "return=minimal"}``.
        :param link: goes on from there; what :attr:`Delta.link` was at the end of an earlier query.
        :param cursor: a name under which that link is kept by itself: in an Airflow task, from one DAG run to the next,
            and in a block of :func:`~airflow_provider_async.resumable`. It is kept when the task has succeeded.
        :param resume: a name under which it is kept how far this run has come: its next try goes on after the last page
            that was consumed.
        :param label: what the work is called in logs; by default the path of the URL.
        :return: changes with ``kind``, ``item``, ``id`` and ``reason``; an item may come twice.
        """
        sender = self.sender
        target = self.resolve(url, params=params, headers=headers)
        request = PageRequest(url=target.url, headers=target.headers or None)
        delta = Delta(sender.page_fetcher(request), request, link=link, cursor=cursor, resume=resume, label=label)
        self._attach(delta)
        return delta

    def batch(
        self,
        requests: Iterable[BatchRequest | Target] | AsyncIterable[BatchRequest | Target],
        *,
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[BatchRequest | Target, Response]:
        """
        Send requests, twenty in each request of HTTP, and iterate over their answers as they arrive.

        Each request fails for itself: ``.outcomes()`` gives each with its answer or its error. One that Graph refuses
        for now goes into another batch after the time that Graph asks for; one that was not run (424), because another
        that it depends on was refused so, goes with it.

        :param requests: in any number. Those that depend on others must be in a list with them; they stay in their
            order and in one batch, at the place of the first of them.
        :param limit: how many batches are in flight at once; ``max_concurrency`` by default and at most.
        :param ordered: yield in the order of the requests.
        :param retry: another policy for each request, and for the batches.
        :param resume: a name under which is kept which requests are done: the next try leaves them out. Not for what
            depends on others.
        :param ack: when a request is acknowledged: when the consumer comes back for the ``next`` answer or batch, or by
            a call of ``outcome.ack()`` (``manual``).
        :param label: what the work is called in errors and logs.
        :raises ValueError: if a request depends on what does not stand before it, or more than twenty depend on each
            other.
        :return: answers with ``status``, ``headers``, ``body`` and ``json()``; see
            :func:`~airflow_provider_async.amap`.
        """
        groups: dict[BatchRequest, Group] = {}
        if isinstance(requests, Sequence):
            requests, groups = arrange(requests)
        if resume is not None and groups:
            raise ValueError("requests that depend on each other cannot be resumed one by one; leave out resume")
        tally = Tally()
        batcher, in_flight = self._batcher(limit, retry, groups, tally)

        async def send(request: BatchRequest | Target) -> Response:
            return await batcher(request if isinstance(request, BatchRequest) else BatchRequest.of(request))

        results = amap(
            send,
            _noting_end(requests, batcher.complete),
            limit=LARGEST_BATCH * in_flight,
            ordered=ordered,
            resume=resume,
            ack=ack,
            label=label or "batch",
            tally=tally,
        )
        self._opened.attach(results)
        return results

    def get_many(
        self,
        urls: Iterable[Target] | AsyncIterable[Target],
        *,
        batch: bool | None = None,
        limit: int | None = None,
        ordered: bool = False,
        retry: Retry | None = None,
        resume: str | None = None,
        ack: Ack = "next",
        label: str | None = None,
    ) -> AsyncMap[Target, Response]:
        """
        Get many URLs, several at a time, and iterate over the answers as they arrive.

        They are sent in batches of twenty where that takes less time: not if there are no more of them than may be in
        flight at once, not for contents (``/content``, ``/$value``), and no longer once answers turn out to be large.

        :param urls: as for :meth:`request`; an iterable or an async iterable, of any length.
        :param batch: whether they are sent in batches, whatever they are.
        :param limit: how many requests of HTTP are in flight at once; ``max_concurrency`` by default and at most.
        :param ordered: yield in the order of the URLs.
        :param retry: another policy.
        :param resume: a name under which is kept which URLs are done, in a task or a block of
            :func:`~airflow_provider_async.resumable`: the next try leaves them out.
        :param ack: as for :meth:`batch`, like ``label``.
        :return: answers with ``url``, ``status``, ``headers``, ``body`` and ``json()``; see
            :func:`~airflow_provider_async.amap`.
        """
        pool = self._opened
        tally = Tally()
        alone = asyncio.Semaphore(pool.limit if limit is None else min(limit, pool.limit))

        async def get(url: Target) -> Response:
            async with alone:
                response = await self.request("GET", url, retry=retry)
            tally.bytes += len(response.body)
            return response

        label = label or "get_many"
        if batch is False or (batch is None and isinstance(urls, Sized) and len(urls) <= pool.limit):
            return amap_over(
                pool, get, urls, limit=limit, ordered=ordered, resume=resume, ack=ack, label=label, tally=tally
            )
        batcher, in_flight = self._batcher(limit, retry, {}, tally)
        done = 0

        async def get_either_way(url: Target) -> Response:
            nonlocal done
            is_large = tally.bytes > _LARGE_BYTES * max(done, LARGEST_BATCH)
            if batch is None and (is_large or _is_content(url) or not self._is_here(url)):
                response = await get(url)
            else:
                response = await batcher(BatchRequest("GET", url))
            done += 1
            return response

        results = amap(
            get_either_way,
            _noting_end(urls, batcher.complete),
            limit=LARGEST_BATCH * in_flight,
            ordered=ordered,
            resume=resume,
            ack=ack,
            label=label,
            tally=tally,
        )
        pool.attach(results)
        return results

    def _batcher(
        self, limit: int | None, retry: Retry | None, groups: Mapping[BatchRequest, Group], tally: Tally
    ) -> tuple[Batcher, int]:
        """Return what sends batches, and how many of them at once."""
        # aiohttp takes a fifth of a second to import: a DAG file is parsed without it.
        from airflow_provider_async.msgraph.batcher import Batcher
        from airflow_provider_async.msgraph.sender import DEFAULT_RETRY

        check_at_least(1, limit=limit)
        pool = self._opened
        in_flight = pool.limit if limit is None else min(limit, pool.limit)
        policy = retry or self._retry or DEFAULT_RETRY
        batcher = Batcher(self.sender, self._call, limit=in_flight, retry=policy, groups=groups, tally=tally)
        pool.attach(batcher)
        return batcher, in_flight

    def _call(self, request: BatchRequest) -> Call:
        target = self.resolve(request.url, method=request.method, params=request.params, headers=request.headers)
        data = request.data
        if request.json is None and data is None:
            data = target.content
        return self.sender.call(
            target.method,
            target.url,
            json=request.json,
            data=data,
            headers=target.headers or None,
            idempotent=request.idempotent,
        )

    def _is_here(self, url: Target) -> bool:
        """Tell whether a URL is below the pool's, beyond which no batch leads."""
        return not isinstance(url, str) or "://" not in url or url.startswith(f"{self.sender.base_url.rstrip('/')}/")


def _is_content(url: Target) -> bool:
    return isinstance(url, str) and urlsplit(url).path.endswith(("/content", "/$value"))


class _Noting(Iterable[T]):
    """Items, and a call when they have come to their end."""

    def __init__(self, items: Iterable[T], at_end: Callable[[], None]) -> None:
        self.items = items
        self._at_end = at_end

    def __iter__(self) -> Iterator[T]:
        yield from self.items
        self._at_end()


class _SizedNoting(_Noting[T]):
    """The same, of a number of items that is known."""

    def __len__(self) -> int:
        return len(self.items)  # type: ignore[arg-type]


def _noting_end(items: Iterable[T] | AsyncIterable[T], at_end: Callable[[], None]) -> Iterable[T] | AsyncIterable[T]:
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        return items if not hasattr(items, "__aiter__") else _noting_async_end(items, at_end)
    return _SizedNoting(items, at_end) if isinstance(items, Sized) else _Noting(items, at_end)


async def _noting_async_end(items: AsyncIterable[T], at_end: Callable[[], None]) -> AsyncIterator[T]:
    async for item in items:
        yield item
    at_end()
