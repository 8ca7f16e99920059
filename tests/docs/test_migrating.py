# SPDX-License-Identifier: Apache-2.0
"""What the guides to moving here call "before" is real, and what they call "after" does the same."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.runtime import connections
from tests.docs.pages import examples, execute
from tests.http.conftest import Fields as HTTPFields
from tests.servers.http import Answer, answer_json, http_server, rows
from tests.servers.sftp import asyncssh_server, write_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.servers.http import HTTPServer, Request
    from tests.servers.sftp import AsyncsshServer

FILES = 5


def has_provider(name: str) -> bool:
    """Tell whether Airflow's own provider is there, which old versions of Airflow are tested without."""
    return find_spec("airflow.providers") is not None and find_spec(f"airflow.providers.{name}") is not None


needs_sftp_provider = pytest.mark.skipif(
    not has_provider("sftp"), reason="Airflow's own SFTP provider is not installed"
)
needs_http_provider = pytest.mark.skipif(
    not has_provider("http"), reason="Airflow's own HTTP provider is not installed"
)


class Store:
    """Where the examples put what they have read."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    async def insert(self, items: list[Any]) -> None:
        self.items += items

    async def store(self, item: Any) -> None:  # noqa: ANN401 - whatever an example reads
        self.items.append(item)


@pytest.fixture
async def sftp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncsshServer]:
    """Serve reports, and lead both Airflow's hooks and ours to them."""
    (tmp_path / "server" / "reports").mkdir(parents=True)
    write_files(tmp_path / "server" / "reports", FILES)
    async with asyncssh_server(tmp_path / "server") as server:

        async def get_connection(conn_id: str) -> object:
            assert conn_id == "sftp_default"
            return server.connection()

        monkeypatch.setattr(connections, "get_connection", get_connection)
        monkeypatch.setenv(
            "AIRFLOW_CONN_SFTP_DEFAULT",
            '{"conn_type": "sftp", "host": "127.0.0.1", "login": "alice", "password": "right", '
            f'"port": {server.port}, "extra": {{"host_key": "{server.host_key}"}}}}',
        )
        yield server


