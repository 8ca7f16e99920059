# SPDX-License-Identifier: Apache-2.0
"""Many bytes are sent portion by portion, and from their beginning each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow_provider_async.http.piece import Piece

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter


class Writer:
    def __init__(self) -> None:
        self.portions: list[bytes] = []

    async def write(self, portion: memoryview) -> None:
        self.portions.append(bytes(portion))


async def test_a_piece_is_sent_from_its_beginning_each_time() -> None:
    data = bytes(range(256)) * 2500
    piece = Piece(data)
    for _ in range(2):
        writer = Writer()
        await piece.write(cast("AbstractStreamWriter", writer))
        assert b"".join(writer.portions) == data
        assert max(map(len, writer.portions)) == 256 * 1024
    assert piece.size == len(data)
    assert Piece(b"text").decode() == "text"
