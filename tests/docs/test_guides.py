# SPDX-License-Identifier: Apache-2.0
"""Every example of the guides runs."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provider_async import amap, resumable
from airflow_provider_async.runtime import connections
from tests.docs.pages import examples, execute, run
from tests.servers.sftp import Fields, asyncssh_server

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


async def try_twice(folder: Path, names: dict[str, Any]) -> list[Any]:
    """Run an example that fails behind its end, and then again."""
    results = []
    for attempt in (1, 2):
        with suppress(RuntimeError):
            async with resumable(folder, attempt=attempt):
                results.append(await names["main"]())
                raise RuntimeError
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


async def test_going_on_after_a_failure(tmp_path: Path) -> None:
    inserted: list[str] = []

    async def insert(rows: list[str]) -> None:
        inserted.extend(rows)

    async def fetch(url: str) -> str:
        if url == "b" and "b" not in seen:
            seen.append(url)
            raise ConnectionError("gone")
        return url.upper()

    async def greet(customer: SimpleNamespace) -> str:
        return f"hello {customer.number}"

    async def count_rows(table: str) -> int:
        seen.append(table)
        return len(table)

    seen: list[str] = []
    names: dict[str, Any] = {
        "insert": insert,
        "fetch": fetch,
        "urls": ["a", "b", "c"],
        "amap": amap,
        "sqlite3": sqlite3,
    }
    names |= {"greet": greet, "customers": [SimpleNamespace(number=7)], "count_rows": count_rows, "tables": ["x", "yy"]}
    dag, by_hand, in_a_database, by_key, kept = examples("resume")
    execute(dag, "resume", names)
    assert names["nightly"]().get_task("load").retries == 3

    execute(by_hand, "resume", names)
    await try_twice(tmp_path / "by hand", names)
    assert sorted(inserted) == ["A", "B", "C"]

    execute(in_a_database, "resume", names)
    for cents in (1, 2):
        names["insert_orders"](str(tmp_path / "orders.db"), [("o1", cents), ("o2", cents)])
    with closing(sqlite3.connect(tmp_path / "orders.db")) as connection:
        assert connection.execute("SELECT * FROM orders").fetchall() == [("o1", 2), ("o2", 2)]

    execute(by_key, "resume", names)
    async with resumable(tmp_path / "by key"):
        assert await names["main"]() == ["hello 7"]

    execute(kept, "resume", names)
    seen.clear()
    assert await try_twice(tmp_path / "kept", names) == [[1, 2], [1, 2]]
    assert seen == ["x", "yy"]


async def test_watching_a_task() -> None:
    async def measure(path: str) -> int:
        return len(path)

    assert await run("progress", {"amap": amap, "measure": measure, "paths": ["a", "bb"]}) == [2]


async def test_which_kind_of_task() -> None:
    inserted: list[str] = []

    async def load(path: str) -> str:
        return path.upper()

    async def insert_or_replace(batch: list[str]) -> None:
        inserted.extend(batch)

    names = {"load": load, "paths": ["a", "b"], "insert_or_replace": insert_or_replace}
    assert await run("choosing", names) == [2]
    assert sorted(inserted) == ["A", "B"]


async def test_async_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("work")

    async def clean_up() -> None:
        done.append("clean-up")

    dag, reads, times_out = examples("async-tasks")
    names: dict[str, Any] = {"asyncio": asyncio, "work": work, "clean_up": clean_up}
    execute(dag, "async-tasks", names)
    assert names["nightly"]().get_task("load").op_args == ("/out",)

    async def get_connection(_: str) -> SimpleNamespace:
        return SimpleNamespace(host="files.example.com")

    async def get_variable(_: str, default: str) -> str:
        return default

    monkeypatch.setattr(connections, "get_connection", get_connection)
    monkeypatch.setattr(connections, "get_variable", get_variable)
    execute(reads, "async-tasks", names)
    assert await names["main"]() == "files.example.com:/out"

    execute(times_out, "async-tasks", names)
    await names["main"]()
    assert done == ["work", "clean-up"]
