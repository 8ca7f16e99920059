# SPDX-License-Identifier: Apache-2.0
"""
Where a request may go, and with what.

Headers of a Connection and its login belong to one origin: scheme, host and port (RFC 6454). What a server says to
ask next may lead elsewhere, but without them, and never from a public host to a private address.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, TypeAlias

from aiohttp.abc import AbstractResolver
from aiohttp.resolver import DefaultResolver
from yarl import URL

from airflow_provider_async.errors import UnsafeURL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from aiohttp.abc import ResolveResult

__all__ = [
    "Origin",
    "PublicResolver",
    "TrustedOrigins",
    "append",
    "as_given",
    "check_address",
    "is_public_address",
    "is_public_host",
    "link_of",
    "origin_of",
    "safe_headers",
]

#: Scheme, host and port.
Origin: TypeAlias = "tuple[str, str | None, int | None]"

#: Headers that say what is wanted, and nothing about who wants it.
_SAFE_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "content-range",
        "content-type",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "prefer",
        "range",
        "user-agent",
    }
)

#: IPv4 addresses are reached through these too (RFC 6052).
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def origin_of(url: URL) -> Origin:
    """Return what a login belongs to."""
    return url.scheme, url.host, url.port


def safe_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of a caller's headers that another host may have."""
    return {name: value for name, value in headers.items() if name.lower() in _SAFE_HEADERS}


def as_given(url: str) -> URL:
    """
    Return a URL that a server gave, as it is: another way of writing the same would spoil a signature.

    :param url: absolute or relative.
    :raises ValueError: if it is no URL.
    """
    is_written_well = url.isascii() and url.isprintable() and " " not in url
    return URL(url, encoded=is_written_well)


def link_of(url: str) -> URL:
    """
    Return an absolute URL that a server gave, as it is.

    :param url: absolute.
    :raises ValueError: if a login stands in it, or it is of another scheme.
    """
    return _checked(as_given(url))


def _checked(absolute: URL) -> URL:
    if absolute.scheme not in ("http", "https") or not absolute.host:
        raise ValueError(f"a URL must be of http or https and name a host; this one begins with {absolute.scheme}://")
    if absolute.raw_user is not None or absolute.raw_password is not None:
        raise ValueError("a URL with a login in it would stand in logs; give auth=..., or use a Connection")
    return absolute


def append(base: URL | None, url: str) -> URL:
    """
    Return an absolute URL.

    :param base: what a path is appended to, its own path included, as Airflow's hooks do.
    :param url: a path, with or without a query, or an absolute URL.
    :raises ValueError: if there is nothing to append to, or a login stands in the URL, or it is of another scheme.
    """
    scheme, separator, _ = url.partition("://")
    if separator and scheme.isalpha():
        return _checked(URL(url))
    if base is None:
        raise ValueError(f"{url.partition('?')[0]!r} is no absolute URL, and the Connection names no host")
    if url.startswith("//"):
        raise ValueError(f"{url.partition('?')[0]!r} names a host without a scheme")
    if not url or url[0] == "?":
        return URL(f"{base}{url}")
    return URL(f"{str(base).rstrip('/')}/{url.lstrip('/')}")


class TrustedOrigins:
    """
    The origins that may have the headers and the login of a Connection.

    :param base: its base URL, if it has one.
    :param allowed_hosts: further ones, as ``name`` or ``name:port``.
    """

    def __init__(self, base: URL | None, allowed_hosts: Iterable[str]) -> None:
        self._base = None if base is None else origin_of(base)
        self._allowed: set[Origin] = set()
        for entry in allowed_hosts:
            host = URL(f"https://{entry}")
            if not host.host or host.path != "/" or host.raw_user is not None or "://" in entry:
                raise ValueError(f"allowed_hosts are like 'name' or 'name:port', not {entry!r}")
            self._allowed.add(("https", host.host, host.port))
            # Unencrypted only where the Connection itself is.
            if base is None or base.scheme == "http":
                self._allowed.add(("http", host.host, host.explicit_port or 80))

    def is_trusted(self, url: URL, chosen: Origin | None) -> bool:
        """
        Tell whether a URL may have the headers and the login.

        :param url: where the request goes.
        :param chosen: without a base URL: the origin that the caller has chosen.
        """
        origin = origin_of(url)
        return origin == (self._base or chosen) or origin in self._allowed


def is_public_address(text: str) -> bool:
    """Tell whether an address is one of the internet, and not of this machine or a network of one's own."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            address = inner
    return address.is_global and not address.is_multicast


async def is_public_host(host: str) -> bool:
    """Tell whether a host has a public address; one that has none here, such as behind a proxy, is taken for public."""
    if _is_address(host):
        return is_public_address(host)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return True
    return any(is_public_address(str(address[4][0])) for address in found)


def check_address(url: URL) -> None:
    """
    Refuse a URL whose host is written as a private address.

    :raises UnsafeURL: naming the host.
    """
    host = url.host or ""
    if _is_address(host) and not is_public_address(host):
        raise _private(host)


class PublicResolver(AbstractResolver):
    """Finds the addresses of names, and refuses a name that has a private one."""

    def __init__(self) -> None:
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """
        Find the addresses of a name.

        :raises UnsafeURL: if one of them is private.
        """
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public_address(result["host"]) for result in found):
            raise _private(host)
        return found

    async def close(self) -> None:
        """Give up the resolver beneath."""
        await self._resolver.close()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _private(host: str) -> UnsafeURL:
    return UnsafeURL(f"a public server's link or redirect leads to {host!r}, which is a private address")
