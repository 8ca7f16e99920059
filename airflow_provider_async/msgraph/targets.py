# SPDX-License-Identifier: Apache-2.0
"""What a caller asks for: a URL, or a request of msgraph-sdk's builders."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, unquote_plus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kiota_abstractions.request_information import RequestInformation


__all__ = ["GraphParams", "Target", "TargetRequest", "resolve", "with_params"]

#: A path, which is appended to the pool's URL; an absolute URL; or what a request builder of msgraph-sdk makes.
Target: TypeAlias = "str | RequestInformation"

#: For the query: texts, numbers, booleans, ``None``, which is left out, and lists, which are joined by commas.
GraphParams: TypeAlias = "Mapping[str, object]"

#: What msgraph-sdk has in URLs for "me", and its transport replaces.
_ME = "/users/me-token-to-replace"

#: RFC 3986, section 3.4, without what separates parameters and without "+", which servers read as a blank.
_SAFE = "!$'()*,/:;?@"


@dataclass(frozen=True, kw_only=True)
class TargetRequest:
    """
    What is to be sent.

    :param method: in capitals.
    :param url: a path or an absolute URL, with its query.
    :param headers: those of the caller.
    :param content: the body, encoded.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None


def resolve(
    target: Target,
    *,
    base_url: str,
    method: str | None = None,
    params: GraphParams | None = None,
    headers: Mapping[str, str] | None = None,
) -> TargetRequest:
    """
    Make one kind of request of all that callers may give.

    :param target: a URL or a request of msgraph-sdk, whose server and version are replaced by the pool's.
    :param base_url: the pool's URL.
    :param method: by default the target's own, or ``GET``.
    :param params: added to the query, in place of those of the same name that stand in the URL.
    :param headers: win over the target's own.
    :raises ValueError: if the target has another method.
    """
    if isinstance(target, str):
        return TargetRequest(
            method=(method or "GET").upper(), url=with_params(target, params), headers=dict(headers or {})
        )
    if not hasattr(target, "url_template"):
        raise TypeError(f"a URL is a text or a RequestInformation of msgraph-sdk, not of type {type(target).__name__}")
    own = target.http_method
    verb = "GET" if own is None else str(own.value).upper()
    if method is not None and verb != method.upper():
        raise ValueError(f"the RequestInformation is one of {verb}, not of {method.upper()}")
    request = copy.copy(target)
    request.path_parameters = {**target.path_parameters, "baseurl": base_url.rstrip("/")}
    url = request.url.replace(_ME, "/me")
    return TargetRequest(
        method=verb,
        url=with_params(url, params),
        headers={**(target.request_headers or {}), **(headers or {})},
        content=target.content,
    )


def with_params(url: str, params: GraphParams | None) -> str:
    """
    Return a URL with parameters, in place of those of the same name.

    :param url: with or without a query.
    :param params: ``None`` is left out, ``True`` is ``true``, a list is joined by commas.
    """
    # Another way of writing a blank, "+", is none to OData.
    url = url.replace(" ", "%20")
    if not params:
        return url
    path, _, query = url.partition("?")
    kept = [part for part in query.split("&") if part and unquote_plus(part.partition("=")[0]) not in params]
    added = [
        f"{quote(name, safe=_SAFE)}={quote(_text(one), safe=_SAFE)}" for name, one in params.items() if one is not None
    ]
    query = "&".join([*kept, *added])
    return f"{path}?{query}" if query else path


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    raise TypeError(f"a parameter is a text, a number, true or false, or a list of texts, not {value!r}")
