# SPDX-License-Identifier: Apache-2.0
"""
The tab *Progress* of a task instance, found through the entry point ``airflow.plugins``.

Only files are served, and anyone may read them. What the page shows it reads from Airflow's own REST API, with the
rights of whoever looks at it.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_async.runtime import compat
from airflow_provider_async.runtime.progress_page import MOUNT, ROUTE

if TYPE_CHECKING:
    from airflow.plugins_manager import AirflowPlugin
    from fastapi import FastAPI
else:
    AirflowPlugin = compat.plugin_base()

STATIC = Path(__file__).parent / "static"

# Airflow's UI shows the page in a frame that has all rights of the user.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def make_app() -> FastAPI:
    """
    Make the app that serves the page's files.

    :return: an app without any page of its own, such as FastAPI's ``/docs``
    """
    from fastapi import FastAPI
    from fastapi.staticfiles import StaticFiles

    class Files(StaticFiles):
        async def get_response(self, path: str, scope: Any) -> Any:  # noqa: ANN401 - Starlette's types
            response = await super().get_response(path, scope)
            response.headers.update(HEADERS)
            return response

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/", Files(directory=STATIC))
    return app


class ProgressPlugin(AirflowPlugin):
    """The page's files, and the tab that shows it (from Airflow 3.1 on)."""

    name = "async_progress"
    external_views: list[Any] = [  # noqa: RUF012 - as the base class has it
        {
            "name": "Progress",
            "href": f"{MOUNT}/page.html?dag={{DAG_ID}}&run={{RUN_ID}}&task={{TASK_ID}}&mi={{MAP_INDEX}}",
            "destination": "task_instance",
            "url_route": ROUTE,
        }
    ]

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """The app, made when the API server asks for it: plugins are loaded in every task, which needs no FastAPI."""
        return [{"app": make_app(), "url_prefix": f"/{MOUNT}", "name": "Progress of async tasks"}]