@pytest.fixture
async def http(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HTTPServer]:
    """Serve orders, and lead both Airflow's hooks and ours to them."""

    def page(request: Request) -> Answer:
        start = int(request.param("cursor") or 0)
        cursor = str(start + 2) if start < 4 else ""
        return answer_json({"orders": rows(2, start=start), "cursor": cursor})

    async with http_server() as server:
        server.on("/orders", page)
        for number in (1, 2):
            server.on(f"/orders/{number}", answer_json({"id": number}))
        server.on("/jobs", answer_json({"id": 7}))
        server.on("/jobs/7", answer_json({"state": "busy"}), answer_json({"state": "done"}))
        server.on("/jobs/7/result", answer_json([1, 2]))

        async def get_connection(conn_id: str) -> HTTPFields:
            assert conn_id == "http_default"
            return HTTPFields(host="127.0.0.1", port=server.port)

        monkeypatch.setattr(connections, "get_connection", get_connection)
        monkeypatch.setenv("AIRFLOW_CONN_HTTP_DEFAULT", f"http://127.0.0.1:{server.port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


def make_dag(example: str, names: dict[str, Any]) -> Any:  # noqa: ANN401 - a DAG
    """Run an example that ends with a call of its DAG's function, and return that DAG."""
    execute(example, "migrating", names)
    return names[example.rstrip().splitlines()[-1].removesuffix("()")]()


async def run_task(dag: Any, task_id: str, *args: object) -> Any:  # noqa: ANN401 - what it returns
    return await dag.get_task(task_id).python_callable(*args)


@needs_sftp_provider
def test_mapped_tasks_are_what_airflow_maps() -> None:
    operators, functions, *_ = [example for example in examples("migrating-mapped-tasks") if ".expand" in example]

    assert make_dag(operators, {}).get_task("download").is_mapped
    dag = make_dag(functions, {})
    assert dag.get_task("count").is_mapped
    assert dag.get_task("total").upstream_task_ids == {"count"}


async def test_one_task_does_what_mapped_tasks_did(sftp: AsyncsshServer, tmp_path: Path) -> None:
    _, download, _, count, outcomes = examples("migrating-mapped-tasks")
    there, here = tmp_path / "server" / "reports", tmp_path / "here"
    expected = {path.name: path.read_bytes() for path in there.iterdir()}

    assert await run_task(make_dag(download, {}), "download", str(here)) == FILES
    assert {path.name: path.read_bytes() for path in here.iterdir()} == expected
    (there / "lines").write_text("1\n2\n")
    assert await run_task(make_dag(count, {}), "total") == 2

    kept = Store()
    assert await run_task(make_dag(outcomes, {"insert": kept.store}), "load") == FILES + 1
    assert len(kept.items) == FILES + 1
    assert sftp.sessions >= 3


async def test_a_task_that_goes_on_after_errors_fails_at_the_end(sftp: AsyncsshServer) -> None:
    *_, outcomes = examples("migrating-mapped-tasks")

    async def insert(file: Any) -> None:  # noqa: ANN401 - a file
        raise AssertionError("no file can be read")

    names = {"insert": insert}
    dag = make_dag(outcomes.replace('"/reports/*"', '"/reports"'), names)
    with pytest.raises(RuntimeError, match=r"^1 files are missing; the next try reads those alone$"):
        await run_task(dag, "load")


@needs_http_provider
def test_deferrable_operators_are_what_airflow_defers() -> None:
    pages, _, items, *_ = examples("migrating-deferrable")

    assert make_dag(pages, {}).get_task("load").deferrable
    assert make_dag(items, {}).get_task("load").partial_kwargs["deferrable"]


@needs_http_provider
def test_the_operator_for_pages_reads_all_rows_where_it_is_not_deferred() -> None:
    pages, *_ = examples("migrating-deferrable")
    operator = make_dag(pages, {}).get_task("load")

    class Body:
        def __init__(self, **values: object) -> None:
            self._values = values

        def json(self) -> object:
            return self._values

    assert operator.pagination_function(Body(cursor="2")) == {"data": {"cursor": "2"}}
    assert operator.pagination_function(Body(cursor="")) is None
    assert operator.response_filter([Body(orders=[1]), Body(orders=[2])]) == [1, 2]


async def test_one_task_does_what_deferrable_operators_did(http: HTTPServer) -> None:
    _, pages, _, items, job = examples("migrating-deferrable")
    kept = Store()
    names: dict[str, Any] = {"insert": kept.insert, "seconds_between": 0}

    assert await run_task(make_dag(pages, names), "load") == 6
    assert kept.items == rows(6)
    kept.items.clear()
    load = make_dag(items, names).get_task("load")
    assert await load.python_callable(*load.op_args) == 2
    assert sorted(item["id"] for item in kept.items) == [1, 2]
    assert await run_task(make_dag(job, names), "fetch") == [1, 2]


def decorated(example: str, name: str, names: dict[str, Any]) -> Any:  # noqa: ANN401 - a function
    execute(example, "migrating", names)
    return names[name].function


@needs_sftp_provider
async def test_files_are_the_same_before_and_after(sftp: AsyncsshServer) -> None:
    each, after_each, pool, after_pool, *_ = examples("migrating-async-hooks")
    paths = [f"/reports/{number:05}.xml" for number in range(FILES)]
    found = []
    for example in (each, after_each, pool, after_pool):
        kept = Store()
        await decorated(example, "load_xml_files", {"store": kept.store})(paths)
        found.append(sorted(kept.items))
    # It would stay open until the process ends.
    await import_module("airflow.providers.sftp.pools.sftp").SFTPClientPool("sftp_default").close()

    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == FILES


async def test_the_smallest_change_is_an_import(sftp: AsyncsshServer) -> None:
    _, _, pool, *_ = examples("migrating-async-hooks")
    theirs, ours = "airflow.providers.sftp.pools.sftp", "airflow_provider_async.sftp"
    assert theirs in pool
    kept = Store()

    await decorated(pool.replace(theirs, ours), "load_xml_files", {"store": kept.store})(["/reports/00000.xml"])

    assert len(kept.items) == 1


@needs_http_provider
async def test_answers_are_the_same_before_and_after(http: HTTPServer) -> None:
    _, _, _, _, before, after, *_ = examples("migrating-async-hooks")
    found = []
    for example in (before, after):
        kept = Store()
        await decorated(example, "load_orders", {"store": kept.store})([1, 2])
        found.append(sorted(item["id"] for item in kept.items))

    assert found == [[1, 2], [1, 2]]
