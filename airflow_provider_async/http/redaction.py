# SPDX-License-Identifier: Apache-2.0
"""Messages without secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from yarl import URL

__all__ = ["Redactor", "secret_headers"]

_MASK = "***"

#: Shorter ones stand in every second word, so that a message without them would tell them.
_SHORTEST_SECRET = 4

#: What a message quotes of a body, in characters.
EXCERPT_CHARACTERS = 500

_SECRET_NAME = re.compile(
    r"auth|cookie|credential|passw|pwd|secret|session|signature|token|(^|[-_.])(key|sig|code|pass)$|(api|access)[-_]?key",
    re.IGNORECASE,
)

#: Where a listing goes on is no secret, and errors of pagination name it.
_CURSOR_NAME = re.compile(r"(continuation|cursor|delta|next|page|resume|skip|start|sync)[-_]?token$", re.IGNORECASE)


def secret_headers(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return the values of the headers whose names say that they are secret; of "Bearer x", the x too."""
    values = [value for name, value in headers.items() if _SECRET_NAME.search(name)]
    return (*values, *(value.rpartition(" ")[2] for value in values))


class Redactor:
    """
    Takes secrets out of texts.

    :param secrets: returns those of the moment.
    """

    def __init__(self, secrets: Callable[[], Iterable[str]]) -> None:
        self._secrets = secrets

    def text(self, text: str) -> str:
        """Return a text with each secret replaced, as it is and as it stands in a URL."""
        for secret in self._sorted():
            for form in {secret, quote(secret, safe=""), quote_plus(secret), quote(secret)}:
                text = text.replace(form, _MASK)
        return text

    def url(self, url: URL) -> str:
        """Return a URL without a login and with each parameter replaced whose name says that it is secret."""
        if url.user is not None or url.password is not None:
            url = url.with_user(None)
        parts = url.raw_query_string.split("&") if url.raw_query_string else []
        shown = [
            f"{name}={_MASK}" if value and _SECRET_NAME.search(name) and not _CURSOR_NAME.search(name) else part
            for part in parts
            for name, _, value in (part.partition("="),)
        ]
        base = str(url.with_query(None).with_fragment(None))
        return self.text(f"{base}?{'&'.join(shown)}" if shown else base)

    def excerpt(self, body: bytes, characters: int = EXCERPT_CHARACTERS) -> str:
        """
        Return the beginning of a body.

        :param body: the bytes.
        :param characters: how many at most.
        """
        longest = max(map(len, self._sorted()), default=0)
        # Enough to find a secret at the end of what is shown; one that this cuts in two is cut off.
        enough = 4 * characters + 12 * longest
        text = self.text(body[:enough].decode("utf-8", "replace"))
        if len(body) > enough:
            text = text[: max(0, len(text) - 3 * longest)]
        return text[:characters]

    def _sorted(self) -> list[str]:
        # The longest first: one may be a part of another.
        return sorted({secret for secret in self._secrets() if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)
