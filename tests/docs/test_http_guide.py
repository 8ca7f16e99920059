# SPDX-License-Identifier: Apache-2.0
"""Every example of the guide to HTTP runs."""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any

from airflow_provider_async import http, resumable
from airflow_provider_async.runtime import connections
from tests.docs.pages import find, run
from tests.http.conftest import Fields
from tests.servers.http import Answer, answer_json, http_server, rows
from tests.servers.http_apis import LinkedList, Tokens, by_key, by_login, comma_separated, json_lines, paged

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.servers.http import HTTPServer, Request


def test_the_paginators_of_the_table_are_paginators() -> None:
    rows_of_table = re.findall(r"^      - (``[A-Z]\w+\(.*)$", find("http").read_text(), re.MULTILINE)
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

        async def get_connection(_: str) -> Fields:
            return Fields(host="127.0.0.1", port=server.port, login=tokens.client_id, password=tokens.secret)

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
