# SPDX-License-Identifier: Apache-2.0
"""Bytes and files are sent portion by portion, and from their beginning each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow_provider_async.http.piece import Piece, WholeFile

if TYPE_CHECKING:
    from pathlib import Path

    from aiohttp.abc import AbstractStreamWriter


class Writer:
    def __init__(self) -> None:
        self.portions: list[bytes] = []

    async def write(self, portion: bytes | memoryview) -> None:
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


async def test_a_file_is_sent_from_its_beginning_each_time_and_no_more_than_its_length(tmp_path: Path) -> None:
    data = bytes(range(256)) * 2500
    path = tmp_path / "data.bin"
    path.write_bytes(data + b"what came later")
    whole = WholeFile(path, len(data))
    for _ in range(2):
        writer = Writer()
        await whole.write(cast("AbstractStreamWriter", writer))
        assert b"".join(writer.portions) == data
        assert max(map(len, writer.portions)) == 256 * 1024
    assert whole.size == len(data)
    assert whole.decode("latin-1") == (data + b"what came later").decode("latin-1")
