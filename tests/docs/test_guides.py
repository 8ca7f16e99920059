# SPDX-License-Identifier: Apache-2.0
"""Every example of the guides runs."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
import textwrap
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_provider_async import amap, http, resumable
from airflow_provider_async.runtime import connections
from tests.http.conftest import Fields as HTTPFields
from tests.servers.http import Answer, answer_json, http_server, rows
from tests.servers.http_apis import LinkedList, Tokens, by_key, by_login, comma_separated, json_lines, paged
from tests.servers.sftp import Fields, asyncssh_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from tests.servers.http import HTTPServer, Request

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
    exec(compile(dag, "resume", "exec"), names)
    assert names["nightly"]().get_task("load").retries == 3

    exec(compile(by_hand, "resume", "exec"), names)
    await try_twice(tmp_path / "by hand", names)
    assert sorted(inserted) == ["A", "B", "C"]

    exec(compile(in_a_database, "resume", "exec"), names)
    for cents in (1, 2):
        names["insert_orders"](str(tmp_path / "orders.db"), [("o1", cents), ("o2", cents)])
    with closing(sqlite3.connect(tmp_path / "orders.db")) as connection:
        assert connection.execute("SELECT * FROM orders").fetchall() == [("o1", 2), ("o2", 2)]

    exec(compile(by_key, "resume", "exec"), names)
    async with resumable(tmp_path / "by key"):
        assert await names["main"]() == ["hello 7"]

    exec(compile(kept, "resume", "exec"), names)
    seen.clear()
    assert await try_twice(tmp_path / "kept", names) == [[1, 2], [1, 2]]
    assert seen == ["x", "yy"]


async def test_watching_a_task() -> None:
    async def measure(path: str) -> int:
        return len(path)

    assert await run("progress", {"amap": amap, "measure": measure, "paths": ["a", "bb"]}) == [2]


def test_the_paginators_of_the_table_are_paginators() -> None:
    rows_of_table = re.findall(r"^      - (``[A-Z]\w+\(.*)$", (GUIDES / "http.rst").read_text(), re.MULTILINE)
    texts = [text for row in rows_of_table for text in re.findall(r"``(.+?)``", row)]
    made = [eval(text, vars(http).copy()) for text in texts]
    kinds = {getattr(http, name) for name in http.__all__}
    assert {type(one) for one in made} == {
        kind for kind in kinds if issubclass(kind, http.Paginator) and kind is not http.Paginator
    }


def serve_shop(server: HTTPServer) -> Tokens:
    """Serve what the guide to HTTP asks for."""

    def days(request: Request) -> Answer:
        return answer_json({"orders": rows(2, start=int(request.param("day")[-2:]))})

    def accept(_: Request) -> Answer:
        return Answer(status=201)

    tokens = Tokens()
    three = rows(3)
    server.on("/orders", accept, answer_json(three))
    server.on("/listing", LinkedList(paged(three, 2), form="header"))
    server.on("/days", days)
    for number in (1, 2):
        server.on(f"/orders/{number}", answer_json({"id": number, "name": "tea"}))
        server.on(f"/orders/{number}/lines", answer_json({"lines": rows(number, start=10 * number)}))
    server.on("/token", tokens)
    server.on("/whoami", answer_json("you"))
    server.on("/report", answer_json({"status": "busy"}), answer_json({"status": "done"}))
    server.on("/export.jsonl.gz", Answer(body=gzip.compress(json_lines(three).body)))
    server.on("/export.csv", comma_separated(three))
    for name in ("a", "b"):
        server.on(f"/files/{name}.pdf", Answer(body=name.encode()))
    server.on("/copies/*", accept)
    return tokens


async def test_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inserted: list[Any] = []

    async def insert(batch: list[Any]) -> None:
        inserted.append(batch)

    async def get_token() -> str:
        return "made"

    async with http_server() as server, resumable(tmp_path / "kept"):
        tokens = serve_shop(server)

        async def get_connection(_: str) -> HTTPFields:
            return HTTPFields(host="127.0.0.1", port=server.port, login=tokens.client_id, password=tokens.secret)

        monkeypatch.setattr(connections, "get_connection", get_connection)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        names: dict[str, Any] = {"insert": insert, "numbers": [1, 2], "get_token": get_token}
        names |= {"token_url": server.url("/token"), "folder": tmp_path / "here"}
        results = await run("http", names)
    orders, done, pages, titles, days, parents, statuses, report, moved = results

    assert [order.name for order in orders] == ["row 0", "row 1", "row 2"]
    assert json.loads(server.requests("/orders")[0].body) == {"name": "tea"}
    assert server.requests("/orders")[1].param("state") == "open"
    assert done == 2
    assert sorted(order.id for order in inserted[0]) == [1, 2]
    assert pages == 3
    assert inserted[1:3] == paged(rows(3), 2)
    assert titles == ["row 0", "row 1", "row 2"]
    assert days == 6
    assert parents == 2
    assert sorted(len(lines) for lines in inserted[3:]) == [1, 2]

    assert statuses == [200] * 5
    bearer, header, query, oauth, made = server.requests("/whoami")
    assert bearer.authorization == f"Bearer {tokens.secret}"
    assert by_key(tokens.secret, header="X-API-Key")(header)
    assert by_key(tokens.secret, query="api_key")(query)
    assert oauth.authorization == "Bearer token-1"
    assert made.authorization == "Bearer made"
    assert by_login(tokens.client_id, tokens.secret)(server.requests("/report")[0])

    assert report == {"status": "done"}
    assert moved[3:] == ["row 0", "row 1", "row 2", "a.pdf", "b.pdf"]
    assert [order.id for order in moved[:3]] == [0, 1, 2]
    assert {request.path: request.body for request in server.seen if request.method == "PUT"} == {
        "/copies/a.pdf": b"a",
        "/copies/b.pdf": b"b",
    }


async def test_which_kind_of_task() -> None:
    inserted: list[str] = []

    async def load(path: str) -> str:
        return path.upper()

    async def insert_or_replace(batch: list[str]) -> None:
        inserted.extend(batch)

    names = {"load": load, "paths": ["a", "b"], "insert_or_replace": insert_or_replace}
    assert await run("choosing", names) == [2]
    assert sorted(inserted) == ["A", "B"]
