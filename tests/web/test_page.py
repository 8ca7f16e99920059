# SPDX-License-Identifier: Apache-2.0
"""The page in a browser: what it shows of a report, when it reads again, and what it makes of what is not right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from .conftest import FakeAirflow

pytestmark = pytest.mark.timeout(180)  # a browser, on a machine that may be busy

Report = dict[str, Any]


def stage(airflow: FakeAirflow, label: str) -> Locator:
    return airflow.page.locator(".stage").filter(has=airflow.page.get_by_text(label, exact=True))


def values_read(airflow: FakeAirflow) -> int:
    return sum("/async_progress?" in request for request in airflow.requests)


def turns(airflow: FakeAirflow) -> int:
    return sum(request == "dags/d/dagRuns/r/taskInstances/t" for request in airflow.requests)


def wait_for_turn(airflow: FakeAirflow, number: int) -> None:
    """Wait until the page has begun its turn of that number, and waits for the next or is done."""
    airflow.page.wait_for_function("() => document.documentElement.dataset.polling !== undefined")
    deadline = 600
    while turns(airflow) < number and deadline > 0:
        airflow.page.wait_for_timeout(20)
        deadline -= 1
    assert turns(airflow) == number
    airflow.page.wait_for_load_state("networkidle")


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_a_stage_has_a_bar_with_a_label_and_its_counts(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.open()

    bar = airflow.page.get_by_role("progressbar", name="load")
    expect(bar).to_have_attribute("value", "1700")
    expect(bar).to_have_attribute("max", "17000")
    expect(bar).to_have_attribute("aria-valuetext", "1,700 of 17,000 done (10 %)")
    expect(stage(airflow, "load")).to_contain_text("1,700 of 17,000 done (10 %)")
    assert stage(airflow, "load").locator(".facts span").all_text_contents() == [
        "170/s",
        "53 MB at 1.2 MB/s",
        "90 s left",
        "13 s so far",
        "3 failed",
        "4 skipped",
        "1,200 done by an earlier try",
        "5 retried",
        "12 waits for a lease, 0.4 s",
    ]
    expect(airflow.page.locator("#summary")).to_have_text("Running · try 1 · for 13 s · as of 22:13:32 UTC")
    assert airflow.troubles == []


def test_a_chart_tells_in_words_what_it_draws(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.open()

    chart = airflow.page.get_by_role("img", name="Rate over 2 s: now 170/s, at most 200/s")
    expect(chart).to_be_visible()
    assert chart.locator("polyline").get_attribute("points") == "0.0,20.5 88.0,2.0 176.0,7.5"


def test_pools_and_failures_are_tables_with_headers(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.open()

    pool = airflow.page.get_by_role("row").filter(has=airflow.page.get_by_role("rowheader", name="sftp_default"))
    cells = ["2 of 4", "60 of 64", "3", "12, 0.4 s in all", "2, 1 failed"]
    expect(pool.get_by_role("cell")).to_have_text(cells)
    expect(pool.get_by_role("meter", name="Connections open")).to_have_js_property("value", 2)
    failure = airflow.page.locator("#failures tr")
    expect(failure.get_by_role("cell")).to_have_text(["22:13:31", "load", "'a.xml'", "FileNotFoundError: no such file"])
    expect(airflow.page.get_by_role("columnheader")).to_have_count(10)


def test_a_limit_that_is_being_found_out_is_said_to_be(airflow: FakeAirflow, report: Report) -> None:
    report["pools"][0]["auto"] = True
    airflow.value = report
    airflow.open()

    expect(airflow.page.locator("#pools")).to_contain_text("60 of 64 (auto)")


def test_nested_stages_are_indented(airflow: FakeAirflow, report: Report) -> None:
    report["stages"].append(report["stages"][0] | {"label": "insert", "depth": 1})
    airflow.value = report
    airflow.open()

    outer, inner = stage(airflow, "load").bounding_box(), stage(airflow, "insert").bounding_box()
    assert outer is not None
    assert inner is not None
    assert inner["x"] > outer["x"]
    assert inner["y"] > outer["y"]


def test_what_is_unknown_is_said_to_be_unknown(airflow: FakeAirflow, report: Report) -> None:
    report["stages"][0] |= {"total": None, "seconds_left": None, "rate": None, "retries": None, "history": None}
    report["pools"][0] |= {"open": None, "waiting": "many"}
    report["updated"] = None
    airflow.value = report
    airflow.open()

    row = stage(airflow, "load")
    expect(row).to_contain_text("1,700 done, total unknown")
    expect(row).to_contain_text("time left unknown")
    expect(row).to_contain_text("rate unknown")
    expect(row).to_contain_text("unknown retried")
    # No value: assistive technology says that it is busy, and the eye sees something move.
    assert row.get_by_role("progressbar").get_attribute("value") is None
    expect(row.locator("svg")).to_have_count(0)
    expect(airflow.page.locator("#pools")).to_contain_text("unknown of 4")
    expect(airflow.page.locator("#summary")).to_contain_text("as of unknown")
    assert airflow.troubles == []


def test_nothing_moves_for_those_who_do_not_want_it(airflow: FakeAirflow, report: Report) -> None:
    report["stages"][0]["total"] = None
    airflow.value = report
    airflow.page.emulate_media(reduced_motion="reduce")
    airflow.open()

    expect(airflow.page.get_by_role("progressbar")).to_have_css("animation-name", "none")


def test_text_of_users_stays_text(airflow: FakeAirflow, report: Report) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    report["stages"][0]["label"] = report["failures"][0]["item"] = report["failures"][0]["error"] = hostile
    report["pools"][0]["name"] = report["failures"][0]["stage"] = hostile
    airflow.value = report
    airflow.open(f"dag={hostile}&run=r&task={hostile}&mi=-1")

    for place in ("#stages .label", "#failures .item", "#failures .error", "#pools th"):
        expect(airflow.page.locator(place)).to_have_text(hostile)
    expect(airflow.page.locator("h1")).to_contain_text(hostile)
    expect(airflow.page.locator("main img, main script")).to_have_count(0)
    assert airflow.troubles == []


def test_a_report_with_other_things_in_it_harms_nothing(airflow: FakeAirflow) -> None:
    airflow.value = {"version": 1, "stages": [None, 3, {"depth": "x", "history": {"rates": "no"}}], "pools": {}}
    airflow.open()

    expect(airflow.page.locator(".stage")).to_have_count(1)
    expect(airflow.page.locator("#summary")).to_contain_text("State unknown · try unknown")
    assert airflow.troubles == []


# --- where it is read -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "where"), [("3.3.2", "state-store"), ("3.2.2", "xcomEntries"), ("4.0.0", "state-store")]
)
def test_the_version_tells_where_the_report_is(airflow: FakeAirflow, report: Report, version: str, where: str) -> None:
    airflow.version, airflow.value = version, report
    airflow.open("dag=d&run=r&task=t&mi=7")

    expect(stage(airflow, "load")).to_be_visible()
    native = "&deserialize=false" if where == "xcomEntries" else ""
    assert airflow.requests == [
        "dags/d/dagRuns/r/taskInstances/t/7",
        "dags/d/dagRuns/r/taskInstances/t/links?map_index=7",
        "version",
        f"dags/d/dagRuns/r/taskInstances/t/{where}/async_progress?map_index=7{native}",
    ]


def test_a_report_as_text_is_read_too(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = json.dumps(json.dumps(report))
    airflow.open()

    expect(stage(airflow, "load")).to_be_visible()


@pytest.mark.parametrize("run", ["a__2026-01-01T00:00:00+00:00", "a__2026-01-01T00%3A00%3A00%2B00%3A00"])
def test_a_run_id_may_arrive_encoded_or_not(airflow: FakeAirflow, report: Report, run: str) -> None:
    airflow.value = report
    airflow.open(f"dag=d&run={run}&task=t&mi={{MAP_INDEX}}")

    expect(stage(airflow, "load")).to_be_visible()
    assert airflow.requests[0] == "dags/d/dagRuns/a__2026-01-01T00%3A00%3A00%2B00%3A00/taskInstances/t"


def test_everything_is_found_below_the_path_of_the_base_url(airflow: FakeAirflow, report: Report) -> None:
    airflow.base, airflow.value = "/team/airflow/", report
    airflow.open(framed=True)

    expect(airflow.page.frame_locator("iframe").get_by_role("progressbar", name="load")).to_be_visible()
    assert airflow.troubles == []


def test_without_a_cookie_the_token_that_airflow_3_0_keeps_is_sent(airflow: FakeAirflow, report: Report) -> None:
    airflow.value, airflow.version, airflow.token = report, "3.0.6", "secret"
    airflow.page.add_init_script("localStorage.setItem('token', 'secret')")
    airflow.open()

    expect(stage(airflow, "load")).to_be_visible()
    # Asked once without it, and never again.
    assert len(airflow.troubles) == 1


# --- when it is read --------------------------------------------------------------------------------------------------


def test_a_running_task_is_followed_to_its_end(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.open()
    expect(stage(airflow, "load")).to_contain_text("1,700 of")

    report["stages"][0]["done"] = 3400
    airflow.pass_time(2.5)
    expect(stage(airflow, "load")).to_contain_text("3,400 of")

    report["stages"][0] |= {"done": 17_000, "active": 0}
    report["state"] = "success"
    airflow.task = {"state": "success", "try_number": 1}
    airflow.pass_time(2.5)
    expect(airflow.page.locator("#summary")).to_contain_text("Succeeded")
    expect(stage(airflow, "load")).to_contain_text("17,000 of 17,000 done (100 %)")
    expect(airflow.page.locator("html")).to_have_attribute("data-polling", "ended")

    read = len(airflow.requests)
    airflow.pass_time(600)
    assert len(airflow.requests) == read
    assert airflow.troubles == []


def test_two_requests_a_turn_are_enough(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.open()
    expect(stage(airflow, "load")).to_be_visible()
    read = len(airflow.requests)

    report["stages"][0]["done"] = 1701
    airflow.pass_time(2.5)
    expect(stage(airflow, "load")).to_contain_text("1,701")

    assert len(airflow.requests) == read + 2


def test_a_page_that_nobody_sees_reads_seldom(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.unseen ?? true})")
    airflow.open()
    wait_for_turn(airflow, 1)
    airflow.pass_time(29)
    assert turns(airflow) == 1
    airflow.pass_time(2)
    wait_for_turn(airflow, 2)

    airflow.page.evaluate("window.unseen = false; document.dispatchEvent(new Event('visibilitychange'))")
    wait_for_turn(airflow, 3)


def test_the_words_that_are_read_aloud_change_seldom(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.open()
    status = airflow.page.get_by_role("status")
    first = "Running. load: 1,700 of 17,000 done (10 %), 3 failed."
    expect(status).to_have_text(first)

    report["stages"][0]["done"] = 3400
    airflow.pass_time(2.5)
    expect(stage(airflow, "load")).to_contain_text("3,400 of")
    expect(status).to_have_text(first)

    airflow.pass_time(20)
    expect(status).to_have_text("Running. load: 3,400 of 17,000 done (20 %), 3 failed.")


def test_numbers_stay_while_airflow_is_away(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.open()
    expect(stage(airflow, "load")).to_be_visible()

    airflow.status = 503
    airflow.pass_time(2.5)
    expect(airflow.page.locator("#notice")).to_contain_text("cannot be reached")
    expect(stage(airflow, "load")).to_be_visible()

    airflow.status = 200
    airflow.pass_time(10)
    expect(airflow.page.locator("#notice")).to_be_hidden()


# --- when there is nothing to show ------------------------------------------------------------------------------------


def message(airflow: FakeAirflow) -> Locator:
    return airflow.page.locator("#message")


def test_a_task_of_another_kind_is_asked_once(airflow: FakeAirflow) -> None:
    airflow.links = {}
    airflow.open()

    expect(message(airflow)).to_contain_text("This task reports no progress.")
    airflow.pass_time(600)
    assert len(airflow.requests) == 2
    assert airflow.troubles == []


def test_a_task_that_may_still_report_is_asked_again(airflow: FakeAirflow, report: Report) -> None:
    airflow.links = {"Progress": None}
    airflow.open()
    expect(message(airflow)).to_contain_text("No progress yet.")

    airflow.links, airflow.value = {"Progress": "somewhere"}, report
    airflow.pass_time(5)
    expect(stage(airflow, "load")).to_be_visible()
    expect(message(airflow)).to_be_hidden()
    assert airflow.troubles == []


def test_a_task_that_ended_without_a_report_says_so(airflow: FakeAirflow) -> None:
    airflow.links = {"Progress": None}
    airflow.task = {"state": "success", "try_number": 1}
    airflow.open()

    expect(message(airflow)).to_have_text("This task has reported no progress.")
    assert airflow.troubles == []


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"version": 2, "stages": []}, "is of version 2, this page knows version 1"),
        ('{"version": 1, "stag', "cannot be read"),
        ("s3://bucket/where/it/is.json", "cannot be read"),
        ([1, 2], "cannot be read"),
        (17, "cannot be read"),
    ],
)
def test_a_report_that_is_none_is_said_to_be_none(airflow: FakeAirflow, value: object, said: str) -> None:
    airflow.value = value
    airflow.open()

    expect(message(airflow)).to_contain_text(said)
    expect(airflow.page.locator(".stage")).to_have_count(0)
    assert airflow.troubles == []


@pytest.mark.parametrize(("status", "said"), [(401, "You are not logged in"), (403, "You may not see")])
def test_who_may_not_see_it_sees_nothing_of_it(airflow: FakeAirflow, report: Report, status: int, said: str) -> None:
    airflow.value = report
    airflow.open()
    expect(stage(airflow, "load")).to_be_visible()

    airflow.status = status
    airflow.pass_time(2.5)

    expect(message(airflow)).to_contain_text(said)
    expect(airflow.page.locator(".stage:visible, td:visible")).to_have_count(0)
    expect(airflow.page.locator("html")).to_have_attribute("data-polling", "ended")


def test_a_mapped_task_without_an_index_is_explained(airflow: FakeAirflow) -> None:
    airflow.task = None
    airflow.open()

    expect(message(airflow)).to_contain_text("Of a mapped task, open one of its instances.")


def test_an_address_without_a_task_is_explained(airflow: FakeAirflow) -> None:
    airflow.open("")

    expect(message(airflow)).to_have_text("The address of this page names no task.")
    assert airflow.requests == []


# --- when report and task do not agree --------------------------------------------------------------------------------


def test_the_numbers_of_an_earlier_try_are_named_as_such(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.task = {"state": "running", "try_number": 3}
    airflow.open()

    expect(airflow.page.locator("#notice")).to_have_text("These are the numbers of try 1; the task is at try 3.")


def test_a_task_that_was_killed_left_no_last_report(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.task = {"state": "failed", "try_number": 1}
    airflow.open()

    expect(airflow.page.locator("#notice")).to_contain_text("The task ended without a last report")
    expect(airflow.page.locator("#summary")).to_contain_text("Failed")


def test_a_task_that_says_nothing_for_long_is_noticed(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.open()
    expect(stage(airflow, "load")).to_be_visible()
    expect(airflow.page.locator("#notice")).to_be_hidden()

    for _ in range(13):
        airflow.pass_time(5)
        airflow.page.wait_for_load_state("networkidle")

    expect(airflow.page.locator("#notice")).to_contain_text("The task has reported nothing for")


# --- the frame around it ----------------------------------------------------------------------------------------------


def test_it_follows_the_theme_of_airflow(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.open(framed=True)
    root = airflow.page.frame_locator("iframe").locator("html")
    expect(root).not_to_have_class("dark")

    airflow.page.evaluate("document.documentElement.className = 'dark'")
    expect(root).to_have_class("dark")
    # A frame of another scheme than its page would have a background.
    expect(root).to_have_css("color-scheme", "normal")
    airflow.page.evaluate("document.documentElement.style.colorScheme = 'dark'")
    expect(root).to_have_css("color-scheme", "dark")
    airflow.page.evaluate("document.documentElement.className = 'light'")
    expect(root).not_to_have_class("dark")


def test_alone_it_names_the_task_and_leads_back(airflow: FakeAirflow, report: Report) -> None:
    airflow.value, airflow.base = report, "/team/airflow/"
    airflow.page.emulate_media(color_scheme="dark")
    airflow.open("dag=d&run=a:b&task=t&mi=2")

    expect(airflow.page.get_by_role("heading", level=1)).to_have_text("Progress of d.t [2]")
    back = airflow.page.get_by_role("link", name="Open the task in Airflow")
    expect(back).to_have_js_property("href", "http://airflow.example/team/airflow/dags/d/runs/a%3Ab/tasks/t/mapped/2")
    expect(airflow.page.locator("html")).to_have_class("alone dark")


def test_the_keyboard_reaches_what_scrolls(airflow: FakeAirflow, report: Report) -> None:
    airflow.value = report
    airflow.open()
    expect(stage(airflow, "load")).to_be_visible()

    reached = []
    for _ in range(3):
        airflow.page.keyboard.press("Tab")
        focused = airflow.page.locator(":focus")
        reached.append(focused.get_attribute("aria-labelledby") or focused.text_content())
        assert focused.evaluate("element => getComputedStyle(element).outlineStyle") == "solid"

    assert reached == ["Open the task in Airflow", "pools-title", "failures-title"]
