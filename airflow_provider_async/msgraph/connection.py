# SPDX-License-Identifier: Apache-2.0
"""
What an Airflow ``msgraph`` Connection says, checked field by field.

The fields mean what they mean to Airflow's own ``KiotaRequestAdapterHook``, so that an existing Connection works
unchanged. Where that hook would ignore a field or send a token to a wrong place, a comment says what was chosen.
"""

from __future__ import annotations

import ast
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from airflow_provider_async.http.connection import read_url, read_verify
from airflow_provider_async.http.options import HTTPOptions
from airflow_provider_async.msgraph.credentials import CREDENTIALS, Identity
from airflow_provider_async.runtime.extras import Extras, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_async.http.connection import ConnectionFields

__all__ = ["MSGraphOptions", "read_options"]

DEFAULT_HOST = "https://graph.microsoft.com"
DEFAULT_VERSION = "v1.0"

#: https://learn.microsoft.com/graph/deployments: the authority for each cloud's host.
_AUTHORITIES = {
    "graph.microsoft.com": None,
    "graph.microsoft.us": "login.microsoftonline.us",
    "dod-graph.microsoft.us": "login.microsoftonline.us",
    "microsoftgraph.chinacloudapi.cn": "login.chinacloudapi.cn",
}


@dataclass(frozen=True, kw_only=True)
class MSGraphOptions:
    """
    A Connection, read and checked.

    :param http: what the requests need, but for the token.
    :param scopes: what the token is for.
    :param identity: what the token is asked for with.
    """

    http: HTTPOptions
    scopes: tuple[str, ...]
    identity: Identity


def read_options(
    connection: ConnectionFields,
    conn_id: str,
    *,
    api_version: str | None = None,
    scopes: Iterable[str] | None = None,
    host: str | None = None,
    proxies: Mapping[str, str] | None = None,
    has_credential: bool = False,
) -> MSGraphOptions:
    """
    Read a Connection.

    :param connection: an Airflow Connection, or whatever has its fields.
    :param conn_id: what errors call it.
    :param api_version: instead of the Connection's: ``v1.0`` or ``beta``.
    :param scopes: instead of the Connection's.
    :param host: instead of the Connection's, with or without a scheme.
    :param proxies: instead of the Connection's.
    :param has_credential: whether the caller brings what the token is asked for with.
    :raises InvalidConnection: naming the Connection and the field.
    """
    extras = Extras(connection.extra_dejson, conn_id)
    base_url = _base_url(connection, extras, conn_id, host, api_version)
    name = urlsplit(base_url).hostname or ""
    http = HTTPOptions(
        conn_id=conn_id,
        base_url=base_url,
        allowed_hosts=_list(extras, "allowed_hosts"),
        verify=read_verify(extras),
        proxies=_proxies(extras) if proxies is None else dict(proxies),
        trust_env=extras.boolean("trust_env") is True,
        **HTTPOptions.concurrency(extras.concurrency("max_concurrency")),
        rate=extras.rate("rate"),
        limits=extras.limits(),
    )
    # Airflow's hook asks for a token of the global cloud wherever the host is, which no other cloud takes.
    audience = f"https://{name}" if name in _AUTHORITIES else DEFAULT_HOST
    return MSGraphOptions(
        http=http,
        scopes=tuple(scopes or ()) or _list(extras, "scopes") or (f"{audience}/.default",),
        identity=_identity(connection, extras, conn_id, http, is_used=not has_credential),
    )


