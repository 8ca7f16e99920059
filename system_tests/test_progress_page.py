# SPDX-License-Identifier: Apache-2.0
"""The progress page in Airflow's UI, seen through a browser."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.sync_api import expect

from airflow_provider_async.runtime.progress_page import MOUNT
from system_tests.dags.progress_page import GO_ON, HOSTILE, ITEMS, TOTAL
from system_tests.hazards import parse_version
from system_tests.support.browser import WAIT_SECONDS, note_troubles, open_browser
from system_tests.support.processes import Component, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page

    from system_tests.support.airflow import Airflow

pytestmark = pytest.mark.timeout(300)

VERSION = parse_version(version("apache-airflow-core"))
HAS_TABS = VERSION >= (3, 1)
DAG_ID = "progress_page"
VIEWER = "anna"
# Where pictures for the documentation go, if they are wanted.
PICTURES = os.environ.get("PROGRESS_PICTURES")


@pytest.fixture(scope="module")
def run_id(airflow: Airflow) -> str:
    """Start the DAG whose tasks are looked at."""
    airflow.wait_for_dags(DAG_ID)
    return airflow.client.trigger(DAG_ID)


# For a module, not longer: Playwright runs an event loop of its own in this thread, beside which no other can run.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give a browser."""
    with open_browser() as opened:
        yield opened


@pytest.fixture
def context(browser: Browser, airflow: Airflow) -> Iterator[BrowserContext]:
    """Give a browser that has logged in, and has waited until Airflow's UI was there."""
    made = browser.new_context(viewport={"width": 1280, "height": 860}, timezone_id="UTC")
    made.set_default_timeout(WAIT_SECONDS * 1000)
    page = made.new_page()
    page.goto(base_url(airflow))
    expect(page.get_by_role("link", name="Dags").first).to_be_visible()
    page.close()
    yield made
    made.close()


def base_url(airflow: Airflow) -> str:
    return airflow.environment["AIRFLOW__API__BASE_URL"]


def links(airflow: Airflow, run_id: str, task_id: str, *, dag_id: str = DAG_ID, map_index: int = -1) -> dict[str, str]:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/links"
    found: dict[str, str] = airflow.client._get(path, map_index=map_index)["extra_links"]
    return found


def wait_for_link(airflow: Airflow, run_id: str, task_id: str, *, dag_id: str = DAG_ID, map_index: int = -1) -> str:
    def ask() -> str | None:
        return links(airflow, run_id, task_id, dag_id=dag_id, map_index=map_index).get("Progress")

    airflow.wait_for(f"the link of {task_id}", lambda: ask() is not None, timeout_seconds=WAIT_SECONDS)
    return str(ask())


def read_report(airflow: Airflow, run_id: str, task_id: str, *, dag_id: str = DAG_ID) -> dict[str, Any]:
    where = "state-store" if VERSION >= (3, 3) else "xcomEntries"
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{where}/async_progress"
    found = airflow.client._get(path)["value"]
    if isinstance(found, str):
        found = json.loads(found)
    assert isinstance(found, dict)
    return found


def wait_for_end(airflow: Airflow, run_id: str, task_id: str, *, dag_id: str = DAG_ID) -> None:
    def has_ended() -> bool:
        found = [task for task in airflow.client.task_instances(dag_id, run_id) if task.task_id == task_id]
        return bool(found) and all(task.has_ended for task in found)

    airflow.wait_for(f"the end of {task_id}", has_ended, timeout_seconds=WAIT_SECONDS)


def tab(page: Page) -> Page | FrameLocator:
    """Give what shows progress: the frame in Airflow's page, or the page itself before 3.1."""
    return page.frame_locator("iframe[title=Progress]") if HAS_TABS else page


def take_picture(page: Page, name: str) -> None:
    if PICTURES is not None:
        page.screenshot(path=Path(PICTURES, name))


