# SPDX-License-Identifier: Apache-2.0
"""Mails from callbacks, as Airflow calls them."""

from __future__ import annotations

import asyncio
import logging
import re
import tempfile
import threading
from enum import Enum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_provider_async.errors import InvalidMessage, NotificationNotSent
from airflow_provider_async.runtime import compat, connections
from airflow_provider_async.smtp.notifier import AsyncSmtpNotifier
from tests.servers.mailbox import running_mailbox
from tests.smtp.reading import FROM, Fields, addresses, body

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.mailbox import Mailbox


@pytest.fixture
def mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with running_mailbox() as mailbox:
        fields = Fields(mailbox.port)

        async def get_connection(_: str) -> Fields:
            return fields

        monkeypatch.setattr(connections, "get_connection", get_connection)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        yield mailbox


def failed(**values: object) -> Any:  # noqa: ANN401 - a context is what it is
    ti = SimpleNamespace(
        dag_id="orders", task_id="load", state="failed", try_number=3, log_url="http://localhost:8080/log?a=1&b=2"
    )
    context = {"dag": DAG("orders", schedule=None), "run_id": "manual__1", "ti": ti, "exception": KeyError("<id>")}
    return context | values


class State(str, Enum):  # noqa: UP042 - StrEnum is a text all through
    """As Airflow's own, whose members are texts and say their class as well."""

    FAILED = "failed"


def test_a_state_is_called_by_its_name_alone(mailbox: Mailbox) -> None:
    context = failed()
    context["ti"].state = State.FAILED
    AsyncSmtpNotifier("ops@example.com")(context)
    (mail,) = mailbox.mails
    assert mail["Subject"] == "orders.load: failed"


def test_a_failed_task_is_told_of_with_what_is_known(mailbox: Mailbox) -> None:
    AsyncSmtpNotifier("ops@example.com")(failed())
    (mail,) = mailbox.mails
    assert (mail["Subject"], mail["Auto-Submitted"]) == ("orders.load: failed", "auto-generated")
    assert addresses(mail, "From") == [("", FROM)]
    assert addresses(mail, "To") == [("", "ops@example.com")]
    assert "KeyError" not in body(mail, "html")
    assert "&lt;id&gt;" in body(mail, "html")
    assert 'href="http://localhost:8080/log?a=1&amp;b=2"' in body(mail, "html")
    for known in ("orders", "manual__1", "load", "3", "failed", "'<id>'"):
        assert known in body(mail, "plain")


def test_a_task_that_was_never_begun_is_told_of_as_failed(mailbox: Mailbox) -> None:
    ti = SimpleNamespace(dag_id="orders", task_id="load", state=None, try_number=1, map_index=0, log_url=None)
    AsyncSmtpNotifier("ops@example.com")({"dag": DAG("orders", schedule=None), "run_id": "manual__1", "ti": ti})
    (mail,) = mailbox.mails
    assert mail["Subject"] == "orders.load: failed"
    assert re.search(r"Map index +0\b.*State +failed", body(mail, "plain"), re.DOTALL)
    assert "None" not in body(mail, "html")


def test_a_notifier_tells_of_each_of_many_failures_what_belongs_to_it(mailbox: Mailbox) -> None:
    notifier = AsyncSmtpNotifier("ops@example.com", subject="{{ ti.task_id }}", text="{{ run_id }}")
    for number in range(3):
        notifier(failed(ti=SimpleNamespace(task_id=f"load{number}"), run_id=f"run{number}"))
    assert [mail["Subject"] for mail in mailbox.mails] == ["load0", "load1", "load2"]
    assert [body(mail, "plain").strip() for mail in mailbox.mails] == ["run0", "run1", "run2"]


@pytest.mark.parametrize(
    ("context", "subject"),
    [
        (failed(reason="task_failure"), "orders: task_failure"),
        ({"dag_run": {"dag_id": "orders"}, "deadline": {}}, "orders: notification"),
        ({"dag_run": SimpleNamespace(dag_id="orders"), "reason": "timed_out"}, "orders: timed_out"),
        ({}, "Airflow: notification"),
    ],
)
async def test_what_happens_to_a_dag_is_told_without_a_task(mailbox: Mailbox, context: Any, subject: str) -> None:  # noqa: ANN401
    await AsyncSmtpNotifier("ops@example.com").async_notify(context)
    (mail,) = mailbox.mails
    assert mail["Subject"] == subject
    assert "load" not in body(mail, "html")


