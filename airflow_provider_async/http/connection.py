# SPDX-License-Identifier: Apache-2.0
"""
What an Airflow ``http`` Connection says, checked field by field.

The fields mean what they mean to Airflow's own ``HttpHook`` (on requests) and ``HttpAsyncHook`` (on aiohttp), so that
an existing Connection works unchanged: extras that are no options are headers. Where those two disagree, a comment
says what was chosen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from airflow_provider_async.http.options import (
    DEFAULT_MAX_REDIRECTS,
    DEFAULT_SECONDS,
    HTTPOptions,
)
from airflow_provider_async.runtime import hooks
from airflow_provider_async.runtime.extras import Extras, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ConnectionFields", "read_options", "read_url", "read_verify"]

MAX_PORT = 65535

#: Extras that are options to one of Airflow's hooks, or here; every other one is a header.
_OPTIONS = frozenset(
    {
        "allow_redirects",
        "cert",
        "check_response",
        "max_concurrency",
        "max_connections",
        "max_redirects",
        "max_requests",
        "proxies",
        "proxy",
        "rate",
        "srv_lookup",
        "stream",
        "timeout",
        "trust_env",
        "verify",
        "verify_ssl",
    }
)

#: RFC 9110, section 5.6.2: what a header's name is made of.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class ConnectionFields(hooks.ConnectionFields, Protocol):
    """The part of an Airflow ``Connection`` that is read here; the host may be a whole URL."""

    @property
    def schema(self) -> str | None:
        """``http`` or ``https``, if the host does not say."""


def read_options(connection: ConnectionFields, conn_id: str) -> HTTPOptions:
    """
    Read a Connection.

    :param connection: an Airflow Connection, or whatever has its fields.
    :param conn_id: what errors call it.
    :raises InvalidConnection: naming the Connection and the field.
    """
    extras = Extras(connection.extra_dejson, conn_id)
    base_url, url_login, url_password = _base_url(connection, conn_id)
    # As requests does, and so HttpHook: what stands in the URL is the login if there is no other.
    login, password = connection.login, connection.password
    if not login:
        login, password = url_login, url_password or password
    if extras.boolean("srv_lookup"):
        raise extras.invalid("srv_lookup", "is not supported; give the host and the port that the SRV record names")
    # To HttpHook a time-out is for connecting and for each read, to HttpAsyncHook for the whole, which would end large
    # downloads that are well on their way.
    seconds = extras.seconds("timeout") or DEFAULT_SECONDS
    # Extra stream is not read: whether a body is read as a whole is the caller's choice.
    return HTTPOptions(
        conn_id=conn_id,
        base_url=base_url,
        headers=_headers(extras),
        login=login or None,
        password=password or None,
        connect_seconds=seconds,
        read_seconds=seconds,
        verify=read_verify(extras),
        certificate=_certificate(extras),
        proxies=_proxies(extras),
        # As for HttpHook. HttpAsyncHook ignores it, and the environment.
        trust_env=extras.boolean("trust_env") is not False,
        follows_redirects=extras.boolean("allow_redirects") is not False,
        max_redirects=extras.count("max_redirects") or DEFAULT_MAX_REDIRECTS,
        checks_status=extras.boolean("check_response") is not False,
        **HTTPOptions.concurrency(extras.concurrency("max_concurrency")),
        rate=extras.rate("rate"),
        limits=extras.limits(),
    )


def _base_url(connection: ConnectionFields, conn_id: str) -> tuple[str | None, str | None, str | None]:
    """Return the URL that others are appended to, and the login and the password that stand in it."""
    host = (connection.host or "").strip()
    if not host:
        return None, None, None
    if "://" in host:
        return read_url(host, connection.port, "host", conn_id)
    schema = (connection.schema or "http").strip().lower()
    if schema not in ("http", "https"):
        raise invalid(conn_id, "schema", f"must be http or https, not {schema!r}")
    return read_url(f"{schema}://{host}", connection.port, "host", conn_id)


def read_url(url: str, port: int | None, field: str, conn_id: str) -> tuple[str, str | None, str | None]:
    """
    Check a URL that others are appended to.

    :param url: with a scheme.
    :param port: instead of the URL's own.
    :param field: what errors call the URL.
    :param conn_id: what errors call the Connection.
    :return: the URL, and the login and the password that stood in it.
    :raises InvalidConnection: if it cannot be used.
    """
    try:
        parts = urlsplit(url)
        port = port or parts.port
    except ValueError:
        raise invalid(conn_id, field, "is no URL") from None
    if parts.scheme not in ("http", "https"):
        raise invalid(conn_id, field, f"must be a URL of http or https, not {parts.scheme!r}")
    if not parts.hostname or any(character.isspace() for character in parts.netloc):
        raise invalid(conn_id, field, "has no name of a server")
    if parts.query or parts.fragment:
        raise invalid(conn_id, field, "has a query or a fragment; give these with each request")
    if port is not None and not 0 < port <= MAX_PORT:
        raise invalid(conn_id, "port", f"must be between 1 and {MAX_PORT}, not {port}")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    # The port belongs to the name; Airflow's hooks append it to the URL, where it is wrong after a path.
    base = urlunsplit((parts.scheme, name if port is None else f"{name}:{port}", parts.path, "", ""))
    login = None if parts.username is None else unquote(parts.username)
    return base, login, None if parts.password is None else unquote(parts.password)


def _headers(extras: Extras) -> dict[str, str]:
    headers = {}
    for name, value in extras.others(_OPTIONS).items():
        if value is None:
            continue
        if not _HEADER_NAME.fullmatch(name):
            raise extras.invalid(repr(name), "is no option, and cannot be the name of a header")
        # requests refuses it too, with each request.
        if not isinstance(value, str):
            raise extras.invalid(name, f"is a header, which must be a text, not of type {type(value).__name__}")
        if not value.isprintable():
            raise extras.invalid(name, "is a header, which cannot have line breaks or other control characters")
        headers[name] = value.strip()
    return headers


def read_verify(extras: Extras) -> bool | str:
    """Read whether the server has to prove who it is, or the file or folder of certificates to check that with."""
    name = "verify" if extras.get("verify") is not None else "verify_ssl"
    value = extras.get(name)
    if isinstance(value, str) and value.strip() and value.lower() not in ("true", "false"):
        return value.strip()
    return extras.boolean(name) is not False


def _certificate(extras: Extras) -> tuple[str, str | None] | None:
    value = extras.get("cert")
    if not value:
        return None
    files = [value] if isinstance(value, str) else value
    if isinstance(files, list) and all(isinstance(file, str) for file in files) and len(files) in (1, 2):
        return files[0], files[1] if len(files) > 1 else None
    raise extras.invalid("cert", "must be a file, or a list of the files of a certificate and of its key")


def _proxies(extras: Extras) -> dict[str, str]:
    name = "proxies" if extras.get("proxies") is not None else "proxy"
    value = extras.get(name)
    by_scheme: Mapping[str, object] = {"all": value} if isinstance(value, str) and value else {}
    if not isinstance(value, str):
        by_scheme = extras.mapping(name)
    proxies = {}
    for scheme, proxy in by_scheme.items():
        if proxy is None or proxy == "":
            continue
        # aiohttp speaks with a proxy in HTTP alone. The URL may have a password in it.
        if not isinstance(proxy, str) or urlsplit(proxy).scheme not in ("http", "https"):
            raise extras.invalid(name, f"must give an http:// URL for {scheme!r}")
        proxies[scheme] = proxy
    return proxies
