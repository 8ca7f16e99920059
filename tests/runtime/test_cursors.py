# SPDX-License-Identifier: Apache-2.0
"""Cursors of tasks: what the runs of a DAG leave to each other, and where."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
from airflow.sdk.exceptions import ErrorType
from airflow.sdk.execution_time import task_runner

from airflow_provider_async import amap
from airflow_provider_async.core.carryover import current_carryovers
from airflow_provider_async.runtime import compat, stores
from airflow_provider_async.runtime.state import resuming
from airflow_provider_async.runtime.stores import CURSOR_PREFIX, KEY_PREFIX, PathStore
from tests.runtime.test_state import Comms, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Airflow 3.0's ObjectStoragePath
pytestmark = pytest.mark.filterwarnings("ignore:in a future version of UPath:PendingDeprecationWarning")

MIDNIGHT = datetime(2026, 1, 10, tzinfo=UTC)
DAY = timedelta(days=1)

Texts: TypeAlias = "Callable[[], list[str]]"


@pytest.fixture
def comms(monkeypatch: pytest.MonkeyPatch) -> Comms:
    comms = Comms()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    return comms


@pytest.fixture(params=["variables", "folder", "object storage"])
def kept(request: pytest.FixtureRequest, comms: Comms, tmp_path: Path) -> Iterator[Texts]:
    """Give the names of what is kept."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "variables":
            yield lambda: [*comms.values]
            return
        patch.setenv("AIRFLOW__ASYNC__CHECKPOINT_PATH", f"file://{tmp_path}/kept")
        if request.param == "object storage":
            patch.setattr(stores, "_store_below", PathStore)
        yield lambda: [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]


def scheduled(days: int, *, run_id: str | None = None) -> SimpleNamespace:
    """Give a run for the day that ends so many days after the first."""
    end = MIDNIGHT + days * DAY
    return SimpleNamespace(
        run_id=run_id or f"scheduled__{days}",
        logical_date=end - DAY,
        data_interval_start=end - DAY,
        data_interval_end=end,
        run_after=end,
        conf=None,
    )


def triggered(at: datetime, *, run_id: str = "manual__", logical_date: datetime | None = None) -> SimpleNamespace:
    """Give a run that was triggered by hand or by an asset; with a logical date as Airflow 3 infers its interval."""
    last_midnight = None if logical_date is None else logical_date.replace(hour=0)
    return SimpleNamespace(
        run_id=run_id,
        logical_date=logical_date,
        data_interval_start=None if last_midnight is None else last_midnight - DAY,
        data_interval_end=last_midnight,
        run_after=at,
        conf=None,
    )


class Run:
    """The task of a run, which begins at once and succeeds when it is told to."""

    def __init__(self, dag_run: SimpleNamespace, *, map_index: int | None = -1, dag_id: str = "dag") -> None:
        self.task = SimpleNamespace(on_success_callback=[])
        ti = SimpleNamespace(
            dag_id=dag_id, run_id=dag_run.run_id, task_id="token", map_index=map_index, try_number=1, task=self.task
        )
        self.context: dict[str, Any] = {"ti": ti, "dag_run": dag_run}

    def work(self, link: str, *, error: Exception | None = None) -> object:
        """Return what it goes on from."""

        async def main() -> object:
            async with resuming(self.context):
                carryovers = current_carryovers()
                assert carryovers is not None
                cursor = await carryovers.open("users")
                began = cursor.value
                cursor.set({"link": link})
                if error is not None:
                    raise error
                return None if began is None else began["link"]

        return asyncio.run(main())

    def succeed(self) -> None:
        for callback in self.task.on_success_callback:
            callback(self.context)

    def begins_at(self) -> object:
        return self.work("")


def done(dag_run: SimpleNamespace, link: str) -> object:
    run = Run(dag_run)
    began = run.work(link)
    run.succeed()
    return began


def test_each_run_goes_on_from_the_one_before_it(kept: Texts) -> None:
    assert done(scheduled(1), "a") is None
    assert done(scheduled(2), "b") == "a"
    assert done(scheduled(3), "c") == "b"
    assert len(kept()) == 1


def test_nothing_is_kept_of_a_run_that_did_not_succeed(kept: Texts) -> None:
    with pytest.raises(ZeroDivisionError):
        Run(scheduled(1)).work("a", error=ZeroDivisionError())
    assert kept() == []
    Run(scheduled(1)).work("a")
    assert kept() == []


def test_a_backfill_and_a_cleared_run_leave_what_a_newer_run_has_left(kept: Texts) -> None:
    done(scheduled(1), "a")
    done(scheduled(5), "e")
    assert done(scheduled(3, run_id="backfill__3"), "c") == "a"
    assert done(scheduled(5), "e again") == "c"
    assert done(scheduled(1), "a again") is None

    assert Run(scheduled(6)).begins_at() == "e again"


def test_runs_at_once_end_in_any_order(kept: Texts) -> None:
    older, newer = Run(scheduled(1)), Run(scheduled(2))
    assert (older.work("a"), newer.work("b")) == (None, None)
    newer.succeed()
    older.succeed()

    assert Run(scheduled(3)).begins_at() == "b"