async def test_it_can_be_called_where_an_event_loop_runs(mailbox: Mailbox) -> None:
    AsyncSmtpNotifier("ops@example.com")(failed())
    assert len(mailbox.mails) == 1


def test_what_is_masked_in_logs_is_masked_in_mails(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "redact", lambda text: text.replace("hunter&2", "***"))
    notifier = AsyncSmtpNotifier("ops@example.com", subject="{{ exception }} in {{ '<b>' | safe }}")
    notifier(failed(exception=ValueError("no login for jane:hunter&2")))
    (mail,) = mailbox.mails
    assert mail["Subject"] == "no login for jane:*** in <b>"
    assert "no login for jane:***" in body(mail, "html")


def test_the_connection_may_name_templates(mailbox: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "subject").write_text("{{ ti.task_id }} is down\n")
    (tmp_path / "body").write_text("<b>{{ ti.dag_id }}</b>\n")
    fields = asyncio.run(connections.get_connection("smtp_default"))
    templates = {"subject_template": str(tmp_path / "subject"), "html_content_template": str(tmp_path / "body")}
    monkeypatch.setattr(fields, "extra_dejson", fields.extra_dejson | templates)
    AsyncSmtpNotifier("ops@example.com")(failed())
    (mail,) = mailbox.mails
    assert (mail["Subject"], body(mail, "html").strip()) == ("load is down", "<b>orders</b>")


def test_a_storm_of_failures_does_not_open_a_connection_each(mailbox: Mailbox) -> None:
    mailbox.gate.clear()
    notifiers = [threading.Thread(target=AsyncSmtpNotifier("ops@example.com"), args=(failed(),)) for _ in range(20)]
    for notifier in notifiers:
        notifier.start()
    mailbox.gate.set()
    for notifier in notifiers:
        notifier.join()
    assert len(mailbox.mails) == 20
    assert len(mailbox.peers) <= 5


def test_what_the_server_refuses_is_an_error_in_the_log(mailbox: Mailbox) -> None:
    mailbox.answer = "550 not for you"
    with pytest.raises(NotificationNotSent, match=r"not sent to ops@example\.com: rejected: 550 not for you"):
        AsyncSmtpNotifier("ops@example.com").notify(failed())
    with pytest.raises(InvalidMessage, match="to is no address"):
        AsyncSmtpNotifier("ops").notify(failed())


def test_what_the_server_takes_too_long_for_goes_with_the_next_one(mailbox: Mailbox) -> None:
    mailbox.gate.clear()
    with pytest.raises(NotificationNotSent, match=r"was not sent within 0\.2 s"):
        AsyncSmtpNotifier("ops@example.com", subject="first", timeout=0.2).notify(failed())
    mailbox.envelopes.clear()
    mailbox.gate.set()
    AsyncSmtpNotifier("ops@example.com", subject="second").notify(failed())
    assert {mail["Subject"] for mail in mailbox.mails} >= {"first", "second"}


def test_without_a_folder_each_goes_by_itself(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with caplog.at_level(logging.WARNING):
        AsyncSmtpNotifier("ops@example.com").notify(failed())
    assert len(mailbox.mails) == 1
    mailbox.answer = "550 not for you"
    with pytest.raises(NotificationNotSent, match="550 not for you"):
        AsyncSmtpNotifier("ops@example.com").notify(failed())


async def test_in_the_triggerer_it_is_awaited(mailbox: Mailbox) -> None:
    if not hasattr(AsyncSmtpNotifier, "__await__"):
        pytest.skip("Airflow 3.0 awaits no notifiers")
    await AsyncSmtpNotifier("ops@example.com", context=failed())
    assert len(mailbox.mails) == 1


async def test_the_triggerer_reads_connections_in_its_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    async def get_in_triggerer(conn_id: str) -> str:
        return f"{conn_id} in {threading.current_thread().name}"

    assert not compat.is_triggerer()
    monkeypatch.setattr(compat, "is_triggerer", lambda: True)
    monkeypatch.setattr(compat, "get_connection_in_triggerer", get_in_triggerer)
    found: object = await connections.get_connection("x")
    assert found == f"x in {threading.main_thread().name}"


def test_it_is_registered() -> None:
    from airflow.providers import async_bridge

    assert async_bridge.AsyncSmtpNotifier is AsyncSmtpNotifier
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = async_bridge.Other
