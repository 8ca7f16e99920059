# SPDX-License-Identifier: Apache-2.0
"""Plain text made of HTML."""

from __future__ import annotations

import re

__all__ = ["text_of"]

_EMPTY_LINES = re.compile(r"\n\s*\n\s*\n")


def text_of(html: str) -> str:
    """
    Make the plain text of a message of its HTML, tables and lists laid out, with where links lead.

    :param html: a document or a part of one.
    """
    if not html.strip():
        return ""
    # It brings lxml, which a DAG file is parsed without.
    from inscriptis import get_text
    from inscriptis.css_profiles import CSS_PROFILES
    from inscriptis.model.config import ParserConfig

    # "strict" is as browsers do; by default, what is in a `div` is indented.
    text = get_text(html, ParserConfig(css=CSS_PROFILES["strict"], display_links=True))
    text = _EMPTY_LINES.sub("\n\n", "\n".join(line.rstrip() for line in text.splitlines())).strip()
    return f"{text}\n" if text else ""
