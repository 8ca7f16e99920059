# SPDX-License-Identifier: Apache-2.0
"""What an HTTP client is told: the options of a Connection and of a pool."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_async.core.checks import check_above_zero, check_at_least, check_concurrency
from airflow_provider_async.core.limits import ServerLimits
from airflow_provider_async.core.values import Concurrency, Rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_provider_async.core.shards import Shard
    from airflow_provider_async.http.auth import Auth

__all__ = ["HTTPOptions", "Rate", "bypasses"]

DEFAULT_MAX_CONCURRENCY = 16

#: Where the best number is found out, more are never tried.
MOST_AUTO_CONCURRENCY = 128

#: For reaching the server, and between two pieces of an answer.
DEFAULT_SECONDS = 60.0

#: For one answer that is read as a whole. A server that sends a byte now and then is given up after this.
DEFAULT_TOTAL_SECONDS = 300.0

DEFAULT_MAX_REDIRECTS = 10
DEFAULT_MAX_BODY_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class HTTPOptions:
    """
    A Connection, read and checked, with what a pool was given on top.

    :param conn_id: what errors call the Connection.
    :param base_url: what a URL that is not absolute is appended to; ``None`` if all are absolute.
    :param headers: sent with every request to the server and to ``allowed_hosts``.
    :param login: of the Connection.
    :param password: of the Connection.
    :param auth: what proves who asks; by default login and password, if there is a login.
    :param allowed_hosts: other hosts, as ``name`` or ``name:port``, that may have the headers and the login too.
    :param connect_seconds: how long reaching the server may take.
    :param read_seconds: how long the server may send nothing.
    :param total_seconds: how long one answer may take that is read as a whole.
    :param verify: whether the server has to prove who it is, or the file or folder of certificates to check that with.
    :param certificate: files of the client's certificate and of its key, which may be in the first too.
    :param proxies: by scheme, ``all`` or ``scheme://host``; and as ``no``, hosts that have none, with commas between.
    :param trust_env: whether proxies are looked for in the environment too.
    :param follows_redirects: whether redirects are followed.
    :param max_redirects: how many, one after the other.
    :param checks_status: whether a status of 400 or above is an error.
    :param max_concurrency: requests in flight, at most.
    :param is_auto: whether it is found out how many are best.
    :param rate: how many requests may begin in a time; evenly spread over it.
    :param limits: what the server takes from all tasks together.
    :param max_body_bytes: no answer that is read as a whole may be larger, after decompression.
    """

    conn_id: str
    base_url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    auth: Auth | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    connect_seconds: float = DEFAULT_SECONDS
    read_seconds: float = DEFAULT_SECONDS
    total_seconds: float | None = DEFAULT_TOTAL_SECONDS
    verify: bool | str = True
    certificate: tuple[str, str | None] | None = None
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    trust_env: bool = True
    follows_redirects: bool = True
    max_redirects: int = DEFAULT_MAX_REDIRECTS
    checks_status: bool = True
    max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    is_auto: bool = False
    rate: Rate | None = None
    limits: ServerLimits = field(default_factory=ServerLimits)
    max_body_bytes: int = DEFAULT_MAX_BODY_BYTES

    def within_limits(self, shard: Shard[Any] | None = None) -> Self:
        """
        Return the same, with no more requests than the server takes; each takes a connection.

        :param shard: if several tasks share the work: this one's part.
        :raises InvalidConnection: if there are fewer connections or requests than shards.
        """
        limits = replace(self.limits, rate=self.rate).share(shard, self.conn_id)
        most = limits.connections(limits.requests(self.max_concurrency))
        return replace(self, max_concurrency=most, rate=limits.rate)

    @staticmethod
    def concurrency(wanted: Concurrency | None) -> dict[str, Any]:
        """Return the options that say how many requests are in flight, as far as that is wanted."""
        if wanted is None:
            return {}
        is_auto = wanted == "auto"
        return {"max_concurrency": MOST_AUTO_CONCURRENCY if is_auto else wanted, "is_auto": is_auto}

    @classmethod
    def given(
        cls,
        *,
        max_concurrency: Concurrency | None,
        rate: Rate | None,
        total_timeout: float | None,
        max_body_bytes: int | None,
        allowed_hosts: Iterable[str],
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """
        Check what a pool is given, and return the options that win over those of its Connection.

        :raises TypeError: if the hosts are one text.
        :raises ValueError: if a number is none that it can be.
        """
        if isinstance(allowed_hosts, str):
            raise TypeError("allowed_hosts is one text, not an iterable of hosts")
        check_concurrency("max_concurrency", max_concurrency)
        check_at_least(1, max_body_bytes=max_body_bytes)
        check_above_zero(timeout=timeout, total_timeout=total_timeout, rate=rate)
        options: dict[str, Any] = {
            **cls.concurrency(max_concurrency),
            "rate": rate,
            "connect_seconds": timeout,
            "read_seconds": timeout,
            "total_seconds": total_timeout,
            "allowed_hosts": tuple(allowed_hosts) or None,
            "max_body_bytes": max_body_bytes,
        }
        return {name: value for name, value in options.items() if value is not None}

    def tls(self) -> ssl.SSLContext | bool:
        """
        Return what aiohttp makes TLS connections with; files are read here.

        :raises OSError: if a file is missing, or is not what it should be (``ssl.SSLError``).
        """
        if self.certificate is None and isinstance(self.verify, bool):
            return self.verify
        context = ssl.create_default_context()
        if self.verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif isinstance(self.verify, str):
            is_folder = Path(self.verify).is_dir()
            context = ssl.create_default_context(
                cafile=None if is_folder else self.verify, capath=self.verify if is_folder else None
            )
        if self.certificate is not None:
            context.load_cert_chain(*self.certificate)
        return context


def bypasses(proxies: Mapping[str, str], host: str) -> bool:
    """
    Tell whether a host is one of those that have no proxy.

    :param proxies: as in :class:`HTTPOptions`; a name under ``no`` stands for all that end so, with or without ``*.``.
    :param host: with its port, if it matters.
    """
    direct = proxies.get("no")
    if not direct:
        return False
    import urllib.request

    names = ",".join(name.strip().removeprefix("*.") for name in direct.split(","))
    return bool(urllib.request.proxy_bypass_environment(host, {"no": names}))  # type: ignore[attr-defined]
