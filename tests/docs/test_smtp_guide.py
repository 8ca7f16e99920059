# SPDX-License-Identifier: Apache-2.0
"""Every example of the guide to mail runs."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from airflow import sdk

from airflow_provider_async import resumable
from airflow_provider_async.runtime import connections
from airflow_provider_async.smtp import Message
from tests.docs.pages import examples
from tests.servers.mailbox import running_mailbox
from tests.smtp.reading import Fields, addresses, body, leaves

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.mailbox import Mailbox


@pytest.fixture
def mailbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    """Run a server that the Connection leads to, in a task whose DAG finds templates in a folder."""
    templates = tmp_path / "templates"
    templates.mkdir()
    (templates / "statement.html").write_text("<p>{{ customer.orders | join(', ') }} until {{ ds }}</p>")
    (templates / "announcement.html").write_text("<h1>Closed</h1><p>on {{ ds }}</p>")
    context = {"dag": sdk.DAG("news", schedule=None, template_searchpath=str(templates)), "ds": "2026-11-26"}
    with running_mailbox() as mailbox:

        async def get_connection(_: str) -> Fields:
            return Fields(mailbox.port)

        monkeypatch.setattr(connections, "get_connection", get_connection)
        monkeypatch.setattr(sdk, "get_current_context", lambda: context)
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        yield mailbox


async def test_every_example_runs(mailbox: Mailbox, tmp_path: Path) -> None:
    one, each, to_all, results, once, whole, dry, failures = examples("smtp")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG")
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    names: dict[str, Any] = {"logo_path": tmp_path / "logo.png", "report_path": tmp_path / "report.pdf"}
    names |= {"folder": tmp_path / "dry", "messages": [Message(to="jane@example.com", subject="Hi", text="Hi")]}
    names["customers"] = [{"address": f"{name}@example.com", "orders": ["tea", "R&D"]} for name in ("jane", "john")]
    names["orders"] = [{"address": "jane@example.com", "number": n, "receipt": f"{n} euros"} for n in (1, 2)]

    async def main(example: str) -> Any:  # noqa: ANN401 - what it returns
        mailbox.envelopes.clear()
        exec(compile(example, "smtp", "exec"), names)
        return await names["main"]()

    await main(one)
    assert addresses(mailbox.mails[0], "To") == [("Jane Doe", "jane@example.com")]

    async with resumable(tmp_path / "kept"):
        assert (await main(each))["sent"] == 2
        assert {mail["Subject"] for mail in mailbox.mails} == {"Your 2 orders"}
        assert "<p>tea, R&amp;D until 2026-11-26</p>" in body(mailbox.mails[0], "html")
        assert await main(once) == 2

    assert await main(results) == ["sent", "sent"]

    await main(whole)
    (mail,) = mailbox.mails
    assert addresses(mail, "To") == [("Doe, Jane", "jane@example.com"), ("Jörg Müller", "joerg@xn--mller-kva.example")]
    assert [part.get_filename() for part in leaves(mail)] == [None, None, "logo.png", "report.pdf", "data.csv"]
    assert mailbox.envelopes[0].mail_from == "bounces@example.com"

    (written,) = await main(dry)
    assert written.startswith(f"written to {tmp_path / 'dry'}")
    assert mailbox.envelopes == []

    exec(compile(to_all, "smtp", "exec"), names)
    dag = names["announce"]()
    assert [*dag.template_searchpath] == ["/opt/airflow/templates"]
    send = dag.get_task("bcc_recipients").python_callable
    recipients = [f"customer{number}@example.com" for number in range(120)]
    async with resumable(tmp_path / "kept"):
        assert (await send(recipients, subject="Closed on {{ ds }}", html="announcement.html"))["sent"] == 120
    assert sorted(len(envelope.rcpt_tos) for envelope in mailbox.envelopes) == [20, 50, 50]
    assert {mail["Subject"] for mail in mailbox.mails} == {"Closed on 2026-11-26"}
    assert body(mailbox.mails[0], "plain").split() == ["Closed", "on", "2026-11-26"]

    mailbox.envelopes.clear()
    exec(compile(failures, "smtp", "exec"), names)
    watched = names["watched"]()
    (tell,) = watched.get_task("load").on_failure_callback
    tell({"dag": watched, "run_id": "manual__1", "ti": watched.get_task("load"), "exception": RuntimeError("locked")})
    assert mailbox.mails[0]["Subject"] == "load failed: locked"
