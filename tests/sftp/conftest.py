# SPDX-License-Identifier: Apache-2.0
"""A home folder of its own for each test, keys, and servers to connect to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.sftp import SFTPClientPool
from tests.servers.sftp import Key, Proxy, Sshd, make_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder: what lies in the true one (keys, known hosts, an agent) must not matter."""
    folder = tmp_path / "home"
    (folder / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return folder


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Key]:
    """Keys by what they are for."""
    folder = tmp_path_factory.mktemp("keys")
    return {
        "host": make_key(folder, "host"),
        "user": make_key(folder, "user"),
        "stranger": make_key(folder, "stranger"),
        "encrypted": make_key(folder, "encrypted", passphrase="open sesame"),
        "rsa": make_key(folder, "rsa", kind="rsa"),
    }


@pytest.fixture
def make_sshd(
    tmp_path: Path, keys: dict[str, Key], require_program: Callable[[str], str]
) -> Iterator[Callable[..., Sshd]]:
    """Start an OpenSSH server, with a key for its user and lines for its configuration."""
    started: list[Sshd] = []

    def make(*, user_key: Key = keys["user"], options: str = "") -> Sshd:
        folder = tmp_path / f"sshd-{len(started)}"
        folder.mkdir()
        server = Sshd(require_program("sshd"), folder, host_key=keys["host"], user_key=user_key, options=options)
        started.append(server)
        server.start()
        return server

    yield make
    for server in started:
        server.stop()


@pytest.fixture
def sshd(make_sshd: Callable[..., Sshd]) -> Sshd:
    """A running OpenSSH server."""
    return make_sshd()


@pytest.fixture
async def proxy(sshd: Sshd) -> AsyncIterator[Proxy]:
    """A proxy in front of ``sshd``."""
    async with Proxy(sshd.port).running() as running:
        yield running


@pytest.fixture
async def pool(sshd: Sshd) -> AsyncIterator[SFTPClientPool]:
    """An open pool at ``sshd``."""
    async with SFTPClientPool(connection=sshd.connection()) as opened:
        yield opened


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """An empty folder here."""
    folder = tmp_path / "local"
    folder.mkdir()
    return folder


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    """An empty folder for an asyncssh server to serve."""
    folder = tmp_path / "remote"
    folder.mkdir()
    return folder
