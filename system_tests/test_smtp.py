# SPDX-License-Identifier: Apache-2.0
"""The example DAGs for mail, on real Airflow processes, against a server that keeps what it takes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from system_tests.support.browser import find_chromium, open_browser
from system_tests.support.client import RUN_ENDED
from tests.servers.mailbox import running_mailbox
from tests.smtp.reading import body

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

    from system_tests.support.airflow import Airflow
    from tests.servers.mailbox import Mailbox

# Airflow's start is part of the first one's time.
pytestmark = pytest.mark.timeout(900)

WITHIN_SECONDS = 240

CUSTOMERS = 300
FAILURES = 12

#: Where a picture for the documentation goes, if one is wanted.
PICTURES = os.environ.get("SYSTEM_TEST_PICTURES")


@pytest.fixture(scope="module")
def mailbox(airflow: Airflow) -> Iterator[Mailbox]:
    with running_mailbox() as running:
        extra = '{"disable_ssl": true, "disable_tls": true, "from_email": "Tea & Co. <shop@example.com>"}'
        connection = {"connection_id": "smtp_default", "conn_type": "smtp", "host": "127.0.0.1", "port": running.port}
        airflow.client.create_connections([connection | {"extra": extra}])
        airflow.wait_for_dags("send_statements", "send_announcement", "tell_of_failures")
        yield running


@dataclass(frozen=True)
class Run:
    """A DAG run."""

    airflow: Airflow
    dag_id: str
    run_id: str

    @property
    def has_ended(self) -> bool:
        return self.airflow.client.run_state(self.dag_id, self.run_id) in RUN_ENDED

    def wait(self) -> None:
        self.airflow.wait_for(f"the end of {self.dag_id}", lambda: self.has_ended, timeout_seconds=WITHIN_SECONDS)

    def returned(self, task_id: str) -> Any:  # noqa: ANN401 - JSON
        """Wait for the run's end, and return what a task of it has returned, which has succeeded."""
        self.wait()
        (task,) = (t for t in self.airflow.client.task_instances(self.dag_id, self.run_id) if t.task_id == task_id)
        assert task.state == "success", self.airflow.client.log(task).text
        return self.airflow.client.returned(task)


def start(airflow: Airflow, dag_id: str, **params: object) -> Run:
    return Run(airflow, dag_id, airflow.client.trigger(dag_id, params))


def about(mailbox: Mailbox, subject: str) -> list[EmailMessage]:
    return [mail for mail in mailbox.mails if subject in mail["Subject"]]


def test_each_customer_gets_one_mail_of_its_own(airflow: Airflow, mailbox: Mailbox) -> None:
    run = start(airflow, "send_statements", customers=CUSTOMERS)

    report = run.returned("send")

    assert (report["sent"], report["refusals"]) == (CUSTOMERS, [])
    mails = about(mailbox, "Your ")
    assert len(mails) == len({mail["Message-ID"] for mail in mails}) == CUSTOMERS
    by_address = {mail["To"].addresses[0].addr_spec: mail for mail in mails}
    for number in range(CUSTOMERS):
        mail = by_address[f"customer{number}@example.com"]
        assert mail["To"].addresses[0].display_name == f"Doe, Jané ({number})"
        assert mail["From"].addresses[0].display_name == "Tea & Co."
        assert f"Dear Jané Doe {number}," in body(mail, "plain")
        assert f"c={number}>" in mail["List-Unsubscribe"]
        assert "Pu-Erh &amp; ginger" in body(mail, "html") or number % 2
    take_picture(by_address["customer0@example.com"])


def take_picture(mail: EmailMessage) -> None:
    if PICTURES is None or find_chromium() is None:
        return
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": 640, "height": 420})
        page.set_content(body(mail, "html"))
        page.screenshot(path=Path(PICTURES, "mail.png"), full_page=True)


def test_a_dry_run_writes_the_same_mails_into_a_folder(airflow: Airflow, mailbox: Mailbox, tmp_path: Path) -> None:
    before = len(mailbox.envelopes)
    run = start(airflow, "send_statements", customers=20, folder=str(tmp_path))

    assert run.returned("send")["sent"] == 20
    assert len(list(tmp_path.glob("customer*.eml"))) == 20
    assert len(mailbox.envelopes) == before


def test_all_customers_get_the_same_mail_in_batches(airflow: Airflow, mailbox: Mailbox) -> None:
    run = start(airflow, "send_announcement", customers=CUSTOMERS)

    assert run.returned("bcc_recipients")["sent"] == CUSTOMERS
    envelopes = [
        envelope for envelope in mailbox.envelopes if b"Subject: Closed on" in (envelope.original_content or b"")
    ]
    assert sorted(len(envelope.rcpt_tos) for envelope in envelopes) == [50] * (CUSTOMERS // 50)
    recipients = {recipient for envelope in envelopes for recipient in envelope.rcpt_tos}
    assert recipients == {f"customer{number}@example.com" for number in range(CUSTOMERS)}
    mails = about(mailbox, "Closed on 27 November")
    assert len({mail["Message-ID"] for mail in mails}) == 1
    assert not any(re.search(rb"customer\d", envelope.original_content or b"") for envelope in envelopes)
    assert run.run_id in body(mails[0], "plain")


def test_each_failure_is_told_of_once(airflow: Airflow, mailbox: Mailbox) -> None:
    run = start(airflow, "tell_of_failures", tables=FAILURES)

    run.wait()

    failed = [t for t in airflow.client.task_instances(run.dag_id, run.run_id) if t.task_id == "load"]
    assert [task.state for task in failed] == ["failed"] * FAILURES

    # A callback runs when the state is known, and on some versions to those who ask, too.
    def are_told() -> bool:
        return len(about(mailbox, "tell_of_failures.load: failed")) >= FAILURES

    airflow.wait_for("the mails about the tasks", are_told, timeout_seconds=WITHIN_SECONDS)
    mails = about(mailbox, "tell_of_failures.load: failed")
    by_index = {int(re.findall(r"Map index +(\d+)", body(mail, "plain"))[0]): body(mail, "plain") for mail in mails}
    assert set(by_index) == set(range(FAILURES))
    # 3.0 may fail a task that was never begun, because a worker asked for it before the scheduler had committed that it
    # is queued: then there is no error to tell of.
    begun = [task.map_index for task in failed if task.started is not None]
    assert begun
    assert all(f"table {table} is locked" in by_index[table] for table in begun)
    assert all(run.run_id in body(mail, "html") for mail in mails)

    # That of the run comes from the DAG processor, some time later.
    def is_told() -> bool:
        return bool(about(mailbox, "tell_of_failures: task_failure"))

    airflow.wait_for("the mail about the run", is_told, timeout_seconds=WITHIN_SECONDS)
    (mail,) = about(mailbox, "tell_of_failures: task_failure")
    assert mail["To"] == "managers@example.com"
    assert run.run_id in body(mail, "plain")
    assert len(about(mailbox, "tell_of_failures.load: failed")) == FAILURES
