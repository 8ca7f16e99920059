# SPDX-License-Identifier: Apache-2.0
"""Every example of the guides runs."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_async.runtime import connections
from tests.servers.sftp import Fields, asyncssh_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
PYTHON_BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", re.MULTILINE)


def examples(guide: str) -> Iterator[str]:
    for block in PYTHON_BLOCK.findall((GUIDES / f"{guide}.rst").read_text()):
        yield textwrap.dedent(block)


async def run(guide: str, names: dict[str, Any]) -> list[Any]:
    """Run the examples of a guide one after the other, each with the names of those before it."""
    results = []
    for example in examples(guide):
        exec(compile(example, guide, "exec"), names)
        results.append(await names["main"]())
    return results


class Warehouse:
    async def count(self, table: str) -> int:
        return len(table)


async def connect() -> Warehouse:
    return Warehouse()


async def close(_: Warehouse) -> None:
    pass


async def test_many_things_at_once(tmp_path: Path) -> None:
    inserted: list[int] = []
    failures = iter([None, ConnectionResetError("gone"), ConnectionResetError("gone")])

    async def measure(path: str) -> int:
        if path == "flaky" and (error := next(failures, None)) is not None:
            raise error
        return len(path)

    async def insert(batch: list[int]) -> None:
        inserted.extend(batch)

    names = {"measure": measure, "paths": ["flaky", "x" * 2000], "insert": insert, "folder": tmp_path / "kept"}
    names |= {"connect": connect, "close": close, "tables": ["a", "bb"]}
    total, failed, retried, done, resumed, early, counts = await run("many-at-once", names)
    assert total == 2005
    assert failed == ["flaky: gone"]
    assert sorted(retried) == [5, 2000]
    assert (done, resumed, sorted(inserted)) == (2, 2, [5, 5, 2000, 2000])
    assert early == 2000
    assert sorted(counts) == [1, 2]


async def test_sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tmp_path / "server"
    (files / "out" / "deep").mkdir(parents=True)
    (files / "out" / "a.xml").write_text("<a/>")
    (files / "out" / "deep" / "b.xml").write_text("<bb/>")
    async with asyncssh_server(files) as server:

        async def get_connection(_: str) -> Fields:
            return server.connection()

        monkeypatch.setattr(connections, "get_connection", get_connection)
        size, copies, removed, _ = await run("sftp", {"folder": tmp_path / "here"})
    assert size == 9
    assert sorted(copies) == [str(tmp_path / "here" / name) for name in ("a.xml", "deep/b.xml")]
    assert removed == 0
    assert sorted(path.name for path in (files / "copies").iterdir()) == ["a.xml", "b.xml"]
    assert sorted(path.name for path in (files / "archive").iterdir()) == ["deep", "done.xml"]
    assert not list((files / "out").rglob("*.xml"))
