# SPDX-License-Identifier: Apache-2.0
"""What README.md says is so."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.example_dags.demo.report import format_table
from airflow_provider_async.runtime import connections
from tests.docs.pages import blocks, examples, execute
from tests.servers.sftp import Fields, asyncssh_server, write_files

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("page", ["README.md", "index"])
async def test_the_example_is_a_dag_whose_task_loads_a_folder(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    write_files(tmp_path / "out", 7)
    rows: dict[str, bytes] = {}

    async def insert(batch: Iterable[tuple[str, bytes]]) -> None:
        rows.update(batch)

    warehouse = types.ModuleType("warehouse")
    vars(warehouse)["insert"] = insert
    monkeypatch.setitem(sys.modules, "warehouse", warehouse)
    (example,) = examples(page)
    names: dict[str, Any] = {}
    execute(example, page, names)
    load = names["nightly"]().get_task("load")
    assert load.retries == 3
    async with asyncssh_server(tmp_path) as server:

        async def get_connection(conn_id: str) -> Fields:
            assert conn_id == "sftp_default"
            return server.connection()

        monkeypatch.setattr(connections, "get_connection", get_connection)
        assert await load.python_callable(*load.op_args) == 7
    assert rows == {f"/out/{path.name}": path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_the_commands_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:\$ |`)make ([a-z-]+)", README)
    assert {"demo", "test", "docs"} <= set(named) <= set(targets)


def test_the_demo_prints_the_table_that_is_shown() -> None:
    (shown,) = [block.text for block in blocks(ROOT / "README.md") if block.text.startswith("$ make demo")]
    headings = " ".join(format_table([]).split())
    assert headings in [" ".join(line.split()) for line in shown.splitlines()]


def test_the_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert targets
    for target in targets:
        assert target.startswith("https://") or (ROOT / target).is_file(), target
