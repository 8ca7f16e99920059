# SPDX-License-Identifier: Apache-2.0
"""What the plugin serves to anyone, and what it tells Airflow."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient

from airflow_provider_async.web.plugin import STATIC, ProgressPlugin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FILES = {"page.html": "text/html", "progress.css": "text/css", "progress.js": "text/javascript"}
MOST_BYTES = 30_000


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    """Give a client of an API server that has mounted the plugin's app."""
    server = FastAPI()
    for app in ProgressPlugin().fastapi_apps:
        server.mount(app["url_prefix"], app["app"])
    async with AsyncClient(transport=ASGITransport(server), base_url="http://airflow.example") as opened:
        yield opened


@pytest.mark.parametrize(("name", "kind"), FILES.items())
async def test_each_file_is_served_as_what_it_is(client: AsyncClient, name: str, kind: str) -> None:
    answer = await client.get(f"/async-progress/{name}")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(kind)
    assert answer.text == (STATIC / name).read_text()


@pytest.mark.parametrize("name", FILES)
async def test_no_file_may_load_or_send_anything_elsewhere(client: AsyncClient, name: str) -> None:
    headers = (await client.get(f"/async-progress/{name}")).headers

    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "frame-ancestors": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["", "docs", "redoc", "openapi.json", "../plugin.py", "%2e%2e/plugin.py", "static"])
async def test_nothing_else_is_served(client: AsyncClient, path: str) -> None:
    assert (await client.get(f"/async-progress/{path}")).status_code == 404


async def test_a_browser_that_has_a_file_does_not_get_it_again(client: AsyncClient) -> None:
    tag = (await client.get("/async-progress/progress.js")).headers["ETag"]

    answer = await client.get("/async-progress/progress.js", headers={"If-None-Match": tag})

    assert answer.status_code == 304


def test_there_is_nothing_but_these_files_and_they_are_small() -> None:
    assert {path.name for path in STATIC.iterdir()} == set(FILES)
    assert sum(path.stat().st_size for path in STATIC.iterdir()) < MOST_BYTES


def test_no_text_becomes_html() -> None:
    script = (STATIC / "progress.js").read_text()

    for name in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "DOMParser", "srcdoc"):
        assert name not in script


def test_the_tab_has_an_address_below_that_of_the_app() -> None:
    (view,) = ProgressPlugin.external_views
    (app,) = ProgressPlugin().fastapi_apps

    assert view["destination"] == "task_instance"
    assert f"/{view['href']}".startswith(f"{app['url_prefix']}/page.html?")
    # Airflow refuses these by the beginning of the string, and shows its own page instead.
    assert not app["url_prefix"].startswith(("/ui", "/api/v2", "/execution", "/auth", "/pluginsv2"))


def test_the_entry_point_leads_to_the_plugin() -> None:
    (found,) = (each for each in entry_points(group="airflow.plugins") if each.name == "async_progress")

    assert found.load() is ProgressPlugin


def test_a_task_that_loads_the_plugin_loads_no_web_server() -> None:
    code = (
        "import sys, airflow.sdk; before = set(sys.modules); import airflow_provider_async.web.plugin as plugin;"
        "plugin.ProgressPlugin(); assert 'fastapi' in before or 'fastapi' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
