# SPDX-License-Identifier: Apache-2.0
"""Addresses go in and come out the same, or are refused."""

from __future__ import annotations

import re
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.utils import getaddresses
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_async.errors import InvalidMessage
from airflow_provider_async.smtp.addresses import Mailbox, format_mailboxes, read_mailbox, read_mailboxes
from airflow_provider_async.smtp.prepare import prepare
from tests.smtp.reading import addresses, message, read, send

if TYPE_CHECKING:
    from airflow_provider_async.smtp.addresses import Addresses

CHARACTERS = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"])
# As many always fit into one encoded word.
NAMES = st.text(CHARACTERS, max_size=11) | st.from_regex(re.compile(r"[ -~]{0,40}", re.ASCII), fullmatch=True)
ATOMS = st.text("abcXYZ019!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=12)
LOCAL_PARTS = st.lists(ATOMS, min_size=1, max_size=4).map(".".join)
LABELS = st.from_regex(re.compile(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", re.ASCII), fullmatch=True)
#: Of a plain message, all of them.
HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"]
DOMAINS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


@given(st.lists(st.tuples(NAMES, LOCAL_PARTS, DOMAINS), min_size=1, max_size=8, unique_by=lambda one: one[1:]))
def test_names_and_addresses_come_out_as_they_went_in(people: list[tuple[str, str, str]]) -> None:
    parsed = send(to=[Address(name, local, domain) for name, local, domain in people])
    # Space at the ends of a name, and runs of it, are no part of it.
    found = [(" ".join(name.split()), address) for name, address in addresses(parsed, "To")]
    assert found == [(" ".join(name.split()), f"{local}@{domain}") for name, local, domain in people]


@given(st.text(CHARACTERS, max_size=200))
def test_a_name_of_any_length_comes_out_as_it_went_in(name: str) -> None:
    # Between two encoded words of a name, today's parser of the standard library keeps the space of the fold.
    header = format_mailboxes("To", [Mailbox(name.strip(), "jane@example.com")])
    assert max(map(len, header.split("\r\n"))) <= 78
    (found, _), *others = getaddresses([header.replace("\r\n", "")])
    assert not others
    assert str(make_header(decode_header(found))) == name.strip()


@example("¡@example.com")
@given(st.text(max_size=60) | st.from_regex(r"[ -~]{0,30}@[ -~\r\n]{0,30}", fullmatch=True))
def test_any_text_is_an_address_that_comes_out_again_or_is_refused(text: str) -> None:
    try:
        mail = prepare(message(to=text))
    except InvalidMessage:
        return
    parsed = read(mail)
    assert tuple(address for _, address in addresses(parsed, "To")) == mail.recipients
    assert all(
        "@" in recipient and not re.search(r"[\r\n\0<>]", recipient.split('"')[-1]) for recipient in mail.recipients
    )
    assert sorted(parsed.keys()) == sorted(HEADERS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jane@example.com", [("", "jane@example.com")]),
        ("Jane@Example.COM", [("", "Jane@Example.COM")]),
        ("Jane Doe <jane@example.com>", [("Jane Doe", "jane@example.com")]),
        ("<jane@example.com>", [("", "jane@example.com")]),
        ('"Doe, Jane" <jane@example.com>', [("Doe, Jane", "jane@example.com")]),
        ('"Doe, Jané" <jane@example.com>', [("Doe, Jané", "jane@example.com")]),
        ("Jané Doe <jane@example.com>", [("Jané Doe", "jane@example.com")]),
        (r'"Jane \"J\" Doe" <jane@example.com>', [('Jane "J" Doe', "jane@example.com")]),
        ("a@example.com, B <b@example.com>", [("", "a@example.com"), ("B", "b@example.com")]),
        ("=?utf-8?q?Jan=C3=A9?= <jane@example.com>", [("Jané", "jane@example.com")]),
        ("root@localhost", [("", "root@localhost")]),
        ("ops@mail.corp.local", [("", "ops@mail.corp.local")]),
        ("ops@mail_1.example.com", [("", "ops@mail_1.example.com")]),
        ('"jane doe"@example.com', [("", '"jane doe"@example.com')]),
        ("jane+news@example.com", [("", "jane+news@example.com")]),
        ("o'neil@example.com", [("", "o'neil@example.com")]),
        ("jane@[192.0.2.1]", [("", "jane@[192.0.2.1]")]),
        ("jane@[IPv6:2001:db8::1]", [("", "jane@[IPv6:2001:db8::1]")]),
        ("jane@münchen.de", [("", "jane@xn--mnchen-3ya.de")]),
        ("jane@faß.de", [("", "jane@xn--fa-hia.de")]),
        ("jané@example.com", [("", "jané@example.com")]),
    ],
)
def test_what_is_an_address(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(one.name, one.address) for one in read_mailboxes(text, "to")] == expected
    mail = prepare(message(to=text))
    assert list(mail.recipients) == [address for _, address in expected]
    if not mail.needs_smtputf8:
        assert addresses(read(mail), "To") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "jane",
        "jane@",
        "@example.com",
        "jane@example.com\r\nBcc: eve@example.com",
        "jane@example.com\nRCPT TO:<eve@example.com>",
        "Jane\r\nBcc: eve@example.com <jane@example.com>",
        "Doe, Jane <jane@example.com>",
        "jane@example.com; john@example.com",
        "jane doe@example.com",
        "jane@exa mple.com",
        "jane@@example.com",
        "jane..doe@example.com",
        ".jane@example.com",
        "jane@example..com",
        "jane@-example.com",
        "jane@" + "x" * 64 + ".com",
        "x" * 65 + "@example.com",
        "jane@[300.0.0.1]",
        "jane@[192.0.2.1",
        "jane@ex\u00a0ample.com",
        "jane@ü..de",
        "ja\u00a0ne@example.com",
        "Friends: jane@example.com;",
        "undisclosed-recipients:;",
        "jane@example.com\0",
        "\ud800@example.com",
        "jane@example.com>, <eve@example.com",
    ],
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidMessage, match="to"):
        prepare(message(to=text))


@pytest.mark.parametrize("value", [7, b"jane@example.com", {"jane@example.com": 1}, [7]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidMessage, match="cc"):
        read_mailboxes(cast("Addresses", value), "cc")


def test_an_address_that_is_given_twice_is_one() -> None:
    assert read_mailboxes(["a@x.org", "A <a@x.org>", "b@x.org"], "to") == (
        Mailbox("", "a@x.org"),
        Mailbox("", "b@x.org"),
    )


def test_one_address_is_not_two() -> None:
    assert read_mailbox("a@x.org", "from_") == Mailbox("", "a@x.org")
    with pytest.raises(InvalidMessage, match=r"from_ must be one address, not 2: 'a@x.org, b@x.org'"):
        read_mailbox("a@x.org, b@x.org", "from_")


def test_a_local_part_beyond_ascii_asks_for_smtputf8_and_a_domain_does_not() -> None:
    assert prepare(message(to="jané@example.com")).needs_smtputf8
    assert prepare(message(to="jane@example.com", bcc="jané@example.com")).needs_smtputf8
    plain = prepare(message(to="Jané <jane@münchen.de>", subject="Grüße", text="Grüße"))
    assert (plain.needs_smtputf8, plain.is_8bit) == (False, False)


def test_hundreds_of_recipients_are_folded() -> None:
    people = [f'"Doe, Jané {number}" <jane{number}@example.com>' for number in range(300)]
    parsed = send(to=people)
    assert addresses(parsed, "To") == [(f"Doe, Jané {number}", f"jane{number}@example.com") for number in range(300)]
