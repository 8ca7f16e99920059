# SPDX-License-Identifier: Apache-2.0
"""QuickXorHash is what the published algorithm says, however the bytes arrive."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.msgraph.quickxorhash import QuickXorHash


def by_the_book(data: bytes) -> bytes:
    """Hash byte by byte and bit by bit."""
    circle = [0] * 160
    for number, byte in enumerate(data):
        for bit in range(8):
            circle[(number * 11 + bit) % 160] ^= byte >> bit & 1
    digest = bytearray(sum(circle[at * 8 + bit] << bit for bit in range(8)) for at in range(20))
    for at, byte in enumerate(len(data).to_bytes(8, "little")):
        digest[12 + at] ^= byte
    return bytes(digest)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        (base64.b64decode("Sg=="), "SgAAAAAAAAAAAAAAAQAAAAAAAAA="),
        (base64.b64decode("tbQ="), "taAFAAAAAAAAAAAAAgAAAAAAAAA="),
        (base64.b64decode("0pZP"), "0rDEEwAAAAAAAAAAAwAAAAAAAAA="),
    ],
)
def test_short_data_have_the_hashes_that_onedrive_gives_them(data: bytes, expected: str) -> None:
    assert QuickXorHash(data).base64() == expected


@given(st.lists(st.binary(max_size=500), max_size=6))
def test_pieces_of_any_length_have_the_hash_of_the_whole(pieces: list[bytes]) -> None:
    hashed = QuickXorHash()
    for piece in pieces:
        hashed.update(piece)
    assert hashed.digest() == by_the_book(b"".join(pieces))
    assert hashed.digest() == by_the_book(b"".join(pieces))


def test_pieces_larger_than_what_is_combined_at_once_have_it_too() -> None:
    data = bytes(number * 7 % 251 for number in range(160 * 1024 * 2 + 77))
    hashed = QuickXorHash(data[:5])
    hashed.update(memoryview(data)[5:])

    assert hashed.digest() == QuickXorHash(data).digest() == by_the_book(data)
