# SPDX-License-Identifier: Apache-2.0
"""A notification from a real triggerer, for a deadline that was missed."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from system_tests.support.hosts import COMPONENT
from system_tests.support.processes import Component
from tests.servers.mailbox import running_mailbox
from tests.smtp.reading import body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from system_tests.support.airflow import Airflow

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.long,
    pytest.mark.skipif(find_spec("airflow.sdk.definitions.deadline") is None, reason="Airflow 3.0 has no deadlines"),
]

WITHIN_SECONDS = 120


@pytest.fixture
def triggerer(airflow: Airflow) -> Iterator[Component]:
    """Run what calls the callbacks of deadlines, which no other test needs."""
    component = Component(
        "triggerer",
        [sys.executable, "-m", "airflow", "triggerer", "--skip-serve-logs"],
        environment=airflow.environment | {COMPONENT: "triggerer"},
        log=airflow.home / "triggerer.log",
    )
    component.start()
    try:
        yield component
    finally:
        component.kill()


def test_a_missed_deadline_is_told_of_once(airflow: Airflow, triggerer: Component) -> None:
    with running_mailbox() as mailbox:
        extra = '{"disable_ssl": true, "disable_tls": true, "from_email": "shop@example.com"}'
        connection = {"connection_id": "smtp_default", "conn_type": "smtp", "host": "127.0.0.1", "port": mailbox.port}
        airflow.client.create_connections([connection | {"extra": extra}])
        airflow.wait_for_dags("miss_deadline")

        run_id = airflow.client.trigger("miss_deadline")

        def is_told() -> bool:
            triggerer.check()
            return bool(mailbox.mails)

        airflow.wait_for("the mail about the deadline", is_told, timeout_seconds=WITHIN_SECONDS)
        (mail,) = mailbox.mails
        assert (mail["To"], mail["Subject"]) == ("planners@example.com", "miss_deadline: notification")
        assert body(mail, "plain").strip() == f"{run_id} is late"
