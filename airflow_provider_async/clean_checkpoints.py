# SPDX-License-Identifier: Apache-2.0
"""
``python -m airflow_provider_async.clean_checkpoints`` removes Variables that tasks left which never succeeded.

To be run where Airflow's own command line runs, as it works on Airflow's database.
"""

from __future__ import annotations

import argparse
import re
import sys
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_async.runtime.stores import KEY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

DAYS = 30

_DATE = re.compile(r"Written on (\d{4}-\d\d-\d\d)\.$")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Remove old ones.

    :param arguments: of the command line
    :return: the exit code
    """
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_async.clean_checkpoints",
        description="Remove checkpoints that Variables keep of tasks which never succeeded.",
    )
    parser.add_argument("--older-than-days", type=int, default=DAYS, metavar="N", help=f"default: {DAYS}")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be removed")
    options = parser.parse_args(arguments)
    if options.older_than_days < 0:
        parser.error("--older-than-days must not be negative")
    before = datetime.now(UTC).date() - timedelta(days=options.older_than_days)
    removed = remove(before=before, dry_run=options.dry_run)
    sys.stdout.write(f"{'would remove' if options.dry_run else 'removed'} {removed} Variables\n")
    return 0


def remove(*, before: date, dry_run: bool) -> int:
    """
    Remove the Variables of checkpoints that were written before a day.

    :param before: the day, in UTC
    :param dry_run: only tell what would be removed
    :return: how many they are
    """
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        # Not their values, each of which is large and would be decrypted.
        found = session.query(Variable.key, Variable.description).filter(
            Variable.key.startswith(KEY_PREFIX, autoescape=True)
        )
        old = [(key, text) for key, text in found if (written := _written_on(text)) is not None and written < before]
        for key, text in old:
            sys.stdout.write(f"{key}: {text}\n")
            if not dry_run:
                session.query(Variable).filter(Variable.key == key).delete()
    return len(old)


def _written_on(description: str | None) -> date | None:
    found = _DATE.search(description or "")
    return None if found is None else date.fromisoformat(found[1])


if __name__ == "__main__":
    sys.exit(main())
