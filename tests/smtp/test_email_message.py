# SPDX-License-Identifier: Apache-2.0
"""Messages that were made by the standard library."""

from __future__ import annotations

import copy
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import compat32, default
from typing import Any, cast

import pytest

from airflow_provider_async.errors import InvalidMessage
from airflow_provider_async.smtp.compose import Composer
from airflow_provider_async.smtp.prepare import message_key, prepare
from tests.smtp.reading import addresses, body, leaves, read


def made(text: str = "Hello\n", **headers: Any) -> EmailMessage:  # noqa: ANN401 - addresses among them
    message = EmailMessage()
    for name, value in {"From": "shop@example.com", "To": "jane@example.com", "Subject": "News", **headers}.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message


def test_it_is_sent_as_it_is_and_left_alone() -> None:
    message = made("Größe\n", To='"Doe, Jané" <jane@example.com>', Subject="Grüße", X_Campaign="Größe " * 30)
    message.add_alternative("<p>Größe</p>\n", subtype="html")
    message.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="Größe.pdf")
    before = copy.deepcopy(message)
    mail = prepare(message)
    parsed = read(mail)
    assert message.items() == before.items()
    assert addresses(parsed, "To") == [("Doe, Jané", "jane@example.com")]
    assert (parsed["Subject"], parsed["X-Campaign"]) == ("Grüße", ("Größe " * 30).strip())
    assert (body(parsed, "plain"), body(parsed, "html")) == ("Größe\n", "<p>Größe</p>\n")
    assert next(parsed.iter_attachments()).get_filename() == "Größe.pdf"
    assert (mail.sender, mail.recipients) == ("shop@example.com", ("jane@example.com",))
    assert parsed["Message-ID"] == mail.message_id
    assert "Message-ID" not in message


def test_bcc_is_in_the_envelope_and_nowhere_else() -> None:
    message = made(Cc="carl@example.com", Bcc=["secret@example.org", "jane@example.com"], Resent_Bcc="eve@example.com")
    mail = prepare(message)
    assert mail.recipients == ("jane@example.com", "carl@example.com", "secret@example.org")
    assert b"secret" not in mail.content
    assert b"Bcc" not in mail.content
    assert "Bcc" in message


def test_what_it_has_already_is_kept() -> None:
    message = made(Message_ID="<1@example.com>", Date="Thu, 26 Nov 2026 12:00:00 +0000", Return_Path="<b@example.com>")
    mail = prepare(message, from_email="other@example.com", run="a")
    assert (mail.message_id, mail.sender) == ("<1@example.com>", "b@example.com")
    assert read(mail)["Date"] == "Thu, 26 Nov 2026 12:00:00 +0000"
    assert "Return-Path" not in read(mail)
    assert message_key(message) == "<1@example.com>"


def test_what_it_lacks_is_made() -> None:
    message = made()
    del message["From"], message["To"]
    message["Bcc"] = "jane@example.com"
    mail = prepare(message, from_email="Shop <shop@example.org>", run="a")
    assert addresses(read(mail), "From") == [("Shop", "shop@example.org")]
    assert read(mail)["To"] == "undisclosed-recipients:;"
    assert mail.message_id == prepare(message, from_email="shop@example.org", run="a").message_id
    assert mail.message_id != prepare(made(), run="a").message_id
    assert message_key(made(Bcc="b@example.com")) == (("shop@example.com",), ("jane@example.com",), (), "News")


def test_several_authors_have_a_sender() -> None:
    mail = prepare(made(From="a@example.com, b@example.com", Sender="c@example.com"))
    assert mail.sender == "c@example.com"
    assert addresses(read(mail), "From") == [("", "a@example.com"), ("", "b@example.com")]


def test_a_message_that_was_read_from_a_file() -> None:
    raw = (
        b"From: shop@example.com\r\nTo: Jane\r\n <jane@example.com>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
        b"References: <1@example.com>\r\n\t<2@example.com>\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\xc3\xb6\xc3\x9fe\r\n'
    )
    mail = prepare(message_from_bytes(raw, policy=default))
    parsed = read(mail)
    assert not mail.is_8bit
    assert parsed["References"] == "<1@example.com> <2@example.com>"
    assert (parsed["Subject"], body(parsed, "plain").strip()) == ("Grüße", "Größe")


def test_a_message_of_the_old_policy() -> None:
    message = EmailMessage(policy=compat32)
    for name, value in (("From", "shop@example.com"), ("To", '"Doe, Jane" <jane@example.com>'), ("Subject", "News")):
        message[name] = value
    message.set_payload("Hello\n")
    mail = prepare(message)
    assert addresses(read(mail), "To") == [("Doe, Jane", "jane@example.com")]
    assert mail.content.endswith(b"\r\n\r\nHello\r\n")


def test_a_signed_part_is_not_changed() -> None:
    signed = EmailMessage()
    signed["Content-Type"] = "text/plain"
    signed["X-Long"] = "word " * 39 + "word"
    signed.set_payload("Hello\n")
    message = made()
    message.clear_content()
    message["Content-Type"] = 'multipart/signed; protocol="application/pgp-signature"'
    message.attach(signed)
    (part,) = leaves(read(prepare(message)))
    assert part["X-Long"] == "word " * 39 + "word"
    assert f"X-Long: {'word ' * 39}word\r\n".encode() in prepare(message).content


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({"To": "Doe, Jane <jane@example.com>"}, "To: "),
        ({"To": "jane"}, "To: "),
        ({"To": "Friends: jane@example.com;"}, "To has a named group of addresses"),
        ({"To": "undisclosed-recipients:;"}, "the message 'News' has no recipient"),
        ({"From": "a@example.com, b"}, "From: "),
        ({"Message_ID": "nonsense"}, "Message-ID must be such as"),
    ],
)
def test_what_cannot_be_sent_is_refused(headers: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidMessage, match=problem):
        prepare(made(**headers))


def test_without_an_author_it_is_refused() -> None:
    message = made()
    del message["From"]
    with pytest.raises(InvalidMessage, match="the message has no author"):
        prepare(message)


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(TypeError, match=r"a message is a Message or an email\.message\.EmailMessage, not of type str"):
        prepare(cast("Any", "Hello"))


async def test_a_pool_takes_it_too_large_ones_in_a_thread() -> None:
    composer = Composer(from_email="shop@example.org")
    plain, large = made(), made()
    large.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="a.pdf")
    for message in (plain, large):
        del message["From"]
        mail = await composer.compose(message, "a")
        assert mail.sender == "shop@example.org"
        assert mail.message_id == prepare(message, from_email="shop@example.org", run="a").message_id
