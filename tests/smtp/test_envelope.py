# SPDX-License-Identifier: Apache-2.0
"""A mail in the words of SMTP."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.smtp.envelope import (
    Extensions,
    address_problem,
    dot_stuffed,
    mail_command,
    mail_problem,
    normal_lines,
    rcpt_command,
    split,
)
from tests.smtp.conftest import mail

EVERYTHING = Extensions.of({"pipelining": "", "chunking": "", "8bitmime": "", "smtputf8": "", "size": "1000"})


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a"]), max_size=30).map(b"".join))
def test_no_content_has_an_end_of_its_own(content: bytes) -> None:
    lines = normal_lines(content)
    assert lines.endswith(b"\r\n")
    assert lines.count(b"\r") == lines.count(b"\n") == lines.count(b"\r\n")
    sent = dot_stuffed(lines)
    # Where the first lone dot is, there is the end; and a server that takes the dots away has the content again.
    assert (b"\r\n" + sent).find(b"\r\n.\r\n") == len(sent) - 3
    received = [line[1:] if line.startswith(b".") else line for line in sent[:-3].split(b"\r\n")]
    assert b"\r\n".join(received) == lines


def test_what_a_server_offers_is_read() -> None:
    assert (
        Extensions(pipelining=True, chunking=True, eight_bit=True, smtputf8=True, knows_size=True, most_bytes=1000)
        == EVERYTHING
    )
    assert Extensions.of({"size": ""}).most_bytes is None
    assert Extensions.of({"size": "0"}).most_bytes is None
    assert Extensions.of({}) == Extensions()


@pytest.mark.parametrize(
    ("fields", "extensions", "parameters"),
    [
        ({}, Extensions(), ""),
        ({}, EVERYTHING, " SIZE=7"),
        ({"is_8bit": True}, EVERYTHING, " SIZE=7 BODY=8BITMIME"),
        ({"needs_smtputf8": True}, EVERYTHING, " SIZE=7 SMTPUTF8"),
    ],
)
def test_the_first_command_says_what_is_special(
    fields: dict[str, bool], extensions: Extensions, parameters: str
) -> None:
    command = mail_command(mail(1, sender="a@b.example", **fields), ["c@b.example"], 7, extensions)
    assert command == f"MAIL FROM:<a@b.example>{parameters}\r\n".encode()


def test_a_recipient_beyond_ascii_needs_smtputf8() -> None:
    command = mail_command(mail(1, sender=""), ["jürgen@b.example"], 7, Extensions())
    assert command == b"MAIL FROM:<> SMTPUTF8\r\n"
    assert rcpt_command("jürgen@b.example") == "RCPT TO:<jürgen@b.example>\r\n".encode()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, None),
        ({"sender": ""}, None),
        ({"needs_smtputf8": True}, "does not offer SMTPUTF8"),
        ({"is_8bit": True}, "does not offer 8BITMIME"),
        ({"sender": "a\r\nRCPT TO:<x@y>"}, "the sender 'a"),
        ({"sender": "ä@b.example"}, "the sender 'ä@b.example' is not ASCII"),
    ],
)
def test_what_a_server_does_not_take_is_known_before(fields: dict[str, object], problem: str | None) -> None:
    found = mail_problem(mail(1, **fields), 10, Extensions())
    assert (found is None) if problem is None else (problem in str(found))


def test_a_mail_that_is_too_large_is_known_before() -> None:
    assert mail_problem(mail(1), 1000, EVERYTHING) is None
    problem = mail_problem(mail(1), 1001, EVERYTHING)
    assert problem == "the message has 1001 bytes, and the server takes 1000 at most"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a@",
        "@b",
        "a b@c",
        "a@b c",
        "a@b\r\nDATA",
        "a\0@b",
        "a\u2028@b",
        "<a@b>",
        "a@b>",
        "a,c@b",
        "a@b@c",
        'a"@b',
        "a" * 250 + "@b.example",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    assert address_problem(address, allows_utf8=True) is not None


@pytest.mark.parametrize("address", ["a@b", "a.b+c@d.example", '"a b"@c.example', "a@[127.0.0.1]", "ü@ü.example"])
def test_what_is_an_address_is_taken(address: str) -> None:
    assert address_problem(address, allows_utf8=True) is None
    assert (address_problem(address, allows_utf8=False) is None) == address.isascii()


def test_many_recipients_go_in_several_envelopes() -> None:
    assert split("abcde", 2) == [("a", "b"), ("c", "d"), ("e",)]
