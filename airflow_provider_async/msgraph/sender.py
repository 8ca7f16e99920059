# SPDX-License-Identifier: Apache-2.0
"""What Graph does differently from other servers: its errors, its quotas, its links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yarl import URL

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import HTTPStatusError, UnsafeURL
from airflow_provider_async.http import policy
from airflow_provider_async.http.caller import Caller
from airflow_provider_async.http.failures import read_failure, status_error
from airflow_provider_async.http.origins import TrustedOrigins
from airflow_provider_async.msgraph.failures import graph_error
from airflow_provider_async.msgraph.pacing import Pacing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp import ClientResponse

    from airflow_provider_async.core.lease import Lease
    from airflow_provider_async.errors import GraphError
    from airflow_provider_async.http.options import HTTPOptions
    from airflow_provider_async.http.requests import PageRequest, PageResponse
    from airflow_provider_async.http.sender import Answer
    from airflow_provider_async.http.transport import Call, Transport

__all__ = ["DEFAULT_RETRY", "USED", "GraphSender"]

#: Graph asks to wait for minutes where others ask for seconds.
DEFAULT_RETRY = Retry(budget_seconds=600.0)

#: How much of a quota is used, from four fifths on.
USED = "x-ms-throttle-limit-percentage"


class GraphSender(Caller):
    """
    Sends requests to Graph.

    :param options: what the Connection and the caller say.
    :param lease: lends a transport for one request.
    :param retry: the policy.
    """

    def __init__(
        self, options: HTTPOptions, lease: Callable[[], Lease[Transport, Transport]], *, retry: Retry | None = None
    ) -> None:
        super().__init__(options, lease, retry=retry or DEFAULT_RETRY)
        self.base_url = options.base_url or ""
        self._origins = TrustedOrigins(URL(self.base_url), options.allowed_hosts)
        self._pacing = Pacing()
        self._steady = self._limiter

    async def status_error(self, call: Call, response: ClientResponse) -> GraphError:
        """Return Graph's error."""
        self.note_quota(response.headers.get(USED))
        data, request = await read_failure(response), self.describe(call)
        error = status_error(call, response, data, request, self.redactor)
        if call.is_anonymous:
            error.url = _shown(call.url)
        return graph_error(error, data, request, self.redactor)

    def describe(self, call: Call) -> str:
        """Return what a request is called in errors. A pre-authenticated URL is as good as a login, and is not told."""
        if call.is_anonymous:
            return f"{call.method} {_shown(call.url)}"
        return super().describe(call)

    def is_worth_it(self, call: Call, error: Exception, retry: Retry) -> bool:
        """Tell whether a request is sent again: one that is not idempotent only after a 429, which did nothing."""
        if not call.idempotent and isinstance(error, HTTPStatusError):
            return error.status == policy.TOO_MANY_REQUESTS
        return super().is_worth_it(call, error, retry)

    async def _begin(self, call: Call) -> Answer:
        answer = await super()._begin(call)
        self.note_quota(answer[1].headers.get(USED))
        return answer

    def note_quota(self, used: str | None) -> None:
        """
        Let requests begin more slowly, or not, as an answer says.

        :param used: the answer's header ``x-ms-throttle-limit-percentage``.
        """
        self._pacing.note(used)
        self._limiter = self._pacing if self._pacing.is_on else self._steady

    def page_fetcher(self, first: PageRequest) -> Callable[[PageRequest], Awaitable[PageResponse]]:
        """
        Return what fetches the pages of a listing.

        :raises UnsafeURL: if a link leads to a host that is neither the pool's nor allowed.
        """
        fetch = super().page_fetcher(first)

        async def fetch_from_here(page: PageRequest) -> PageResponse:
            if page.url != first.url:
                self.check_link(page.url)
            return await fetch(page)

        return fetch_from_here

    def check_link(self, url: str) -> None:
        """
        Look at where an answer leads.

        :param url: absolute.
        :raises UnsafeURL: if that is neither the pool's host nor one that is allowed.
        """
        target = URL(url)
        if not self._origins.is_trusted(target, None):
            raise UnsafeURL(
                f"a link leads to {target.scheme}://{target.raw_authority.rpartition('@')[2]}, which is neither the "
                "Connection's host nor one of allowed_hosts"
            )


def _shown(url: URL) -> str:
    return f"{url.origin()}/*** (pre-authenticated)"
