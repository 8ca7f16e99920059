# SPDX-License-Identifier: Apache-2.0
"""What is said on one connection, and which answer belongs to what."""

from __future__ import annotations

import pytest

from airflow_provider_async.smtp.delivery import Delivery, Shipment
from airflow_provider_async.smtp.dialogue import PIECE_BYTES, Dialogue, Transaction
from airflow_provider_async.smtp.replies import ProtocolError, Reply
from tests.smtp.conftest import mail

ENVELOPE = b"MAIL %d\r\nRCPT %d 0\r\nDATA\r\n"


def transaction(number: int, recipients: int = 1, content: bytes = b"") -> Transaction:
    delivery = Delivery(mail(number), b"", tuple(map(str, range(recipients))), Shipment(None, number, recipients))
    commands = [b"RCPT %d %d\r\n" % (number, index) for index in range(recipients)]
    content = content or b"content %d\r\n.\r\n" % number
    return Transaction(delivery, sender=b"MAIL %d\r\n" % number, recipients=commands, content=content)


def is_free(dialogue: Dialogue) -> bool:
    """Tell what changes between two lines of a test, which a type checker would not see."""
    return dialogue.takes_another


def sent(dialogue: Dialogue) -> bytes:
    return b"".join(iter(dialogue.next_piece, b""))


def codes(one: Transaction) -> tuple[object, ...]:
    def code(reply: Reply | None) -> int | None:
        return None if reply is None else reply.code

    return code(one.to_sender), [code(reply) for reply in one.to_recipients], code(one.to_data), code(one.to_content)


def test_an_end_goes_with_the_next_beginning() -> None:
    dialogue, first, second = Dialogue(pipelining=True), transaction(1), transaction(2)
    dialogue.begin(first)
    assert sent(dialogue) == ENVELOPE % (1, 1)
    assert not is_free(dialogue)
    dialogue.receive(b"250 a\r\n250 b\r\n354 c\r\n")
    assert is_free(dialogue)
    dialogue.begin(second)
    assert sent(dialogue) == b"content 1\r\n.\r\n" + ENVELOPE % (2, 2)
    assert first.is_written
    assert dialogue.owes_content
    dialogue.receive(b"250 d\r\n250 e\r\n550 f\r\n554 g\r\n")
    assert [codes(one) for one in dialogue.ended] == [(250, [250], None, 250), (250, [550], 554, None)]
    assert dialogue.is_idle


def test_without_pipelining_each_answer_is_waited_for() -> None:
    dialogue, one = Dialogue(pipelining=False), transaction(1, 2)
    dialogue.begin(one)
    said = []
    for answer in (b"250\r\n", b"550\r\n", b"250\r\n", b"354\r\n"):
        said.append(sent(dialogue))
        assert not is_free(dialogue)
        dialogue.receive(answer)
    assert said == [b"MAIL 1\r\n", b"RCPT 1 0\r\n", b"RCPT 1 1\r\n", b"DATA\r\n"]
    assert sent(dialogue) == one.content
    assert not is_free(dialogue)
    dialogue.receive(b"250\r\n")
    assert codes(one) == (250, [550, 250], None, 250)
    assert is_free(dialogue)


@pytest.mark.parametrize(
    ("answers", "then"),
    [
        ([b"550\r\n"], b"MAIL 2\r\n"),
        ([b"250\r\n", b"550\r\n"], b"RSET\r\n"),
        ([b"250\r\n", b"250\r\n", b"451\r\n"], b"RSET\r\n"),
    ],
)
def test_without_pipelining_nothing_is_said_in_vain(answers: list[bytes], then: bytes) -> None:
    dialogue, one = Dialogue(pipelining=False), transaction(1)
    dialogue.begin(one)
    for answer in answers:
        assert sent(dialogue)
        dialogue.receive(answer)
    assert dialogue.ended == [one]
    dialogue.begin(transaction(2))
    assert sent(dialogue) == then
    if then == b"RSET\r\n":
        dialogue.receive(b"250\r\n")
        assert sent(dialogue) == b"MAIL 2\r\n"


def test_a_dot_is_sent_where_nobody_is_left_and_one_is_waited_for() -> None:
    dialogue, first, second = Dialogue(pipelining=True), transaction(1, 2), transaction(2)
    dialogue.begin(first)
    sent(dialogue)
    dialogue.receive(b"250\r\n550\r\n450\r\n354\r\n")
    assert dialogue.ended == [first]
    dialogue.begin(second)
    assert sent(dialogue) == b".\r\n" + ENVELOPE % (2, 2)
    assert not first.is_written
    dialogue.receive(b"554 no valid recipients\r\n250\r\n250\r\n354\r\n")
    sent(dialogue)
    dialogue.receive(b"250\r\n")
    assert codes(second) == (250, [250], None, 250)


def test_a_refused_data_is_followed_by_rset() -> None:
    dialogue, first = Dialogue(pipelining=True), transaction(1)
    dialogue.begin(first)
    sent(dialogue)
    dialogue.receive(b"250\r\n550\r\n554\r\n")
    dialogue.begin(transaction(2))
    assert sent(dialogue) == b"RSET\r\n" + ENVELOPE % (2, 2)


