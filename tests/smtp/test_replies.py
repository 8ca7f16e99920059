# SPDX-License-Identifier: Apache-2.0
"""What a server answers, in pieces of any size."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.smtp.replies import ProtocolError, Reply, ReplyReader

STREAM = b"250-first\r\n250-second line\r\n250 2.0.0 Ok\r\n354\r\n550 no such \xc3\xbcser\r\n421 closing\n"
REPLIES = [
    Reply(250, "first second line 2.0.0 Ok"),
    Reply(354, ""),
    Reply(550, "no such üser"),
    Reply(421, "closing"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=10))
def test_replies_are_the_same_however_they_are_cut(cuts: list[int]) -> None:
    reader = ReplyReader()
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in itertools.pairwise(places)]
    assert [reply for piece in pieces for reply in reader.feed(piece)] == REPLIES


@pytest.mark.parametrize("line", [b"hello\r\n", b"2500 no\r\n", b"099 no\r\n", b"\r\n", b"250+no\r\n", b"600 no\r\n"])
def test_what_is_no_reply_is_an_error_and_those_before_it_count(line: bytes) -> None:
    reader = ReplyReader()
    heard: list[Reply] = []
    with pytest.raises(ProtocolError, match="no answer of SMTP"):
        heard.extend(reader.feed(b"250 ok\r\n" + line))
    assert heard == [Reply(250, "ok")]


@pytest.mark.parametrize("endless", [b"x" * 70_000, b"250-more\r\n" * 10_000])
def test_an_answer_without_end_is_an_error(endless: bytes) -> None:
    with pytest.raises(ProtocolError, match="has no end"):
        list(ReplyReader().feed(endless))


def test_a_text_is_short_and_goes_into_a_terminal() -> None:
    (reply,) = ReplyReader().feed(b"550 \x1b[31m" + b"x" * 5000 + b"\xff\r\n")
    assert reply.text.startswith("?[31mxx")
    assert len(reply.text) == 1000


def test_the_first_digit_says_what_kind_it_is() -> None:
    kinds = [(reply.is_positive, reply.is_intermediate, reply.is_final) for reply in REPLIES]
    assert kinds == [(True, False, False), (False, True, False), (False, False, True), (False, False, False)]
