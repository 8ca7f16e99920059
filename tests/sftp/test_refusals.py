# SPDX-License-Identifier: Apache-2.0
"""What is said when a login fails: who was refused, where, and with what."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import socket
from typing import TYPE_CHECKING, NoReturn

import asyncssh
import pytest

from airflow_provider_async.sftp import AsyncSFTPHook
from tests.servers.sftp import make_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.sftp import Fields, Sshd


async def log_in(connection: Fields) -> None:
    async with AsyncSFTPHook(connection=connection).connect():
        pass


async def test_a_refused_key_is_told_with_where_it_is(sshd: Sshd, tmp_path: Path) -> None:
    other = make_key(tmp_path, "other")
    for extras, offered in (
        ({"key_file": str(other.file)}, f"the key in {str(other.file)!r}"),
        ({"key_file": None, "private_key": other.text}, "extra private_key"),
        ({"key_file": None, "look_for_keys": False}, "neither a password nor a key"),
    ):
        with pytest.raises(asyncssh.PermissionDenied, match=re.escape(f" with {offered}: correct ")):
            await log_in(sshd.connection(**extras))


async def test_a_host_that_is_not_found_is_named(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", find_nothing)
    with pytest.raises(socket.gaierror, match=r"Connection 'sftp_test': host 'no\.such' is not found: Name or"):
        await log_in(dataclasses.replace(sshd.connection(), host="no.such"))
