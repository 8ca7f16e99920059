# SPDX-License-Identifier: Apache-2.0
"""Plain text is made of HTML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.smtp.text import text_of

TAGS = st.sampled_from(
    ["<p>", "</p>", "<table>", "<tr><td>", "<br>", "<!--", "-->", "<", ">", "&amp;", "&#0;", "<a href='x'>", "<ul><li>"]
)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        (" \n", ""),
        ("plain", "plain\n"),
        ("R&amp;D Gr&ouml;&szlig;e &#8364;", "R&D Größe €\n"),
        ("<p>one</p><p>two</p>", "one\n\ntwo\n"),
        ("<p>one</p><br><br><br><p>two</p>", "one\n\ntwo\n"),
        ("one<br>two", "one\ntwo\n"),
        ("<ul><li>one</li><li>two</li></ul>", "* one\n  * two\n"),
        ("<a href='https://example.com/a?b=1&amp;c=2'>here</a>", "[here](https://example.com/a?b=1&c=2)\n"),
        (
            "<table><tr><th>Tea</th><th>Euros</th></tr><tr><td>Assam</td><td>4.90</td></tr></table>",
            "Tea    Euros\nAssam  4.90\n",
        ),
        ("<html><head><title>T</title><style>p {color: red}</style></head><body>shown</body></html>", "shown\n"),
        ("<script>alert(1)</script>shown<!-- not -->", "shown\n"),
        ("<div style='display: none'>preview</div>shown", "shown\n"),
        ("<div>\n  <p>one</p>\n  <table>\n  <tr><td>two</td></tr></table></div>", "one\n\ntwo\n"),
        ("<span>Te</span><span>a</span>", "Tea\n"),
        ("<p>not closed <b>bold", "not closed bold\n"),
        ("<!-- nothing -->", ""),
        ("<?xml version='1.0' encoding='utf-8'?><p>Größe</p>", "Größe\n"),
        ("<meta charset='latin-1'><p>Größe</p>", "Größe\n"),
        ("a\0b", "a\ufffdb\n"),
    ],
)
def test_what_is_made_of_it(html: str, text: str) -> None:
    assert text_of(html) == text


@given(st.lists(TAGS | st.text(max_size=5)).map("".join))
def test_whatever_is_no_html_is_some_text(html: str) -> None:
    text = text_of(html)
    assert text == "" or text.endswith("\n")
