# SPDX-License-Identifier: Apache-2.0
"""Mails are written into files instead of sent."""

from __future__ import annotations

import os
import re
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.smtp.dry_run import file_name, write_eml
from airflow_provider_async.smtp.prepare import prepare
from tests.smtp.reading import message


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
