# SPDX-License-Identifier: Apache-2.0
"""
The demo's SFTP server, as a process: ``python -m airflow_provider_async.example_dags.demo.server``.

It is told what to serve by one line on its standard input, says on its standard output where it listens, and when its
input ends, also because the demo was killed, it tells how often each user connected, and ends.
"""

from __future__ import annotations

import asyncio
import collections
import errno
import json
import os
import secrets
import sys

import asyncssh

__all__: list[str] = []

_HOST = "127.0.0.1"


class _Login(asyncssh.SSHServer):
    """One connection: anybody may log in who has the password, and is counted."""

    def __init__(self, password: str, connections: collections.Counter[str]) -> None:
        self._password = password
        self._connections = connections

    def begin_auth(self, username: str) -> bool:
        self._connections[username] += 1
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:  # noqa: ARG002 - any name will do
        return secrets.compare_digest(password.encode(), self._password.encode())


async def _serve() -> None:
    requests = await _standard_input()
    request = json.loads(await requests.readline())
    root = os.fsencode(request["root"])
    connections: collections.Counter[str] = collections.Counter()
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    try:
        acceptor = await asyncssh.listen(
            _HOST,
            request["port"],
            server_factory=lambda: _Login(request["password"], connections),
            server_host_keys=[host_key],
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=root),
        )
    except OSError as error:
        _tell(error=_explain(error, request["port"]))
        return
    async with acceptor:
        public_key = " ".join(host_key.export_public_key().decode().split()[:2])
        _tell(host=_HOST, port=acceptor.get_port(), host_key=public_key)
        await requests.read()
        _tell(connections=connections)


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _explain(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {_HOST} is in use: choose another with --port, or leave it out for a free one."
    return f"The SFTP server cannot listen on port {port} of {_HOST}: {os.strerror(error.errno or 0)}."


def _tell(**message: object) -> None:
    print(json.dumps(message), flush=True)  # noqa: T201 - how the demo is told


if __name__ == "__main__":
    asyncssh.set_log_level("WARNING")
    asyncio.run(_serve())
