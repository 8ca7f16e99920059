# SPDX-License-Identifier: Apache-2.0
"""Bodies, attachments, ids and recipients of messages."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.core.keys import hash_key
from airflow_provider_async.errors import InvalidMessage
from airflow_provider_async.smtp.message import Attachment, Message
from airflow_provider_async.smtp.prepare import message_key, prepare
from tests.smtp.reading import FROM, addresses, body, leaves, message, read, send

if TYPE_CHECKING:
    from pathlib import Path

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def lines(text: str) -> list[str]:
    """Split as mail does: at LF, CR and CRLF."""
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=500))
def test_a_text_comes_out_as_it_went_in(text: str) -> None:
    assert lines(body(send(text=text), "plain")) == lines(text)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=500))
def test_html_comes_out_as_it_went_in(html: str) -> None:
    assert lines(body(send(html=html, text="Hello"), "html")) == lines(html)


@pytest.mark.parametrize("text", ["x" * 3000, "ü" * 3000, ".\n..\n.", "From me\n", " \n\t\n", "a\0b", "\x1b[0m", "=20"])
def test_a_text_of_any_form_is_sent_in_7_bits_and_short_lines(text: str) -> None:
    mail = prepare(message(text=text))
    assert lines(body(read(mail), "plain")) == lines(text)
    assert not mail.is_8bit


def test_half_a_surrogate_pair_in_a_body_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="html has half a surrogate pair"):
        prepare(message(html="\ud800", text=None))
    with pytest.raises(InvalidMessage, match="text must be a text, not of type bytes"):
        prepare(message(text=b"Hello"))


def test_a_message_has_a_date_and_a_zone() -> None:
    date = send()["Date"].datetime
    assert timedelta() <= datetime.now(UTC) - date < timedelta(minutes=1)


def test_plain_text_is_made_of_html() -> None:
    parsed = send(text=None, html="<h1>Hello</h1><p>See <a href='https://example.com/a'>here</a></p>")
    assert parsed.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in leaves(parsed)] == ["text/plain", "text/html"]
    assert body(parsed, "plain").split() == ["Hello", "See", "[here](https://example.com/a)"]
    assert body(send(html="<p>a</p>", text="b"), "plain").strip() == "b"


def test_images_and_attachments_have_their_places(tmp_path: Path) -> None:
    (tmp_path / "report, Größe 1.pdf").write_bytes(b"%PDF")
    (tmp_path / "data.csv.gz").write_bytes(b"\x1f\x8b")
    parsed = send(
        html='<img src="cid:logo">',
        inline={"logo": Attachment(PNG, name="logo.png")},
        attachments=[
            tmp_path / "report, Größe 1.pdf",
            str(tmp_path / "data.csv.gz"),
            Attachment("ü".encode(), name="a.txt"),
        ],
    )
    assert [part.get_content_type() for part in parsed.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
        "application/octet-stream",
        "text/plain",
    ]
    image, pdf, data, text = list(leaves(parsed))[2:]
    assert (image["Content-ID"], image.get_content_disposition(), image.get_content()) == ("<logo>", "inline", PNG)
    assert (pdf.get_filename(), pdf.get_content()) == ("report, Größe 1.pdf", b"%PDF")
    assert (data.get_filename(), data.get_content()) == ("data.csv.gz", b"\x1f\x8b")
    assert (text.get_filename(), text.get_payload(decode=True)) == ("a.txt", "ü".encode())


@given(
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=200).filter(str.strip),
    st.binary(max_size=300),
    st.sampled_from(["", "application/pdf", "text/csv", "image/png"]),
)
def test_an_attachment_comes_out_as_it_went_in(name: str, content: bytes, kind: str) -> None:
    parsed = send(attachments=[Attachment(content, name=name, type=kind)])
    (attachment,) = parsed.iter_attachments()
    assert attachment.get_filename() == name.strip()
    assert attachment.get_payload(decode=True) == content
    assert not kind or attachment.get_content_type() == kind


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"attachments": ["/no/such/file"]}, "the attachment 'file' cannot be read: .*No such file"),
        ({"attachments": "report.pdf"}, "attachments must be a list of attachments, not one"),
        ({"attachments": [7]}, "an attachment is a path or bytes, not of type int"),
        ({"inline": {"logo": "/no/such/file.png"}, "html": "x"}, "the attachment 'file.png' cannot be read"),
        ({"inline": {"a>": "b.png"}, "html": "x"}, "inline: 'a>' cannot be the name of an image"),
        ({"inline": {"a": "b.png"}}, "inline is for images in html, which is not given"),
        ({"to": []}, "the message 'News' has no recipient"),
        ({"from_": "a@x.org, b@x.org"}, "from_ must be one address"),
        ({"from_": "Eve\r\n <a@x.org>"}, "from_ has a control character in it"),
        ({"return_path": "x"}, "return_path is no address, or"),
    ],
)
def test_what_cannot_be_sent_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidMessage, match=problem):
        prepare(message(**fields))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"content": b"x"}, "an attachment of bytes needs a name"),
        ({"content": b"x", "name": "a\r\nb"}, "the name of an attachment has a control character"),
        ({"content": b"x", "name": "a", "type": "pdf"}, "the attachment 'a' cannot be of the type 'pdf'"),
        ({"content": b"x", "name": "a", "type": "a/b\r\nc"}, "cannot be of the type"),
        ({"content": b"x", "name": "a", "type": "multipart/mixed"}, "cannot be of the type"),
    ],
)
def test_what_cannot_be_attached_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidMessage, match=problem):
        Attachment(**fields)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"text": None}, "the message 'News' has neither html nor text"),
        ({"to": 7}, "to must be an address or a list, not 7"),
        ({"key": 1.5}, "key must be a string, an integer or a tuple of these, not 1.5"),
    ],
)
def test_what_cannot_be_a_message_is_refused_where_it_is_made(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidMessage, match=problem):
        message(**fields)


def test_bcc_is_in_the_envelope_and_nowhere_else() -> None:
    mail = prepare(message(cc="Carl <carl@example.com>", bcc=["secret@example.org", "jane@example.com"]))
    assert mail.recipients == ("jane@example.com", "carl@example.com", "secret@example.org")
    assert b"secret" not in mail.content
    assert "Bcc" not in read(mail)
    assert addresses(read(mail), "Cc") == [("Carl", "carl@example.com")]


def test_recipients_that_nobody_sees() -> None:
    mail = prepare(message(to=(), bcc=["a@example.com", "b@example.com"]))
    assert mail.recipients == ("a@example.com", "b@example.com")
    assert read(mail)["To"] == "undisclosed-recipients:;"
    assert "To" not in send(to=(), cc="a@example.com")


def test_recipients_may_come_from_a_generator() -> None:
    made = message(to=(f"{name}@example.com" for name in "ab"))
    assert prepare(made).recipients == prepare(made).recipients == ("a@example.com", "b@example.com")


def test_a_message_shows_no_recipients_and_no_values_in_its_repr() -> None:
    made = message(bcc="secret@example.org", context={"password": "hunter2"})
    assert "secret" not in repr(made)
    assert "hunter2" not in repr(made)


def test_the_id_of_a_message_is_the_same_at_every_try_of_a_run_and_another_one_elsewhere() -> None:
    first = prepare(message(), run="a").message_id
    assert first == prepare(message(text="Another content", bcc="b@example.com"), run="a").message_id
    others = [
        prepare(message(), run="b"),
        prepare(message(), run=None),
        prepare(message(), run=None),
        prepare(message(subject="Other news"), run="a"),
        prepare(message(to="john@example.com"), run="a"),
        prepare(message(to=(), cc="jane@example.com"), run="a"),
        prepare(message(key=1), run="a"),
        prepare(message(key="1"), run="a"),
    ]
    assert len({first, *(mail.message_id for mail in others)}) == 1 + len(others)
    assert all(mail.message_id.endswith("@example.com>") for mail in others)


def test_a_message_has_a_key_to_resume_by() -> None:
    made = Message(
        to="Jane <jane@example.com>", cc="carl@example.com", bcc="b@x.org", from_=FROM, subject="News", text="x"
    )
    assert message_key(made) == ((FROM,), ("jane@example.com",), ("carl@example.com",), "News")
    assert message_key(message(key=("order", 7))) == ("order", 7)
    assert hash_key(message_key(made)) == hash_key(message_key(message(cc="carl@example.com")))