def test_a_running_task_is_followed_to_its_end(
    airflow: Airflow, run_id: str, context: BrowserContext, marks_folder: Path
) -> None:
    page = context.new_page()
    troubles = note_troubles(page)
    link = wait_for_link(airflow, run_id, "by_hand")
    page.goto(f"{base_url(airflow)}/{link}")
    shown = tab(page)

    bar = shown.get_by_role("progressbar", name="load")
    expect(bar).to_have_js_property("value", TOTAL // 2)
    report = read_report(airflow, run_id, "by_hand")
    (load, insert), (pool,) = report["stages"], report["pools"]
    expect(bar).to_have_js_property("max", load["total"])
    assert load["done"] == TOTAL // 2
    row = shown.locator(".stage").filter(has_text="load")
    expect(row).to_contain_text(f"{load['done']:,} of {load['total']:,} done (50 %)")
    for number, word in (
        (load["failed"], "failed"),
        (load["skipped"], "skipped"),
        (load["resumed"], "done by an earlier try"),
        (load["retries"], "retried"),
    ):
        expect(row).to_contain_text(f"{number:,} {word}")
    expect(row).to_contain_text(f"{load['rate']:.0f}/s")
    expect(shown.locator(".stage").nth(1)).to_contain_text(f"{insert['done']:,} done, total unknown")
    expect(shown.locator("#pools tr")).to_contain_text(f"{pool['leased']} of {pool['limit']}")
    expect(shown.locator("#summary")).to_contain_text("Running · try 1")

    # What comes from users' data stays text.
    expect(shown.locator("#failures .item").first).to_have_text(repr(HOSTILE))
    expect(shown.locator("img")).to_have_count(0)

    take_picture(page, "progress-light.png")
    root = shown.locator("html")
    light = bar.evaluate("element => getComputedStyle(element).backgroundColor")
    switch_theme(page, "dark")
    expect(root).to_have_class("dark" if HAS_TABS else "alone dark")
    expect(root).to_have_css("color-scheme", "dark")
    assert bar.evaluate("element => getComputedStyle(element).backgroundColor") != light
    take_picture(page, "progress-dark.png")
    switch_theme(page, "light")
    expect(root).to_have_css("color-scheme", "light")

    # The keyboard reaches what scrolls.
    scroll = shown.get_by_role("region", name="Pools")
    scroll.focus()
    page.keyboard.press("Tab")
    expect(shown.get_by_role("region", name="Newest failures")).to_be_focused()

    (marks_folder / GO_ON).touch()
    expect(bar).to_have_js_property("value", TOTAL)
    expect(shown.locator("#summary")).to_contain_text("Succeeded · try 1")
    wait_for_end(airflow, run_id, "by_hand")
    expect(root).to_have_attribute("data-polling", "ended")
    expect(row).to_contain_text(f"{TOTAL:,} of {TOTAL:,} done (100 %)")
    assert own(troubles) == []


def switch_theme(page: Page, theme: str) -> None:
    """Switch it as a user does: in another window of Airflow where there is no Airflow around the page."""
    if HAS_TABS:
        page.evaluate(f"document.documentElement.style.colorScheme = document.documentElement.className = '{theme}'")
        return
    other = page.context.new_page()
    other.goto(page.url.split(MOUNT)[0])
    other.evaluate(f"localStorage.setItem('theme', '{theme}')")
    other.close()


def own(troubles: list[str]) -> list[str]:
    """Leave out the one refusal on 3.0, whose API takes no cookie: the page is told so, and sends the token then."""
    return [trouble for trouble in troubles if HAS_TABS or "401" not in trouble]


def test_the_link_stands_on_the_page_of_the_task(airflow: Airflow, run_id: str, context: BrowserContext) -> None:
    link = wait_for_link(airflow, run_id, "by_hand")
    page = context.new_page()
    page.goto(f"{base_url(airflow)}/dags/{DAG_ID}/runs/{run_id}/tasks/by_hand/details")

    button = page.locator(f'a[href="{link}"]')
    expect(button).to_have_text("Progress")
    # The page of the task lies deeper than the base that the link is relative to.
    page.goto(str(button.evaluate("element => element.href")))
    expect(tab(page).get_by_role("progressbar", name="load")).to_be_visible()


def test_each_mapped_task_shows_its_own(airflow: Airflow, run_id: str, context: BrowserContext) -> None:
    page = context.new_page()
    troubles = note_troubles(page)
    for index in (0, 1):
        page.goto(f"{base_url(airflow)}/{wait_for_link(airflow, run_id, 'mapped', map_index=index)}")
        expect(tab(page).locator(".stage").first).to_contain_text(f"{100 + index} of {TOTAL:,} done")
    assert own(troubles) == []


@pytest.mark.parametrize(
    ("task_id", "words"),
    [("plain", "This task reports no progress."), ("silent", "This task has reported no progress.")],
)
def test_a_task_without_progress_says_so(
    airflow: Airflow, run_id: str, context: BrowserContext, task_id: str, words: str
) -> None:
    wait_for_end(airflow, run_id, task_id)
    page = context.new_page()
    troubles = note_troubles(page)
    page.goto(address(airflow, run_id, task_id))

    expect(tab(page).locator("#message")).to_contain_text(words)
    assert links(airflow, run_id, task_id).get("Progress") is None
    assert own(troubles) == []


def address(airflow: Airflow, run_id: str, task_id: str) -> str:
    if HAS_TABS:
        return f"{base_url(airflow)}/dags/{DAG_ID}/runs/{run_id}/tasks/{task_id}/plugin/progress"
    return page_address(base_url(airflow), run_id, task_id)


def page_address(base: str, run_id: str, task_id: str) -> str:
    return f"{base}/{MOUNT}/page.html?dag={DAG_ID}&run={run_id}&task={task_id}&mi=-1"


@pytest.fixture(scope="module")
def strict_url(airflow: Airflow) -> Iterator[str]:
    """Run a second API server on the same database, which knows one user and has a path; give its base URL."""
    (port,) = free_ports(1)
    base = f"http://127.0.0.1:{port}/team/airflow"
    passwords = airflow.home / "passwords.json"
    passwords.write_text(json.dumps({VIEWER: VIEWER}))
    settings = {
        "AIRFLOW__API__BASE_URL": base,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{VIEWER}:viewer",
    }
    server = Component(
        "the second API server",
        [sys.executable, "-m", "airflow", "api-server", "--port", str(port), "--workers", "1"],
        environment=airflow.environment | settings,
        log=airflow.home / "second-api-server.log",
    )
    server.start()

    def is_up() -> bool:
        server.check()
        try:
            return httpx.get(f"{base}/api/v2/version", trust_env=False).is_success
        except httpx.TransportError:
            return False

    try:
        airflow.wait_for("the second API server", is_up, timeout_seconds=2 * WAIT_SECONDS)
        yield base
    finally:
        server.terminate()
        try:
            server.wait(20)
        except TimeoutError:
            server.kill()


def test_who_has_not_logged_in_sees_nothing(airflow: Airflow, run_id: str, browser: Browser, strict_url: str) -> None:
    wait_for_link(airflow, run_id, "by_hand")
    stranger = browser.new_context()
    page = stranger.new_page()
    page.goto(page_address(strict_url, run_id, "by_hand"))

    expect(page.locator("#message")).to_contain_text("You are not logged in")
    expect(page.locator(".stage, td")).to_have_count(0)
    assert "done" not in page.locator("main").inner_text()
    stranger.close()


def test_a_user_who_may_only_look_sees_it_below_the_path_of_the_base_url(
    airflow: Airflow, run_id: str, browser: Browser, strict_url: str
) -> None:
    link = wait_for_link(airflow, run_id, "by_hand")
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{strict_url}/")
    page.locator("input[name=username]").fill(VIEWER)
    page.locator("input[name=password]").fill(VIEWER)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Dags").first).to_be_visible()
    troubles = note_troubles(page)
    page.goto(f"{strict_url}/{link}")

    expect(tab(page).get_by_role("progressbar", name="load")).to_be_visible()
    assert own(troubles) == []
    context.close()


def test_a_task_that_maps_over_items_is_followed(airflow: Airflow, context: BrowserContext) -> None:
    dag_id, task_id = "progress_page_at_work", "at_work"
    airflow.wait_for_dags(dag_id)
    run_id = airflow.client.trigger(dag_id)
    link = wait_for_link(airflow, run_id, task_id, dag_id=dag_id)
    page = context.new_page()
    troubles = note_troubles(page)
    page.goto(f"{base_url(airflow)}/{link}")
    shown = tab(page)

    bar = shown.get_by_role("progressbar", name="fetch")
    expect(bar).to_be_visible()
    wait_for_end(airflow, run_id, task_id, dag_id=dag_id)
    expect(shown.locator("html")).to_have_attribute("data-polling", "ended")

    failed = ITEMS // 50
    (fetch,) = read_report(airflow, run_id, task_id, dag_id=dag_id)["stages"]
    assert (fetch["done"], fetch["failed"], fetch["total"]) == (ITEMS - failed, failed, ITEMS)
    expect(bar).to_have_js_property("value", ITEMS - failed)
    expect(shown.locator(".stage")).to_contain_text(f"{failed} failed")
    expect(shown.locator("#failures .item")).to_have_count(failed)
    expect(shown.locator("#failures .item").first).to_have_text(repr(HOSTILE))
    expect(shown.locator("#pools tr")).to_contain_text("numbers")
    expect(shown.locator("img")).to_have_count(0)
    assert own(troubles) == []
