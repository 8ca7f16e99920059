# SPDX-License-Identifier: Apache-2.0
"""The token of a pool: asked for with azure-identity, replaced ahead of its end, and once when Graph refuses it."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_async.errors import ConnectionFailed, PoolConnectError
from airflow_provider_async.http.options import bypasses
from airflow_provider_async.http.tokens import ExpiringToken
from airflow_provider_async.runtime.extras import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from azure.core.credentials_async import AsyncTokenCredential

    from airflow_provider_async.http.auth import PostForm

__all__ = ["CREDENTIALS", "GraphToken", "Identity", "make_credential"]

#: What the extra ``credential`` may be.
CREDENTIALS = ("client_secret", "certificate", "managed_identity", "workload_identity", "default")

#: azure-identity asks for another token in this time before the end of one; before, it gives the same again.
_MARGIN_SECONDS = 300.0

_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


@dataclass(frozen=True, kw_only=True)
class Identity:
    """
    What a Connection says about who asks.

    :param conn_id: what errors call the Connection.
    :param kind: one of :data:`CREDENTIALS`.
    :param tenant_id: the directory's id or name.
    :param client_id: the application's, or that of a user-assigned managed identity.
    :param secret: of the client, or of the certificate's key.
    :param certificate_path: the file of a certificate with its key, in PEM or PKCS 12.
    :param certificate_data: the same as a text, in PEM.
    :param authority: the host that gives tokens, if not the global cloud's.
    :param disable_instance_discovery: whether the authority is not looked up, as in a closed network.
    :param verify: whether the authority has to prove who it is, or the file of certificates to check that with.
    :param proxies: by scheme, and ``no`` for hosts without one.
    """

    conn_id: str
    kind: str
    tenant_id: str | None = None
    client_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    certificate_path: str | None = None
    certificate_data: str | None = field(default=None, repr=False)
    authority: str | None = None
    disable_instance_discovery: bool = False
    verify: bool | str = True
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)


def make_credential(identity: Identity) -> AsyncTokenCredential:
    """
    Make what azure-identity asks for tokens with.

    :raises InvalidConnection: if a field cannot be used, such as a certificate without a key.
    """
    from azure.identity import aio

    options = _options(identity)
    try:
        if identity.kind == "client_secret":
            return aio.ClientSecretCredential(
                identity.tenant_id or "", identity.client_id or "", identity.secret or "", **options
            )
        if identity.kind == "certificate":
            data = identity.certificate_data
            return aio.CertificateCredential(
                identity.tenant_id or "",
                identity.client_id or "",
                # If there are both, Airflow's hook takes the data too.
                certificate_path=None if data else identity.certificate_path,
                certificate_data=data.encode() if data else None,
                password=identity.secret,
                **options,
            )
        if identity.kind == "managed_identity":
            return aio.ManagedIdentityCredential(client_id=identity.client_id, **options)
        if identity.kind == "workload_identity":
            # What is not given stands in the environment, where Kubernetes puts it.
            given = {"tenant_id": identity.tenant_id, "client_id": identity.client_id}
            options |= {name: value for name, value in given.items() if value}
            return aio.WorkloadIdentityCredential(**options)
        if identity.client_id:
            options |= {"managed_identity_client_id": identity.client_id}
            options |= {"workload_identity_client_id": identity.client_id}
        if identity.tenant_id:
            options |= {"workload_identity_tenant_id": identity.tenant_id}
        return aio.DefaultAzureCredential(**options)
    except (ValueError, TypeError, OSError) as error:
        text = _without(str(error), identity.secret, identity.certificate_data)
        raise invalid(identity.conn_id, f"credential {identity.kind}", f"cannot be used: {text}") from None


def _options(identity: Identity) -> dict[str, Any]:
    options: dict[str, Any] = {"connection_verify": identity.verify}
    if identity.authority:
        options["authority"] = identity.authority
    if identity.disable_instance_discovery:
        options["disable_instance_discovery"] = True
    host = urlsplit(identity.authority or "").hostname or identity.authority or "login.microsoftonline.com"
    proxies = {name: proxy for name, proxy in identity.proxies.items() if name != "no"}
    if proxies and not bypasses(identity.proxies, host):
        options["proxies"] = proxies
    return options


class GraphToken(ExpiringToken):
    """
    A token of azure-identity.

    :param scopes: what it is for.
    :param credential: what asks for it; it is not closed here.
    :param identity: what a credential is made of otherwise.
    :param name: stands in errors.
    :param clock: seconds that only grow.
    """

    def __init__(
        self,
        scopes: Iterable[str],
        *,
        credential: AsyncTokenCredential | None = None,
        identity: Identity | None = None,
        name: str = "GraphToken",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(margin_seconds=_MARGIN_SECONDS, clock=clock)
        self._scopes = tuple(scopes)
        self._credential = credential
        self._identity = identity
        self._name = name
        self._was_refused = False
        self._refusal: str | None = None

    async def obtain(self, post: PostForm) -> tuple[str, float | None]:  # noqa: ARG002 - azure-identity asks itself
        """
        Ask azure-identity.

        :raises PoolConnectError: if the login is refused; it is not tried again.
        :raises ConnectionFailed: if there was no answer.
        """
        from azure.core.exceptions import AzureError

        if self._refusal is not None:
            raise PoolConnectError(self._refusal)
        if self._was_refused and self._identity is not None:
            # It would give the same token again: it keeps it until it ends.
            await self.close()
        self._was_refused = False
        if self._credential is None:
            assert self._identity is not None  # noqa: S101 - one of the two is given
            self._credential = make_credential(self._identity)
        try:
            return await self._ask(self._credential)
        except AzureError as error:
            # The error knows the request, and that knows the secret.
            raise self._failure(error) from None

    async def _ask(self, credential: AsyncTokenCredential) -> tuple[str, float | None]:
        answer: object = credential.get_token(*self._scopes)
        if not isinstance(answer, Awaitable):
            raise TypeError(f"{type(credential).__name__} is not async; take it from azure.identity.aio")
        token = await answer
        return token.token, max(0.0, token.expires_on - time.time())

    def _failure(self, error: Exception) -> Exception:
        from azure.core.exceptions import ClientAuthenticationError

        identity = self._identity
        secrets = () if identity is None else (identity.secret, identity.certificate_data)
        text = " ".join(_without(getattr(error, "message", None) or str(error), *secrets).split())
        status = getattr(getattr(error, "response", None), "status_code", 0) or 0
        # An answer that is none of Entra's, such as a proxy's, refuses nothing.
        is_refusal = isinstance(error, ClientAuthenticationError) and not text.startswith("Unexpected response")
        if is_refusal and status != _TOO_MANY_REQUESTS and status < _SERVER_ERROR:
            self._refusal = f"{self._name}: no token was given: {text}"
            return PoolConnectError(self._refusal)
        return ConnectionFailed(f"{self._name}: asking for a token failed: {text}")

    def refused(self, headers: Mapping[str, str]) -> bool:
        """Give up the token, unless it was replaced meanwhile."""
        if headers is self._headers:
            self._was_refused = True
        return super().refused(headers)

    async def close(self) -> None:
        """Close the connections to whoever gives tokens; a credential that was given is its owner's."""
        if self._identity is not None and self._credential is not None:
            credential, self._credential = self._credential, None
            await credential.close()

    @property
    def secrets(self) -> Iterable[str]:
        """The client's secret, and the token of this moment."""
        identity = self._identity
        given = () if identity is None else (identity.secret or "", identity.certificate_data or "")
        return (*given, self._token)


def _without(text: str, *secrets: str | None) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    return text
