# SPDX-License-Identifier: Apache-2.0
"""
Fixtures of pytest, for which a ``conftest.py`` asks.

It does so by ``pytest_plugins = ["airflow_provider_async.testing.fixtures"]``. The servers run in threads of their own,
so that tests need not be async.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.testing.threads import running_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_provider_async.testing.http import HTTPServer
    from airflow_provider_async.testing.msgraph import GraphServer
    from airflow_provider_async.testing.sftp import SFTPServer
    from airflow_provider_async.testing.smtp import SMTPServer

__all__ = ["graph_server", "http_server", "sftp_server", "smtp_server"]


@pytest.fixture
def sftp_server(tmp_path: Path) -> Iterator[SFTPServer]:
    """Run an SFTP server whose files lie in its ``root``."""
    from airflow_provider_async.testing.sftp import SFTPServer

    root = tmp_path / "sftp"
    root.mkdir()
    with running_in_a_thread(SFTPServer(root).running()) as server:
        yield server


@pytest.fixture
def http_server() -> Iterator[HTTPServer]:
    """Run an HTTP server that answers as :meth:`~airflow_provider_async.testing.http.HTTPServer.on` says."""
    from airflow_provider_async.testing.http import HTTPServer

    with running_in_a_thread(HTTPServer().running()) as server:
        yield server


@pytest.fixture
def graph_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphServer]:
    """Run a Microsoft Graph server, empty at first, with the Entra that gives its tokens."""
    from airflow_provider_async.testing.msgraph import GraphServer

    # azure-identity asks for tokens through the proxy that the environment names.
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, ",".join(["127.0.0.1", "localhost", os.environ.get(name, "")]))
    with running_in_a_thread(GraphServer().running()) as server:
        yield server


@pytest.fixture
def smtp_server() -> Iterator[SMTPServer]:
    """Run an SMTP server that keeps the mails that it takes, for whoever sends them."""
    from airflow_provider_async.testing.smtp import SMTPServer

    with running_in_a_thread(SMTPServer().running()) as server:
        yield server
