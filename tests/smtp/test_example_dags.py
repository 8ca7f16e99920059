# SPDX-License-Identifier: Apache-2.0
"""What the example DAGs send, without Airflow's processes; the system tests run them in those."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow import sdk

from airflow_provider_async.example_dags import example_smtp
from airflow_provider_async.runtime import connections
from tests.servers.mailbox import running_mailbox
from tests.smtp.reading import Fields, body

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage
    from pathlib import Path

    from tests.servers.mailbox import Mailbox


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with running_mailbox() as mailbox:

        async def get_connection(_: str) -> Fields:
            return Fields(mailbox.port)

        monkeypatch.setattr(connections, "get_connection", get_connection)
        yield mailbox


def task(dag: sdk.DAG, task_id: str, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ANN401 - its function
    context = {
        "dag": dag,
        "run_id": "manual__1",
        "dag_run": SimpleNamespace(run_after=datetime(2026, 11, 26, tzinfo=UTC)),
    }
    monkeypatch.setattr(sdk, "get_current_context", lambda: context)
    operator: Any = dag.get_task(task_id)
    return operator.python_callable


async def test_statements(mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send = task(example_smtp.send_statements(), "send", monkeypatch)
    assert (await send("3", ""))["sent"] == 3
    assert (await send("2", str(tmp_path)))["sent"] == 2
    parsed = read_all(tmp_path)
    assert len(mailbox.mails) == 3
    assert [mail["Subject"] for mail in parsed] == ["Your 3 orders", "Your 2 orders"]
    text = body(parsed[0], "plain")
    assert "This is what you have ordered until 26 November 2026:" in text
    rows = [line.rsplit(None, 1) for line in text.splitlines() if line.strip().endswith("0")]
    assert rows == [["Assam", "4.90"], ["Gunpowder", "3.80"], ["Pu-Erh & ginger", "8.30"], ["Total", "17.00"]]
    assert "[Unsubscribe](https://tea.example/unsubscribe?c=0)" in text


def read_all(folder: Path) -> list[EmailMessage]:
    return [message_from_bytes(path.read_bytes(), policy=default) for path in sorted(folder.glob("customer*.eml"))]


async def test_an_announcement(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    send = task(example_smtp.send_announcement(), "bcc_recipients", monkeypatch)
    assert (await send("120"))["sent"] == 120
    assert sorted(len(envelope.rcpt_tos) for envelope in mailbox.envelopes) == [20, 50, 50]
    assert "our shop is closed on 27 November. Run: manual__1" in body(mailbox.mails[0], "plain")


def test_failures() -> None:
    dag = example_smtp.tell_of_failures()
    assert {one.task_id for one in dag.tasks} == {"list_tables", "load"}
