# SPDX-License-Identifier: Apache-2.0
"""Headers go in and come out the same, or are refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.errors import InvalidMessage
from airflow_provider_async.smtp.prepare import prepare
from tests.smtp.reading import FROM, addresses, message, read, send

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=300)
ASCII = st.from_regex(re.compile(r"[ -~]{0,1200}", re.ASCII), fullmatch=True)


@given(TEXTS | ASCII)
def test_a_subject_comes_out_as_it_went_in(subject: str) -> None:
    assert str(send(subject=subject)["Subject"]) == subject.strip()


@given(st.text(max_size=80))
def test_any_text_is_a_subject_that_comes_out_again_or_is_refused(subject: str) -> None:
    try:
        parsed = send(subject=subject)
    except InvalidMessage:
        assert re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", subject)
        return
    assert str(parsed["Subject"]) == subject.strip()


@given(st.text(max_size=20), TEXTS | ASCII | st.text(max_size=80))
def test_any_further_header_comes_out_again_or_is_refused(name: str, value: str) -> None:
    try:
        mail = prepare(message(headers={name: value}))
    except InvalidMessage:
        return
    assert str(read(mail)[name]).strip() == value.strip()


@pytest.mark.parametrize("length", [70, 78, 79, 100, 500, 998, 5000])
@pytest.mark.parametrize("letter", ["x", "ü", "漢", "x ", "x  ", "="])
def test_a_long_subject_is_folded(letter: str, length: int) -> None:
    subject = (letter * length)[:length].strip()
    mail = prepare(message(subject=subject))
    assert str(read(mail)["Subject"]) == subject
    head = mail.content.split(b"\r\n\r\n")[0]
    if letter not in ("x", "="):
        assert max(map(len, head.split(b"\r\n"))) <= 78


@pytest.mark.parametrize(
    "subject", ["a\nBcc: eve@example.com", "a\r\n\r\nbody", "a\rb", "a\0b", "a\x85b", "a\u2028b", "\ud800"]
)
def test_a_line_end_in_a_subject_is_refused(subject: str) -> None:
    with pytest.raises(InvalidMessage, match="subject has"):
        prepare(message(subject=subject))


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"X-A": "b\r\nBcc: eve@example.com"}, "the header X-A has a control character in it"),
        ({"X-A: b\r\nBcc": "eve@example.com"}, "cannot be the name of a header"),
        ({"X A": "b"}, "cannot be the name of a header"),
        ({"X-Ä": "b"}, "cannot be the name of a header"),
        ({"": "b"}, "cannot be the name of a header"),
        ({"X-A": 7}, "the header X-A must be a text, not of type int"),
        ({"bcc": "eve@example.com"}, r"give bcc=\.\.\. instead of bcc"),
        ({"Subject": "b"}, r"give subject=\.\.\. instead of Subject"),
        ({"Content-Type": "text/html"}, "Content-Type is made of the body"),
        ({"mime-version": "1.0"}, "mime-version is made of the body"),
        ({"X-A": "b", "x-a": "c"}, "x-a is given twice"),
        ({"Sender": "eve"}, "Sender is no address, or"),
        ({"Message-ID": "<a b@example.com>"}, "Message-ID must be such as '<1@example.com>', not '<a b@example.com>'"),
        ({"Message-ID": "1"}, "Message-ID must be such as"),
        ({"Message-ID": "<1@x.org> <2@x.org>"}, "Message-ID must be such as"),
        ({"References": ""}, "References must be such as"),
    ],
)
def test_what_cannot_be_a_header_is_refused(headers: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidMessage, match=problem):
        prepare(message(headers=headers))


def test_further_headers() -> None:
    ids = [f"<{number}@example.com>" for number in range(30)]
    further = {
        "Auto-Submitted": "auto-generated",
        "X-Campaign": "Größe",
        "References": " ".join(ids),
        "In-Reply-To": ids[-1],
        "Message-ID": "<mine@example.com>",
        "Date": "Thu, 26 Nov 2026 12:00:00 +0000",
        "Sender": '"Doe, Jané" <robot@example.com>',
        "Resent-To": "jane@example.com, john@example.com",
    }
    mail = prepare(message(headers=further))
    parsed = read(mail)
    assert mail.message_id == "<mine@example.com>"
    assert mail.sender == "robot@example.com"
    assert addresses(parsed, "Sender") == [("Doe, Jané", "robot@example.com")]
    assert addresses(parsed, "Resent-To") == [("", "jane@example.com"), ("", "john@example.com")]
    for name in further.keys() - {"Sender", "Resent-To"}:
        assert parsed.get_all(name) == [further[name]]


def test_the_link_to_unsubscribe() -> None:
    links = ["https://example.com/u?a=1&b=2,3", "mailto:u@example.com?subject=stop"]
    parsed = send(unsubscribe=links, one_click=True)
    assert parsed["List-Unsubscribe"] == f"<{links[0]}>, <{links[1]}>"
    assert parsed["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    parsed = send(unsubscribe=links[1])
    assert parsed["List-Unsubscribe"] == f"<{links[1]}>"
    assert "List-Unsubscribe-Post" not in parsed
    assert "List-Unsubscribe" not in send(unsubscribe="")


@pytest.mark.parametrize(
    ("link", "one_click"),
    [
        ("http://example.com", False),
        ("https://example.com/a b", False),
        ("https://example.com/>,<https://eve.example", False),
        ("https://example.com/\r\nBcc: eve@example.com", False),
        ("https://exämple.com", False),
        ("https://example.com/" + "x" * 900, False),
        ("mailto:u@example.com", True),
        ("", True),
    ],
)
def test_a_link_to_unsubscribe_that_does_not_work_is_refused(link: str, one_click: bool) -> None:
    with pytest.raises(InvalidMessage, match="unsubscribe"):
        prepare(message(unsubscribe=link, one_click=one_click))


def test_who_sends() -> None:
    mail = prepare(message(from_=None, reply_to="help@example.com"), from_email="Shop <shop@example.org>")
    parsed = read(mail)
    assert mail.sender == "shop@example.org"
    assert addresses(parsed, "From") == [("Shop", "shop@example.org")]
    assert addresses(parsed, "Reply-To") == [("", "help@example.com")]
    assert mail.message_id.endswith("@example.org>")
    assert prepare(message(), from_email="other@example.org").sender == FROM
    assert prepare(message(return_path="bounces@example.com")).sender == "bounces@example.com"
    assert prepare(message(return_path="")).sender == ""
    assert "Return-Path" not in send(return_path="bounces@example.com")
    with pytest.raises(InvalidMessage, match="the message has no author: give from_"):
        prepare(message(from_=None))
