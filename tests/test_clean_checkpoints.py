# SPDX-License-Identifier: Apache-2.0
"""The command that removes abandoned Variables."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from airflow.models.variable import Variable
from airflow.utils import session as airflow_session
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from airflow_provider_async import clean_checkpoints
from airflow_provider_async.runtime.stores import CURSOR_PREFIX, KEY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator


def written(days_ago: int) -> str:
    return f"head of a task. Written on {datetime.now(UTC) - timedelta(days=days_ago):%F}."


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Give a database that has Variables."""
    engine = create_engine("sqlite://", future=True)  # SQLAlchemy 1.4 comes with Airflow 3.0
    columns = "id INTEGER PRIMARY KEY, key TEXT, val TEXT, description TEXT, is_encrypted BOOLEAN, team_name TEXT"
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE TABLE variable ({columns})")
        for key, description in {
            f"{KEY_PREFIX}a.old": written(40),
            f"{KEY_PREFIX}a.newer": written(20),
            f"{KEY_PREFIX}a.not_ours": None,
            f"{KEY_PREFIX}a.undated": "Written long ago.",
            f"{CURSOR_PREFIX}a": written(40),
            "async_checkpoint_of_somebody": written(40),
            "other": written(40),
        }.items():
            connection.exec_driver_sql(
                "INSERT INTO variable (key, val, description) VALUES (?, 'v', ?)", (key, description)
            )
        connection.commit()
        with Session(connection, future=True) as session:

            @contextmanager
            def create_session() -> Iterator[Session]:
                yield session
                session.commit()

            monkeypatch.setattr(airflow_session, "create_session", create_session)
            yield session
    engine.dispose()


def removed(session: Session) -> set[str]:
    keys = {key.removeprefix(KEY_PREFIX + "a.") for (key,) in session.query(Variable.key)}
    return {"old", "newer", "not_ours", "undated", "async_checkpoint_of_somebody", "other", f"{CURSOR_PREFIX}a"} - keys


@pytest.mark.parametrize(
    ("arguments", "expected", "last_line"),
    [
        ([], {"old"}, "removed 1 Variables"),
        (["--dry-run"], set(), "would remove 1 Variables"),
        (["--older-than-days", "10"], {"old", "newer"}, "removed 2 Variables"),
        (["--older-than-days", "50"], set(), "removed 0 Variables"),
    ],
)
def test_old_ones_are_removed_and_no_others(
    database: Session, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: set[str], last_line: str
) -> None:
    assert clean_checkpoints.main(arguments) == 0
    assert removed(database) == expected
    assert capsys.readouterr().out.splitlines()[-1] == last_line


def test_a_number_of_days_is_not_negative(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        clean_checkpoints.main(["--older-than-days", "-1"])
    assert "must not be negative" in capsys.readouterr().err
