# SPDX-License-Identifier: Apache-2.0
"""What a task tells Airflow of its progress: a value for its page, metrics, spans, and a bar in a terminal."""

from __future__ import annotations

import asyncio
import importlib
import io
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airflow_provider_async import Pool, amap
from airflow_provider_async.core.monitor import Monitor
from airflow_provider_async.runtime import bar, compat, metrics, progress, spans
from airflow_provider_async.runtime.progress_page import LINK_XCOM_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_async import AsyncMap

R = TypeVar("R")

CONTEXT: dict[str, Any] = {
    "ti": SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1, try_number=2),
}


class Airflow:
    """Keeps what a task publishes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.values: list[dict[str, Any]] = []
        self.links: list[object] = []
        self.error: Exception | None = None
        self.goes_on = threading.Event()
        self.goes_on.set()
        monkeypatch.setattr(compat, "publish", self.publish)
        monkeypatch.setattr(compat, "publish_xcom", self.publish_xcom)

    def publish(self, context: object, key: str, value: dict[str, Any]) -> None:
        assert (context, key) == (CONTEXT, progress.PROGRESS_KEY)
        self.goes_on.wait(20)
        if self.error is not None:
            raise self.error
        self.values.append(value)

    def publish_xcom(self, context: object, key: str, value: object) -> None:
        assert (context, key) == (CONTEXT, LINK_XCOM_KEY)
        self.links.append(value)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    return Airflow(monkeypatch)


async def double(number: int) -> int:
    if number == 13:
        raise ValueError("unlucky")
    return 2 * number


async def reported(work: AsyncMap[Any, R]) -> list[R]:
    async with progress.reporting(CONTEXT):
        return [value async for value in work]


async def test_what_an_amap_did_is_written_at_the_end(airflow: Airflow) -> None:
    assert len(await reported(amap(double, range(10), limit=2))) == 10
    (value,) = airflow.values
    (stage,) = value["stages"]
    assert (value["version"], value["state"], value["try"]) == (1, "success", 2)
    assert (stage["label"], stage["done"], stage["total"], stage["active"]) == ("double", 10, 10, 0)
    assert len(airflow.links) == 1


async def test_a_task_without_an_amap_writes_nothing(airflow: Airflow) -> None:
    async with progress.reporting(CONTEXT):
        await asyncio.sleep(0)
    assert airflow.values == airflow.links == []


async def test_a_task_that_fails_says_so(airflow: Airflow) -> None:
    with pytest.raises(ValueError, match="unlucky"):
        await reported(amap(double, [1, 13], limit=1))
    (value,) = airflow.values
    assert value["state"] == "failed"
    assert [(failure["item"], failure["error"]) for failure in value["failures"]] == [("13", "ValueError: unlucky")]


async def test_what_airflow_masks_is_masked(airflow: Airflow) -> None:
    log = importlib.import_module("airflow.sdk.log")
    if not hasattr(log, "mask_secret"):  # before 3.0.6
        log = importlib.import_module("airflow.sdk.execution_time.secrets_masker")

    async def fail(_: str) -> None:
        raise ValueError("the password is correct-horse-battery")

    log.mask_secret("correct-horse-battery")
    with pytest.raises(ValueError, match="correct-horse"):
        await reported(amap(fail, ["correct-horse-battery"], limit=1))
    assert "correct-horse" not in str(airflow.values)
    assert "***" in airflow.values[0]["failures"][0]["error"]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def finished_work(monitor: Monitor) -> None:
    with monitor:
        async for _ in amap(double, [1], limit=1):
            pass


async def test_it_is_written_no_more_often_than_asked_for(airflow: Airflow) -> None:
    clock = Clock()
    monitor = Monitor(clock=clock)
    await finished_work(monitor)
    page = progress._Page(CONTEXT, every_seconds=2)
    for seconds in (0, 1, 1.9, 0.1, 1, 1):
        clock.now += seconds
        page.tick(monitor)
        while page._write is not None and not page._write.done():
            await asyncio.wait([page._write])
    assert len(airflow.values) == 3


async def test_nothing_is_written_while_something_is_being_written(airflow: Airflow) -> None:
    clock = Clock()
    monitor = Monitor(clock=clock)
    await finished_work(monitor)
    page = progress._Page(CONTEXT, every_seconds=2)
    airflow.goes_on.clear()
    page.tick(monitor)
    first = page._write
    await asyncio.sleep(0)
    clock.now += 10
    page.tick(monitor)
    assert page._write is first
    airflow.goes_on.set()
    await page.end(monitor, "success", hurried=False)
    assert [value["state"] for value in airflow.values] == ["running", "success"]


async def test_a_store_that_fails_is_mentioned_once_and_harms_nothing(
    airflow: Airflow, caplog: pytest.LogCaptureFixture
) -> None:
    airflow.error = RuntimeError("no such table")
    clock = Clock()
    monitor = Monitor(clock=clock)
    await finished_work(monitor)
    page = progress._Page(CONTEXT, every_seconds=2)
    for _ in range(3):
        clock.now += 2
        page.tick(monitor)
        assert page._write is not None
        await page._write
    await page.end(monitor, "success", hurried=False)
    assert [record.message for record in caplog.records if "no such table" in record.message] == [
        "progress could not be written, and is not shown until it can be: no such table"
    ]


async def test_a_store_that_hangs_delays_the_end_within_a_bound(
    airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_HURRIED_SECONDS", 0.01)
    monkeypatch.setattr(progress, "_LAST_SECONDS", 3600)
    airflow.goes_on.clear()
    running = asyncio.Event()

    async def task() -> None:
        async with progress.reporting(CONTEXT):
            async for _ in amap(double, [1], limit=1):
                pass
            running.set()
            await asyncio.Event().wait()

    killed = asyncio.create_task(task())
    await running.wait()
    killed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killed
    airflow.goes_on.set()


class Stats:
    def __init__(self) -> None:
        self.sent: list[tuple[str, float, Mapping[str, str]]] = []

    def incr(self, stat: str, count: int = 1, *, tags: Mapping[str, str]) -> None:
        self.sent.append((stat, count, tags))

    def gauge(self, stat: str, value: float, *, tags: Mapping[str, str]) -> None:
        self.sent.append((stat, value, tags))

    timing = gauge


async def test_metrics_count_what_is_new_since_the_last_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = Stats()
    monkeypatch.setattr(compat, "metrics", lambda: stats)
    clock = Clock()
    monitor = Monitor([metrics.Metrics(CONTEXT)], clock=clock)
    with monitor:
        numbers = aiter(amap(double, range(13), limit=1))
        for _ in range(3):
            await anext(numbers)
        monitor.tick()
        async for _ in numbers:
            pass
        with pytest.raises(ValueError, match="unlucky"):
            [number async for number in amap(double, [13], limit=1)]
    tags = {"dag_id": "d", "task_id": "t", "stage": "double"}
    assert all(sent[2] == tags for sent in stats.sent)
    assert sum(count for stat, count, _ in stats.sent if stat == "async.items.done") == 13
    assert len([stat for stat, *_ in stats.sent if stat == "async.items.done"]) == 2
    assert [count for stat, count, _ in stats.sent if stat == "async.items.failed"] == [1]


async def test_metrics_tell_what_a_pool_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    stats = Stats()
    monkeypatch.setattr(compat, "metrics", lambda: stats)

    async def connect() -> object:
        return object()

    async def close(_: object) -> None:
        pass

    with Monitor([metrics.Metrics(CONTEXT)]) as monitor:
        made: Pool[object, object] = Pool(connect, close=close, size=2, name="warehouse")
        async with made as pool, pool.lease(), pool.lease():
            monitor.tick()
            waiting = asyncio.create_task(pool.lease().__aenter__())
            await asyncio.sleep(0)
            monitor.tick()
            waiting.cancel()
            await asyncio.wait([waiting])
    tags = {"dag_id": "d", "task_id": "t", "pool": "warehouse"}
    assert all(sent[2] == tags for sent in stats.sent)
    assert [value for stat, value, _ in stats.sent if stat == "async.pool.leased"] == [2, 2, 0]
    assert [value for stat, value, _ in stats.sent if stat == "async.pool.waiting"] == [0, 1, 0]
    assert [value for stat, value, _ in stats.sent if stat == "async.pool.open"] == [2, 2, 0]
    assert any(stat == "async.pool.lease_wait" for stat, *_ in stats.sent)


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    return exporter


async def test_each_amap_and_each_connection_has_a_span_and_no_item(exporter: InMemorySpanExporter) -> None:
    async def connect() -> object:
        return object()

    async def close(_: object) -> None:
        pass

    async def outer(number: int) -> int:
        return sum([value async for value in amap(double, range(number), limit=2, label="inner")])

    with Monitor([spans.Spans()]):
        made: Pool[object, object] = Pool(connect, close=close, size=1, name="warehouse")
        async with made as pool, pool.lease():
            assert [value async for value in amap(outer, [2, 3], limit=1)] == [2, 6]
    found = exporter.get_finished_spans()
    assert sorted(span.name for span in found) == ["amap inner", "amap inner", "amap outer", "connect warehouse"]
    by_name = {span.name: span for span in found}
    parent = by_name["amap inner"].parent
    assert parent is not None
    assert parent.span_id == by_name["amap outer"].context.span_id
    attributes = by_name["amap outer"].attributes
    assert attributes is not None
    assert (attributes["async.done"], attributes["async.total"]) == (2, 2)


async def test_where_nobody_traces_nothing_is_imported_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    with Monitor([spans.Spans()]) as monitor:
        assert len([value async for value in amap(double, [1], limit=1)]) == 1
        monitor.connection_opened("warehouse", 0.1)
    assert "opentelemetry.trace" not in sys.modules


async def test_a_span_of_what_is_left_behind_ends_too(exporter: InMemorySpanExporter) -> None:
    with Monitor([spans.Spans()]):
        numbers = amap(double, range(100), limit=1)
        values = aiter(numbers)
        await anext(values)
    assert [span.name for span in exporter.get_finished_spans()] == ["amap double"]
    await numbers.aclose()


async def test_in_a_terminal_a_bar_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with Monitor([bar.Bar()]) as monitor:
        numbers = aiter(amap(double, range(12), limit=1, label="[bold]load[/bold]"))
        await anext(numbers)
        monitor.tick()
        async for _ in numbers:
            pass
    drawn = terminal.getvalue()
    assert "[bold]load[/bold]" in drawn
    assert "12 of 12" in drawn


def test_without_work_no_bar_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Monitor([bar.Bar()]) as monitor:
        monitor.tick()
    assert terminal.getvalue() == ""