def _base_url(
    connection: ConnectionFields, extras: Extras, conn_id: str, host: str | None, api_version: str | None
) -> str:
    version = api_version or extras.text("api_version") or DEFAULT_VERSION
    # An enumeration of msgraph-core, as Airflow's hook takes it.
    version = str(getattr(version, "value", version)).strip("/ ")
    port = None
    if (given := extras.text("base_url")) is not None and host is None:
        field, url = "extra base_url", given.strip()
    else:
        field, where = "host", (host or connection.host or "").strip()
        # Airflow's hook needs both the host and the schema, or takes the global cloud; and it ignores the port.
        port = connection.port if where and not host else None
        root = where if "://" in where else f"{(connection.schema or 'https').strip().lower()}://{where}"
        url = urljoin(root if where else DEFAULT_HOST, version)
    if urlsplit(url).port is not None:
        port = None
    base, login, _ = read_url(url, port, field, conn_id)
    if login is not None:
        raise invalid(conn_id, field, "has a login in it; the login is a field of its own")
    return base


def _list(extras: Extras, name: str) -> tuple[str, ...]:
    """Read names that are separated by commas, or a list of them."""
    value = extras.get(name)
    names = value.split(",") if isinstance(value, str) else extras.names(name) or ()
    return tuple(name.strip() for name in names if name.strip())


def _proxies(extras: Extras) -> dict[str, str]:
    value = extras.get("proxies")
    if isinstance(value, str):
        # The form has a text, which Airflow's hook takes as JSON or as Python writes it.
        with suppress(ValueError):
            value = json.loads(value)
        if isinstance(value, str) and value.strip():
            with suppress(ValueError, SyntaxError):
                value = ast.literal_eval(value.strip())
    if not value:
        return {}
    if not isinstance(value, dict):
        raise extras.invalid("proxies", "must be an object with 'http', 'https' and 'no'")
    proxies = {}
    for name, proxy in value.items():
        if not proxy:
            continue
        # The URL may have a password in it, so it is not quoted.
        if not isinstance(proxy, str) or (name != "no" and urlsplit(proxy).scheme not in ("http", "https")):
            raise extras.invalid("proxies", f"must give an http:// URL for {name!r}")
        proxies[str(name)] = proxy
    return proxies


def _identity(
    connection: ConnectionFields, extras: Extras, conn_id: str, http: HTTPOptions, *, is_used: bool
) -> Identity:
    path, data = extras.text("certificate_path"), extras.text("certificate_data")
    kind = extras.text("credential")
    if kind is None:
        is_application = connection.login or connection.password
        kind = "certificate" if path or data else "client_secret" if is_application else "default"
    if kind not in CREDENTIALS:
        raise extras.invalid("credential", f"must be one of {', '.join(CREDENTIALS)}, not {kind!r}")
    authority = extras.text("authority") or _AUTHORITIES.get(urlsplit(http.base_url or "").hostname or "")
    if authority is not None and "://" in authority and not authority.startswith("https://"):
        raise extras.invalid("authority", "must be a host, or a URL of https")
    identity = Identity(
        conn_id=conn_id,
        kind=kind,
        tenant_id=extras.text("tenant_id") or extras.text("tenantId") or extras.text("workload_identity_tenant_id"),
        client_id=connection.login or extras.text("managed_identity_client_id"),
        secret=connection.password or None,
        certificate_path=path,
        certificate_data=data,
        authority=authority,
        disable_instance_discovery=extras.boolean("disable_instance_discovery") is True,
        verify=http.verify,
        proxies=http.proxies,
    )
    if is_used and kind in ("client_secret", "certificate"):
        _check_application(identity, extras)
    return identity


def _check_application(identity: Identity, extras: Extras) -> None:
    if not identity.client_id:
        raise invalid(identity.conn_id, "login", "is missing: it is the client id of the application")
    if not identity.tenant_id:
        raise extras.invalid("tenant_id", "is missing: it is the id of the application's tenant")
    if identity.kind == "client_secret" and not identity.secret:
        raise invalid(
            identity.conn_id,
            "password",
            "is missing: it is the client secret; without one, give certificate_path or certificate_data, or for an "
            "identity of the machine the extra credential, such as managed_identity",
        )
    if identity.kind == "certificate" and not (identity.certificate_path or identity.certificate_data):
        raise extras.invalid("certificate_path", "is missing, and so is certificate_data")
