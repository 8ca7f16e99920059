# SPDX-License-Identifier: Apache-2.0
"""Chromium, as the tests of the progress page use it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page

WAIT_SECONDS = 60

ARGUMENTS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
]


def find_chromium() -> str | None:
    """Find the system's Chromium, or Chrome: Playwright's own is a download of 150 MB."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    return next((path for path in found if path is not None), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """
    Run a browser without a window, that waits up to a minute for what is expected of its pages.

    :raises RuntimeError: if none is installed
    """
    program = find_chromium()
    if program is None:
        raise RuntimeError("The progress page needs a browser: install chromium.")
    expect.set_options(timeout=WAIT_SECONDS * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS, timeout=WAIT_SECONDS * 1000)
        try:
            yield browser
        finally:
            browser.close()


def note_troubles(page: Page) -> list[str]:
    """
    Note what a user would see in the browser's console, and every dialog.

    :param page: the page to watch
    :return: a list that grows
    """
    troubles: list[str] = []

    def note_message(message: ConsoleMessage) -> None:
        if message.type == "error":
            troubles.append(message.text)

    def note_dialog(dialog: Dialog) -> None:
        troubles.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    page.on("console", note_message)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", note_dialog)
    return troubles