def test_whole_mails_follow_one_another_with_chunking() -> None:
    dialogue = Dialogue(pipelining=True, window=2)
    both = [transaction(1, content=b"abc\r\n"), transaction(2, content=b"de\r\n")]
    for one in both:
        assert is_free(dialogue)
        dialogue.begin(one)
    assert not is_free(dialogue)
    assert sent(dialogue) == (
        b"RSET\r\nMAIL 1\r\nRCPT 1 0\r\nBDAT 5 LAST\r\nabc\r\nRSET\r\nMAIL 2\r\nRCPT 2 0\r\nBDAT 4 LAST\r\nde\r\n"
    )
    dialogue.receive(b"250\r\n250\r\n250\r\n250\r\n250\r\n")
    assert is_free(dialogue)
    dialogue.lose()
    assert [codes(one) for one in dialogue.ended] == [(250, [250], None, 250), (None, [None], None, None)]
    assert both[1].is_written


def test_a_window_is_bounded_in_bytes_too() -> None:
    dialogue = Dialogue(pipelining=True, window=100)
    dialogue.begin(transaction(1, content=b"x" * 2_000_000))
    assert not is_free(dialogue)


def test_a_large_content_goes_in_pieces_and_its_end_last() -> None:
    content = b"x" * (2 * PIECE_BYTES) + b"\r\n.\r\n"
    dialogue, one = Dialogue(pipelining=True), transaction(1, content=content)
    dialogue.begin(one)
    sent(dialogue)
    dialogue.receive(b"250\r\n250\r\n354\r\n")
    pieces = []
    while piece := dialogue.next_piece():
        pieces.append(piece)
        assert one.is_written == (len(pieces) == 3)
    assert b"".join(pieces) == content


@pytest.mark.parametrize("content", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_no_piece_is_lost(content: int) -> None:
    dialogue, one = Dialogue(pipelining=True), transaction(1, content=b"x" * content)
    dialogue.begin(one)
    sent(dialogue)
    dialogue.receive(b"250\r\n250\r\n354\r\n")
    assert len(sent(dialogue)) == content
    assert one.is_written


@pytest.mark.parametrize(
    ("heard", "known"),
    [
        (b"421 a\r\n", (421, [None, None], None, None)),
        (b"250\r\n250\r\n421 a\r\n", (250, [250, 421], None, None)),
        (b"250\r\n250\r\n250\r\n421 a\r\n", (250, [250, 250], 421, None)),
        (b"250\r\n250\r\n250\r\n354\r\n421 a\r\n", (250, [250, 250], None, 421)),
    ],
)
def test_a_farewell_belongs_to_what_is_first_and_nothing_follows(heard: bytes, known: tuple[object, ...]) -> None:
    dialogue, one, behind = Dialogue(pipelining=True), transaction(1, 2), transaction(2)
    dialogue.begin(one)
    sent(dialogue)
    for line in heard.splitlines(keepends=True):
        dialogue.receive(line)
        if is_free(dialogue):
            dialogue.begin(behind)
            sent(dialogue)
    dialogue.receive(b"250 too late\r\n")
    assert codes(one) == known
    assert dialogue.ended[0] is one
    assert not any(ended.is_blamed for ended in dialogue.ended)
    assert dialogue.is_closing
    assert not is_free(dialogue)
    assert sent(dialogue) == b""


def test_a_farewell_that_nothing_asked_for_ends_the_connection() -> None:
    dialogue = Dialogue(pipelining=True)
    dialogue.receive(b"421 idle for too long\r\n")
    assert dialogue.is_closing
    assert dialogue.ended == []


def test_a_loss_is_blamed_on_the_first_alone() -> None:
    dialogue, first, second = Dialogue(pipelining=True), transaction(1), transaction(2)
    dialogue.begin(first)
    sent(dialogue)
    dialogue.receive(b"250\r\n250\r\n354\r\n")
    dialogue.begin(second)
    sent(dialogue)
    dialogue.lose()
    dialogue.lose()
    assert [(one, one.is_blamed, one.is_written) for one in dialogue.ended] == [
        (first, True, True),
        (second, False, False),
    ]


@pytest.mark.parametrize(
    ("heard", "ended"),
    [
        (b"250\r\n250\r\n250\r\n", (250, [250], None, None)),
        (b"354\r\n", (None, [None], None, None)),
        (b"550\r\n250\r\n354\r\n", (550, [250], None, None)),
        (b"250\r\nwhat?\r\n", (250, [None], None, None)),
        (b"250\r\n250\r\n354\r\n334\r\n", (250, [250], None, None)),
    ],
)
def test_an_answer_that_makes_no_sense_ends_all_and_loses_nobody(heard: bytes, ended: tuple[object, ...]) -> None:
    dialogue, one = Dialogue(pipelining=True), transaction(1)
    dialogue.begin(one)
    sent(dialogue)
    with pytest.raises(ProtocolError):  # noqa: PT012 - which line it is does not matter
        for line in heard.splitlines(keepends=True):
            dialogue.receive(line)
            sent(dialogue)
    assert dialogue.ended == [one]
    assert codes(one) == ended
    assert dialogue.is_closing


def test_an_answer_to_nothing_makes_no_sense() -> None:
    with pytest.raises(ProtocolError, match="answered what was not asked: 250 hello"):
        Dialogue(pipelining=True).receive(b"250 hello\r\n")
