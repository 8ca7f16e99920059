# SPDX-License-Identifier: Apache-2.0
"""The database that tasks on several workers load files into: what was done twice is in it twice."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import NullPool, create_engine, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

_TABLES = {
    "tries": "run_id TEXT, map_index INTEGER, try_number INTEGER, host TEXT, pid INTEGER, parent_pid INTEGER",
    "loaded": "run_id TEXT, map_index INTEGER, try_number INTEGER, path TEXT, digest TEXT, at DOUBLE PRECISION",
}


@dataclass(frozen=True, order=True)
class Try:
    """A try that has begun: on which host, which process runs it, and which one supervises that."""

    run_id: str
    map_index: int
    try_number: int
    host: str
    pid: int
    parent_pid: int


@dataclass(frozen=True)
class Row:
    """A file that was loaded: by which try, and when, in seconds of the epoch."""

    run_id: str
    map_index: int
    try_number: int
    path: str
    digest: str
    at: float


class Warehouse:
    """
    What was loaded.

    :param url: what SQLAlchemy connects to
    """

    def __init__(self, url: str) -> None:
        # A connection for each use: the server may be killed between two of them.
        self._engine = create_engine(url, poolclass=NullPool)

    def create(self) -> None:
        """Make its tables, unless they are there."""
        with self._begin() as connection:
            for name, columns in _TABLES.items():
                connection.execute(text(f"CREATE TABLE IF NOT EXISTS {name} ({columns})"))

    def begin(self, begun: Try) -> None:
        """Write down that a try has begun."""
        with self._begin() as connection:
            connection.execute(
                text("INSERT INTO tries VALUES (:run_id, :map_index, :try_number, :host, :pid, :parent_pid)"),
                asdict(begun),
            )

    def insert(self, rows: Sequence[Row]) -> None:
        """Insert rows, all or none."""
        with self._begin() as connection:
            connection.execute(
                text("INSERT INTO loaded VALUES (:run_id, :map_index, :try_number, :path, :digest, :at)"),
                [asdict(row) for row in rows],
            )

    def tries(self, run_id: str) -> list[Try]:
        """Read which tries of a DAG run have begun."""
        found = self._select("SELECT * FROM tries WHERE run_id = :run_id", run_id=run_id)
        return sorted(Try(*row) for row in found)

    def rows(self, run_id: str) -> list[Row]:
        """Read what a DAG run has loaded."""
        return [Row(*row) for row in self._select("SELECT * FROM loaded WHERE run_id = :run_id", run_id=run_id)]

    def count(self, run_id: str) -> int:
        """Count the rows of a DAG run."""
        ((number,),) = self._select("SELECT count(*) FROM loaded WHERE run_id = :run_id", run_id=run_id)
        return int(number)

    def _select(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        with self._begin() as connection:
            return [tuple(row) for row in connection.execute(text(statement), parameters)]

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection
