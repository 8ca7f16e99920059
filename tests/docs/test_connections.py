# SPDX-License-Identifier: Apache-2.0
"""The page about Connections has each field and each extra that is read, and no other."""

from __future__ import annotations

import inspect
import json
import re
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.http import connection as http
from airflow_provider_async.msgraph import connection as msgraph
from airflow_provider_async.runtime import hooks
from airflow_provider_async.sftp import connection as sftp
from airflow_provider_async.smtp import connection as smtp
from tests.docs.pages import examples, execute, find
from tests.servers.sftp import asyncssh_server

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = find("connections").read_text()

#: Each section, and what reads its Connection.
READERS: dict[str, Callable[[Any, str], object]] = {
    "SFTP": sftp.read_settings,
    "HTTP": http.read_options,
    "Microsoft Graph": partial(msgraph.read_options, has_credential=True),
    "SMTP": smtp.read_options,
}


class Asked(dict[str, object]):
    """Extras without any, which remember what they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - as a dictionary's
        self.names.add(key)
        return default


def section(title: str) -> str:
    (text,) = re.findall(rf"^{title}\n-+\n(.*?)(?=^\.\. _|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


def extras_in(text: str) -> set[str]:
    """Find what the rows of a table are about, and what they call "the same"."""
    rows = re.findall(r"^    \* - (``.+``)$", text, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"``(\w+)``", row)}
    return named | set(re.findall(r"``(\w+)`` is the same", text))


@pytest.mark.parametrize("title", READERS)
def test_each_extra_that_is_read_has_its_place(title: str) -> None:
    extras = Asked()
    nothing = dict.fromkeys(("schema", "port", "login", "password"))

    READERS[title](SimpleNamespace(host="files.example.com", extra_dejson=extras, **nothing), "conn")

    not_read = {"stream"} if title == "HTTP" else set()
    assert extras_in(section(title)) == extras.names | not_read


def test_each_extra_of_http_that_is_no_header_has_its_place() -> None:
    assert extras_in(section("HTTP")) == set(http._OPTIONS)


@pytest.mark.parametrize(
    ("title", "protocol"),
    [("SFTP", hooks.ConnectionFields), ("HTTP", http.ConnectionFields), ("Microsoft Graph", http.ConnectionFields)],
    ids=["SFTP", "HTTP", "Microsoft Graph"],
)
def test_each_field_that_is_read_has_its_place(title: str, protocol: type) -> None:
    rows = re.findall(r"^    \* - ([A-Z][a-z, ]+)$", section(title), re.MULTILINE)
    named = {name.strip().lower() for row in rows for name in row.split(",")}

    fields = {name for name, value in inspect.getmembers(protocol) if isinstance(value, property)}
    assert named - {"field", "extra"} == fields - {"extra_dejson"}


async def test_a_connection_made_by_code_works(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "a.xml").touch()
    (example,) = examples("connections")
    async with asyncssh_server(tmp_path) as server:
        names: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "login": "alice", "password": "right"}
        names["extra"] = json.dumps({"host_key": server.host_key})
        execute(example, "connections", names)
        assert await names["main"]() == ["a.xml"]
