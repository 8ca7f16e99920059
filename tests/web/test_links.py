# SPDX-License-Identifier: Apache-2.0
"""Where the link *Progress* leads to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.links import ProgressLink
from airflow_provider_async.runtime import compat
from airflow_provider_async.runtime.progress_page import LINK_XCOM_KEY, progress_url
from airflow_provider_async.web.plugin import ProgressPlugin

if TYPE_CHECKING:
    from pytest import MonkeyPatch  # noqa: PT013 - only the type


def instance(run_id: str = "manual__2026-01-01T00:00:00+00:00", map_index: int | None = -1) -> Any:  # noqa: ANN401
    return SimpleNamespace(dag_id="nightly", run_id=run_id, task_id="group.load", map_index=map_index)


@pytest.fixture
def _tabs(request: pytest.FixtureRequest, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "has_task_tabs", lambda: request.param)


@pytest.mark.parametrize("_tabs", [True], indirect=True)
@pytest.mark.usefixtures("_tabs")
@pytest.mark.parametrize(("map_index", "mapped"), [(-1, ""), (None, ""), (0, "/mapped/0"), (12, "/mapped/12")])
def test_it_leads_to_the_tab_of_the_task_instance(map_index: int | None, mapped: str) -> None:
    (view,) = ProgressPlugin.external_views
    run = "manual__2026-01-01T00%3A00%3A00%2B00%3A00"

    url = progress_url(instance(map_index=map_index))

    assert url == f"dags/nightly/runs/{run}/tasks/group.load{mapped}/plugin/{view['url_route']}"


@pytest.mark.parametrize("_tabs", [False], indirect=True)
@pytest.mark.usefixtures("_tabs")
@pytest.mark.parametrize(("map_index", "shown"), [(-1, -1), (None, -1), (3, 3)])
def test_without_tabs_it_leads_to_the_page_itself(map_index: int | None, shown: int) -> None:
    url = progress_url(instance("a&b#c", map_index))

    assert url == f"async-progress/page.html?dag=nightly&run=a%26b%23c&task=group.load&mi={shown}"


def test_no_address_begins_at_the_root_of_the_host() -> None:
    assert not progress_url(instance()).startswith(("/", "http"))


def test_the_link_is_stored_under_the_key_that_tasks_write() -> None:
    assert ProgressLink().xcom_key == LINK_XCOM_KEY


def test_the_link_leads_where_the_task_says() -> None:
    found = ProgressLink().get_link(None, ti_key=instance())  # type: ignore[arg-type]

    assert found == progress_url(instance())


@pytest.mark.parametrize(("version", "tabs"), [("3.0.6", False), ("3.1.0", True), ("3.10.0rc1", True), ("4.0.0", True)])
def test_tabs_exist_from_airflow_3_1_on(version: str, tabs: bool, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr("airflow.__version__", version)

    assert compat.has_task_tabs() is tabs
