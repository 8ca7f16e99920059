# SPDX-License-Identifier: Apache-2.0
"""Links to the next page: the ``Link`` header (RFC 8288), and what follows from any link."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast
from urllib.parse import urldefrag, urljoin, urlsplit

from airflow_provider_async.errors import PaginationError
from airflow_provider_async.http.requests import redacted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from airflow_provider_async.http.requests import PageRequest, PageResponse

__all__ = ["Link", "follow", "links", "next_link"]

#: The parts of RFC 8288, appendix B.3, without what is around them.
_TARGET = re.compile(r"[\s,]*<([^>]*)>")
_PARAMETER = re.compile(r"\s*;\s*([^\s=;,\"]*)\s*(?:=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;,\"]*)))?")
#: A link that is as it should be: absolute or from the root, without fragment or anything else to be put right.
_PLAIN = re.compile(r"(https?://[A-Za-z0-9.:-]+)?(/(?!/)[!\"$-:<->@-~]*(?:\?[!\"$-~]+)?)")
_REST = re.compile(r"(?:[^,\"]|\"(?:[^\"\\]|\\.)*\"?)*")


@dataclass(frozen=True)
class Link:
    """
    One link of a ``Link`` header.

    :param target: the URL, which may be relative.
    :param parameters: of each name, in lower case, the first value.
    """

    target: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def is_related(self, relation: str) -> bool:
        """Tell whether it leads from this page to what stands in such a relation to it."""
        return relation in self.parameters.get("rel", "").lower().split() and "anchor" not in self.parameters


def links(headers: Mapping[str, str]) -> list[Link]:
    """
    Return the links of all ``Link`` headers of an answer.

    :param headers: with ``getall``, as aiohttp's have it, if a header may be there several times.
    """
    get_all = getattr(headers, "getall", None)
    values = get_all("Link", []) if get_all is not None else [headers.get("Link", headers.get("link", ""))]
    return [link for value in values for link in _links(value)]


def _links(text: str) -> Iterator[Link]:
    at = 0
    while (target := _TARGET.match(text, at)) is not None:
        at = target.end()
        parameters: dict[str, str] = {}
        while (parameter := _PARAMETER.match(text, at)) is not None:
            at = parameter.end()
            name, quoted, token = parameter.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token or ""
            parameters.setdefault(name.lower(), value)
        yield Link(target[1].strip(), parameters)
        # What cannot be read belongs to this link, until the next comma.
        at = cast("re.Match[str]", _REST.match(text, at)).end()


def next_link(headers: Mapping[str, str]) -> str | None:
    """Return where ``Link`` headers say that the next page is, if they do."""
    return next((link.target for link in links(headers) if link.is_related("next")), None)


def follow(
    request: PageRequest, response: PageResponse, link: str, *, keep_params: Collection[str] = ()
) -> PageRequest:
    """
    Return the request for what a link leads to.

    The link's own parameters are all that it has: those of the page before are not added to them.

    :param request: for the page that has the link.
    :param response: the page that has the link.
    :param link: absolute, or relative to that page.
    :param keep_params: names of parameters that are taken from the page before if the link does not have them.
    :raises PaginationError: if it is no link of HTTP.
    """
    following = request.at_link(_joined(response.url, link.strip()))
    if not keep_params:
        return following
    kept = {name: value for name in keep_params if following.param(name) is None and (value := request.param(name))}
    return following.with_params(kept) if kept else following


def _joined(base: str, link: str) -> str:
    # Most links need no more than this, which takes a fraction of the time.
    if (plain := _PLAIN.fullmatch(link)) is not None and "/." not in link:
        if plain[1]:
            return link
        if (page := _PLAIN.fullmatch(base)) is not None and page[1]:
            return f"{page[1]}{link}"
    url = urldefrag(urljoin(base, link)).url
    if urlsplit(url).scheme not in ("http", "https"):
        raise PaginationError(f"the link to the next page is none of HTTP: {redacted(url)}")
    return url
