# SPDX-License-Identifier: Apache-2.0
"""Mails are written into files instead of sent."""

from __future__ import annotations

import os
import re
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import DictLoader, Environment

from airflow_provider_async.smtp import SMTPClientPool
from airflow_provider_async.smtp.dry_run import file_name, write_eml
from airflow_provider_async.smtp.prepare import prepare
from tests.smtp.reading import FROM, Fields, body, message

if TYPE_CHECKING:
    from email.message import EmailMessage


def test_a_file_has_the_mail_and_its_envelope(tmp_path: Path) -> None:
    mail = prepare(message(bcc="secret@example.org", return_path="bounces@example.com"))
    path = write_eml(tmp_path / "new" / "folder", mail)
    assert path.parent == tmp_path / "new" / "folder"
    content = path.read_bytes()
    assert content.endswith(mail.content)
    parsed = message_from_bytes(content, policy=default)
    assert parsed["X-Sender"] == "<bounces@example.com>"
    assert parsed.get_all("X-Receiver") == ["<jane@example.com>", "<secret@example.org>"]
    assert parsed["Subject"] == "News"
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 - hidden ones too


def test_the_same_mail_gives_the_same_file_and_another_one_another(tmp_path: Path) -> None:
    mail = prepare(message(to=["jane@example.com", "john@example.com"]))
    paths = [write_eml(tmp_path, mail), write_eml(tmp_path, mail)]
    paths += [write_eml(tmp_path, mail, ["jane@example.com"]), write_eml(tmp_path, prepare(message()))]
    assert len(set(paths)) == 3
    assert all(path.name.startswith("jane@example.com-") for path in paths)


def test_what_is_not_complete_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write_eml(tmp_path, prepare(message()))
    assert list(tmp_path.iterdir()) == []


@given(st.text(min_size=1), st.lists(st.text(), max_size=2))
def test_a_name_is_safe_whatever_an_address_has_in_it(first: str, others: list[str]) -> None:
    name = file_name("<1@example.com>", [first.encode(errors="replace").decode(), *others])
    assert re.fullmatch(r"[a-z0-9@+_.-]{0,61}[0-9a-f]{16}\.eml", name)
    assert not name.startswith((".", "-"))
    assert Path(name).name == name


def files(folder: Path) -> dict[str, EmailMessage]:
    return {str(path): message_from_bytes(path.read_bytes(), policy=default) for path in folder.iterdir()}


async def test_a_dry_run_gives_results_and_files_and_opens_no_connection(tmp_path: Path) -> None:
    messages = [message(to=f"jane{number}@example.com", from_=None) for number in range(20)]
    messages[7] = message(to=["jane", "john@example.com"])
    async with SMTPClientPool(connection=Fields(port=1), dry_run=tmp_path) as pool:
        results = [result async for result in pool.send_many(messages)]
        with pytest.raises(RuntimeError, match="is a dry run: it has no connection to give away"):
            async with pool.get_smtp_client():
                pass
    sent = [result for result in results if result.status == "sent"]
    assert len(sent) == 19
    assert len(results) == 20
    written = files(tmp_path)
    assert len(written) == 19
    for result in sent:
        parsed = written[result.response.removeprefix("written to ")]
        assert (parsed["X-Receiver"], parsed["Message-ID"]) == (f"<{result.recipient}>", result.message_id)
        assert parsed["From"] == FROM
    (refused,) = (result for result in results if result.status == "rejected")
    assert (refused.recipient, refused.code) == ("jane, john@example.com", None)
    assert "to is no address" in refused.response


async def test_a_dry_run_has_a_file_for_each_envelope(tmp_path: Path) -> None:
    bcc = [f"jane{number}@example.com" for number in range(25)]
    async with SMTPClientPool(connection=Fields(port=1), dry_run=tmp_path, recipients_per_envelope=10) as pool:
        report = await pool.send_many([message(to=(), bcc=bcc)]).report()
    assert report["sent"] == 25
    receivers = [parsed.get_all("X-Receiver", []) for parsed in files(tmp_path).values()]
    assert sorted(map(len, receivers)) == [5, 10, 10]
    assert sorted(sum(receivers, [])) == sorted(f"<{one}>" for one in bcc)  # noqa: RUF017


async def test_templates_are_rendered_on_the_way(tmp_path: Path) -> None:
    environment = Environment(loader=DictLoader({"news.html": "<p>Hi {{ name }}</p>"}), autoescape=True)
    messages = (message(html="news.html", text=None, context={"name": name}) for name in ("R&D", "Größe"))
    async with SMTPClientPool(connection=Fields(port=1), dry_run=tmp_path, environment=environment) as pool:
        assert [result.status async for result in pool.send_many(messages)] == ["sent", "sent"]
    bodies = {body(parsed, "plain").strip() for parsed in files(tmp_path).values()}
    assert bodies == {"Hi R&D", "Hi Größe"}


async def test_a_file_that_cannot_be_written_ends_a_dry_run(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with SMTPClientPool(connection=Fields(port=1), dry_run=tmp_path / "file") as pool:
        with pytest.raises(OSError, match="File exists"):
            await pool.send(message())
