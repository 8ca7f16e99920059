# SPDX-License-Identifier: Apache-2.0
"""AsyncMSGraphHook: from an Airflow Connection to a client of Microsoft Graph."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider_async.core.checks import check_above_zero
from airflow_provider_async.http.hook import start, transport_pool
from airflow_provider_async.msgraph.client import MSGraphClient
from airflow_provider_async.msgraph.connection import read_options
from airflow_provider_async.msgraph.credentials import GraphToken
from airflow_provider_async.runtime.hooks import find_connection, try_in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from azure.core.credentials_async import AsyncTokenCredential

    from airflow_provider_async.http.connection import ConnectionFields
    from airflow_provider_async.msgraph.connection import MSGraphOptions
    from airflow_provider_async.msgraph.paginated_run import Data, PaginationFunction
    from airflow_provider_async.msgraph.targets import GraphParams, Target

__all__ = ["AsyncMSGraphHook"]


class AsyncMSGraphHook:
    """
    Asks Microsoft Graph, as an ``msgraph`` Connection says, whose fields mean what they mean to Airflow's own hook.

    The Connection is read once, when it is first needed. It names an application by its client id (login) and tenant,
    with a client secret (password) or a certificate; or the extra ``credential`` says ``managed_identity``,
    ``workload_identity`` or ``default``, which is what is tried if there is neither login nor certificate.

    :param conn_id: the Connection's id.
    :param api_version: ``v1.0`` or ``beta``; by default the Connection's, or ``v1.0``.
    :param scopes: what the token is for; by default the Connection's, or all that the application was granted.
    :param host: another server, such as that of a national cloud; by default the Connection's.
    :param proxies: by scheme, and ``no`` for hosts without one; by default the Connection's.
    :param timeout: seconds for reaching the server, and between two pieces of an answer; 60 by default.
    :param credential: asks for tokens instead of the Connection's login; of ``azure.identity.aio``, or with its
        ``get_token``. It is not closed here.
    :param connection: the Connection itself, for scripts and tests without Airflow's database.
    """

    def __init__(
        self,
        conn_id: str = "msgraph_default",
        *,
        api_version: str | None = None,
        scopes: str | Iterable[str] | None = None,
        host: str | None = None,
        proxies: Mapping[str, str] | None = None,
        timeout: float | None = None,
        credential: AsyncTokenCredential | None = None,
        connection: ConnectionFields | None = None,
    ) -> None:
        check_above_zero(timeout=timeout)
        if credential is not None and not callable(getattr(credential, "get_token", None)):
            raise TypeError(f"credential must have get_token, as those of azure.identity.aio, not {credential!r}")
        self.conn_id = conn_id
        self._api_version = api_version
        self._scopes = [scopes] if isinstance(scopes, str) else None if scopes is None else list(scopes)
        self._host = host
        self._proxies = proxies
        self._timeout = timeout
        self._credential = credential
        self._connection = connection
        self._options: MSGraphOptions | None = None

    async def read(self) -> MSGraphOptions:
        """
        Read the Connection, and check everything that can be checked without the server.

        :return: what the Connection says.
        :raises InvalidConnection: naming the Connection and the field that cannot be used.
        """
        if self._options is None:
            options = read_options(
                *await find_connection(self._connection, self.conn_id),
                api_version=self._api_version,
                scopes=self._scopes,
                host=self._host,
                proxies=self._proxies,
                has_credential=self._credential is not None,
            )
            if self._timeout is not None:
                http = replace(options.http, connect_seconds=self._timeout, read_seconds=self._timeout)
                options = replace(options, http=http)
            self._options = options
        return self._options

    def token(self, options: MSGraphOptions, *, name: str) -> GraphToken:
        """
        Return what gives a token to requests; it is to be closed.

        :param options: what the Connection says.
        :param name: stands in errors.
        """
        identity = options.identity if self._credential is None else None
        return GraphToken(options.scopes, credential=self._credential, identity=identity, name=name)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[MSGraphClient]:
        """
        Give a client, and close its connections at the end.

        A pool does more: see :class:`~airflow_provider_async.msgraph.MSGraphClientPool`.

        :raises InvalidConnection: naming a field of the Connection that cannot be used.
        """
        from airflow_provider_async.msgraph.sender import GraphSender

        options, name = await self.read(), f"AsyncMSGraphHook({self.conn_id!r})"
        token = self.token(options, name=name)
        http = replace(options.http, auth=token).within_limits()
        try:
            async with transport_pool(http, name=name) as pool:
                sender = GraphSender(http, pool.lease)
                start(pool, sender)
                yield MSGraphClient(sender)
        finally:
            await token.close()

    async def run(  # noqa: PLR0917 - Airflow's signature
        self,
        url: Target = "",
        response_type: str | None = None,
        path_parameters: Mapping[str, object] | None = None,
        method: str = "GET",
        query_parameters: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
        data: Data = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """
        Send one request, over a connection of its own.

        :param url: as for :meth:`~airflow_provider_async.msgraph.MSGraphClientPool.paginated_run`, like the others.
        :return: decoded JSON; the bytes of what is no JSON, and the headers of an answer without a body.
        """
        answers = await self.paginated_run(
            url,
            response_type,
            path_parameters=path_parameters,
            method=method,
            query_parameters=query_parameters,
            headers=headers,
            data=data,
            pagination_function=lambda: (None, None),
        )
        return answers[0] if answers else None

    async def paginated_run(  # noqa: PLR0917 - Airflow's signature
        self,
        url: Target = "",
        response_type: str | None = None,
        path_parameters: Mapping[str, object] | None = None,
        method: str = "GET",
        query_parameters: GraphParams | None = None,
        headers: Mapping[str, str] | None = None,
        data: Data = None,
        pagination_function: PaginationFunction | None = None,
    ) -> list[Any]:
        """
        Read all pages into memory, over a connection of its own, as Airflow's hook does.

        :param url: as for :meth:`~airflow_provider_async.msgraph.MSGraphClientPool.paginated_run`, like the others and
            what is returned.
        """
        async with self.connect() as client:
            return await client.paginated_run(
                url, response_type, path_parameters, method, query_parameters, headers, data, pagination_function
            )

    def test_connection(self) -> tuple[bool, str]:
        """
        Ask for a token, and for Graph's own description. Callable from code that is not async, as Airflow's hooks are.

        :return: whether it worked, and a sentence for the user.
        """
        return try_in_thread(self._try)

    async def _try(self) -> None:
        from airflow_provider_async.core.retry import Retry

        async with self.connect() as client:
            await client.request("GET", "", retry=Retry(attempts=1))
