# SPDX-License-Identifier: Apache-2.0
"""The progress page in a browser, with an Airflow that is made of answers."""

from __future__ import annotations

import json
import mimetypes
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from airflow_provider_async.web.plugin import HEADERS, STATIC
from system_tests.support.browser import find_chromium, note_troubles, open_browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page, Route

ORIGIN = "http://airflow.example"
FRAME = """<!doctype html><html class="light"><title>Airflow</title>
<iframe title="Progress" style="width: 60rem; height: 40rem" src="{address}"></iframe></html>"""


class FakeAirflow:
    """
    Airflow's REST API, as far as the page reads it, and the page's files.

    :param page: the browser's page whose requests are answered
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.troubles = note_troubles(page)
        self.base = "/"
        self.version = "3.3.2"
        self.task: dict[str, Any] | None = {"state": "running", "try_number": 1}
        self.links: dict[str, str | None] = {"Progress": "somewhere"}
        self.value: object = None
        self.status = 200
        self.token: str | None = None
        self.requests: list[str] = []
        page.route("**/*", self._answer)

    def _answer(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        path = url.path.removeprefix(self.base)
        if path == "frame.html":
            address = parse_qs(url.query)["address"][0].replace("&", "&amp;")
            route.fulfill(body=FRAME.format(address=address), content_type="text/html")
        elif path.startswith("async-progress/"):
            file = STATIC / path.removeprefix("async-progress/")
            kind = mimetypes.guess_type(file)[0] or "text/plain"
            route.fulfill(body=file.read_text(), headers=HEADERS | {"Content-Type": kind})
        elif path.startswith("api/v2/") and url.path.startswith(self.base):
            self.requests.append(f"{path.removeprefix('api/v2/')}{'?' if url.query else ''}{url.query}")
            self._answer_api(route, path.removeprefix("api/v2/"))
        else:
            route.fulfill(body="<!doctype html><title>Airflow</title>", content_type="text/html")

    def _answer_api(self, route: Route, path: str) -> None:
        if self.token is not None and route.request.headers.get("authorization") != f"Bearer {self.token}":
            route.fulfill(status=401, json={"detail": "Not authenticated"})
            return
        if self.status != 200:
            route.fulfill(status=self.status, json={"detail": "an error"})
            return
        found: object
        if path == "version":
            found = {"version": self.version}
        elif path.endswith("/links"):
            found = {"extra_links": self.links}
        elif path.endswith("/async_progress"):
            found = None if self.value is None else {"value": self.value}
        else:
            found = self.task
        route.fulfill(status=404 if found is None else 200, body=json.dumps(found), content_type="application/json")

    def open(self, query: str = "dag=d&run=r&task=t&mi={MAP_INDEX}", *, framed: bool = False) -> None:
        """Open the page, alone or in a frame as Airflow's UI does."""
        address = f"async-progress/page.html?{query}"
        self.page.clock.install()
        if framed:
            self.page.goto(f"{ORIGIN}{self.base}frame.html?address={address.replace('&', '%26')}")
        else:
            self.page.goto(f"{ORIGIN}{self.base}{address}")

    def pass_time(self, seconds: float) -> None:
        """Let the page's clock go on, and what it then asks for be answered."""
        self.page.clock.run_for(round(seconds * 1000))


# For a module, not longer: Playwright runs an event loop of its own in this thread, beside which no other can run.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give a browser; a machine without Chromium skips these tests, one that judges changes does not."""
    if find_chromium() is None and "CI" not in os.environ:
        pytest.skip("chromium is not installed")
    with open_browser() as opened:
        yield opened


@pytest.fixture
def airflow(browser: Browser) -> Iterator[FakeAirflow]:
    """Give an Airflow that runs one task, whose progress a page of the browser can show."""
    context = browser.new_context(timezone_id="UTC")
    yield FakeAirflow(context.new_page())
    context.close()


@pytest.fixture
def report() -> dict[str, Any]:
    """Give what a running task reports."""
    return {
        "version": 1,
        "state": "running",
        "try": 1,
        "started": 1_732_400_000.0,
        "updated": 1_732_400_012.5,
        "stages": [
            {
                "label": "load",
                "depth": 0,
                "active": 1,
                "done": 1700,
                "failed": 3,
                "skipped": 4,
                "resumed": 1200,
                "retries": 5,
                "total": 17_000,
                "bytes": 53_100_000,
                "rate": 170.2,
                "bytes_rate": 1_200_000.0,
                "seconds_left": 90.1,
                "elapsed": 12.5,
                "history": {"every": 1.0, "rates": [100.0, 200.0, 170.2]},
                "lease_waits": 12,
                "lease_wait_seconds": 0.4,
            },
        ],
        "failures": [
            {"stage": "load", "item": "'a.xml'", "error": "FileNotFoundError: no such file", "at": 1_732_400_011.0}
        ],
        "pools": [
            {
                "name": "sftp_default",
                "open": 2,
                "size": 4,
                "leased": 60,
                "limit": 64,
                "waiting": 3,
                "connects": 2,
                "connect_errors": 1,
                "waits": 12,
                "wait_seconds": 0.4,
            }
        ],
    }
