# SPDX-License-Identifier: Apache-2.0
"""The database that the tasks of the resume tests load files into: what was done twice is in it twice."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tries (map_index INTEGER, number INTEGER, pid INTEGER, parent_pid INTEGER);
CREATE TABLE IF NOT EXISTS rows (map_index INTEGER, try_number INTEGER, path TEXT, digest TEXT, at REAL);
"""


@dataclass(frozen=True)
class Try:
    """A try that has begun: which process runs it, and which one supervises that."""

    map_index: int
    number: int
    pid: int
    parent_pid: int


@dataclass(frozen=True)
class Row:
    """A file that was loaded: by which try, and when, in seconds of the epoch."""

    map_index: int
    try_number: int
    path: str
    digest: str
    at: float


class Ledger:
    """
    What was loaded in one DAG run.

    :param path: the database's file; made if it is missing
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connect() as connection:
            # Readers and writers don't wait for each other.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)

    def begin(self, begun: Try) -> None:
        """Write down that a try has begun."""
        with self._connect() as connection, connection:
            connection.execute("INSERT INTO tries VALUES (?, ?, ?, ?)", astuple(begun))

    def insert(self, rows: list[Row]) -> None:
        """Insert rows, all or none."""
        with self._connect() as connection, connection:
            connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?)", map(astuple, rows))

    def tries(self) -> list[Try]:
        """Read which tries have begun."""
        return [Try(*found) for found in self._select("SELECT * FROM tries ORDER BY rowid")]

    def rows(self) -> list[Row]:
        """Read what was loaded, in the order of its loading."""
        return [Row(*found) for found in self._select("SELECT * FROM rows ORDER BY rowid")]

    def count(self) -> int:
        """Count the rows."""
        ((number,),) = self._select("SELECT count(*) FROM rows")
        return int(number)

    def _select(self, statement: str) -> Iterator[tuple[Any, ...]]:
        with self._connect() as connection:
            yield from connection.execute(statement).fetchall()

    def _connect(self) -> AbstractContextManager[sqlite3.Connection]:
        return closing(sqlite3.connect(self._path, timeout=60))