def test_a_run_without_a_logical_date_stands_where_it_was_to_begin(kept: Texts) -> None:
    done(scheduled(1), "a")
    assert done(triggered(MIDNIGHT + 1.5 * DAY), "by hand") == "a"
    assert done(scheduled(2), "b") == "by hand"
    assert done(scheduled(1), "a again") is None

    assert Run(triggered(MIDNIGHT + 3 * DAY)).begins_at() == "b"


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (scheduled(1), scheduled(2)),
        (scheduled(1), triggered(MIDNIGHT + 1.5 * DAY)),
        (triggered(MIDNIGHT + 0.5 * DAY), scheduled(1)),
        # By hand at noon: its interval is the one of the run at midnight.
        (scheduled(1), triggered(MIDNIGHT + 1.5 * DAY, logical_date=MIDNIGHT + 1.5 * DAY)),
        (triggered(MIDNIGHT + 1.5 * DAY, logical_date=MIDNIGHT + 1.5 * DAY), scheduled(2)),
        # By hand for a day that is over.
        (triggered(MIDNIGHT + 9 * DAY, logical_date=MIDNIGHT), scheduled(2)),
        (triggered(MIDNIGHT, run_id="a"), triggered(MIDNIGHT, run_id="b")),
    ],
)
def test_runs_are_in_the_order_of_what_they_are_for(older: SimpleNamespace, newer: SimpleNamespace) -> None:
    assert compat.run_place({"dag_run": older}) < compat.run_place({"dag_run": newer})


def test_dates_are_compared_whatever_their_zone() -> None:
    from zoneinfo import ZoneInfo

    one = scheduled(1)
    other = scheduled(1)
    other.logical_date = one.logical_date.astimezone(ZoneInfo("Asia/Tokyo"))
    other.data_interval_end = one.data_interval_end.astimezone(ZoneInfo("America/New_York"))

    assert compat.run_place({"dag_run": one}) == compat.run_place({"dag_run": other})


def test_dags_and_map_indexes_are_kept_apart(kept: Texts) -> None:
    done(scheduled(1), "a")
    assert Run(scheduled(2), map_index=0).begins_at() is None
    assert Run(scheduled(2), dag_id="another").begins_at() is None
    assert Run(scheduled(2), map_index=None).begins_at() == "a"


def test_a_run_begins_anew_if_its_conf_says_so(kept: Texts) -> None:
    done(scheduled(1), "a")
    for wish, begins_at in ((True, None), (["users"], None), (["groups"], "a"), (False, "a")):
        dag_run = scheduled(2)
        dag_run.conf = {"async_fresh_start": wish}
        assert Run(dag_run).begins_at() == begins_at


def test_a_variable_says_whose_it_is_and_is_none_that_the_command_removes(comms: Comms) -> None:
    done(scheduled(1), "a")
    ((key, description),) = comms.descriptions.items()

    assert key.startswith(CURSOR_PREFIX)
    assert not key.startswith(KEY_PREFIX)
    # Airflow masks what has such a name.
    assert "token" not in key
    assert description.startswith("users.cursor of task token of DAG dag. Written on 20")


def test_a_state_store_keeps_no_cursor_for_it_ends_with_its_run(comms: Comms) -> None:
    state = TaskState()
    run = Run(scheduled(1))
    run.context["task_state_store"] = state
    run.work("a")
    run.succeed()

    assert state.values == {}
    assert len(comms.values) == 1


def test_a_path_has_a_folder_for_cursors_that_is_no_dag(
    comms: Comms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__ASYNC__CHECKPOINT_PATH", str(tmp_path))
    done(scheduled(1), "a")
    run = Run(scheduled(1), dag_id=".cursors")
    run.work("a")
    run.succeed()

    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert found == [".cursors/%2Ecursors/token/-1/users.cursor", ".cursors/dag/token/-1/users.cursor"]


def test_a_cursor_is_kept_before_what_the_tries_needed_is_removed(
    comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with resuming(run.context):
            async for _ in amap(asyncio.sleep, [0], limit=1, resume="sleep"):
                pass
            carryovers = current_carryovers()
            assert carryovers is not None
            (await carryovers.open("users")).set({"link": "a"})

    run = Run(scheduled(1))
    asyncio.run(main())
    assert len(run.task.on_success_callback) == 1
    assert all(key.startswith(KEY_PREFIX) for key in comms.values)
    # Whoever is killed in between leaves too much behind, which does no harm.
    with monkeypatch.context() as patch:
        patch.setattr(stores.VariableStore, "remove", lambda _store, _key: 1 / 0)
        run.succeed()
    assert sum(key.startswith(CURSOR_PREFIX) for key in comms.values) == 1


def test_a_server_that_does_not_answer_fails_no_task_that_has_succeeded(
    comms: Comms, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(scheduled(1))
    run.work("a")
    comms.error = ErrorType.API_SERVER_ERROR
    run.succeed()

    assert "cursor 'users' could not be kept, so the next run begins where this one did" in caplog.text
