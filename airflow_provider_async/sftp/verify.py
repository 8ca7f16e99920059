# SPDX-License-Identifier: Apache-2.0
"""Checksums that the server computes, where it runs commands."""

from __future__ import annotations

import asyncio
import re
import shlex
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import asyncssh

from airflow_provider_async.errors import OperationTimeout, VerificationFailed

if TYPE_CHECKING:
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["check_sha256"]

#: OpenSSH allows ten sessions on one connection (MaxSessions), and one of them is SFTP's.
_COMMANDS_AT_ONCE = 4

#: How long a server may take for a checksum: some seconds, and more for a large file on a slow disk.
_LEAST_SECONDS = 60.0
_LEAST_BYTES_A_SECOND = 8 * 1024 * 1024

_running: WeakKeyDictionary[asyncssh.SSHClientConnection, asyncio.Semaphore] = WeakKeyDictionary()

#: The name of a file with unusual characters is escaped, which a backslash in front of the line tells.
_SUM = re.compile(r"\\?([0-9a-f]{64})\s")


async def check_sha256(session: SFTPSession, path: str, size: int, expected: str) -> None:
    """
    Compare the SHA-256 of a remote file, as the server computes it with ``sha256sum``, with another.

    :param session: a connected session.
    :param path: the remote file's path.
    :param size: of the file, in bytes: the larger, the longer the server may take.
    :param expected: the other checksum, in hexadecimal.
    :raises VerificationFailed: if they differ, or the server computes no checksums.
    :raises asyncssh.SFTPConnectionLost: if the connection is lost meanwhile.
    :raises OperationTimeout: if the server takes too long.
    """
    connection = session.connection
    answer = ""
    try:
        async with _running.setdefault(connection, asyncio.Semaphore(_COMMANDS_AT_ONCE)):
            async with asyncio.timeout(_LEAST_SECONDS + size / _LEAST_BYTES_A_SECOND):
                command = f"sha256sum -- {shlex.quote(path)}"
                answer = str((await connection.run(command, stdin=asyncssh.DEVNULL, errors="replace")).stdout)
    except TimeoutError as error:
        raise OperationTimeout(f"the server did not compute the checksum of {path!r} in time") from error
    except (asyncssh.ChannelOpenError, UnicodeEncodeError):
        pass
    if connection.is_closed():
        raise asyncssh.SFTPConnectionLost(f"while the server computed the checksum of {path!r}")
    computed = _SUM.match(answer)
    if computed is None:
        raise VerificationFailed(f"the server computes no checksums (sha256sum), so {path!r} could not be verified")
    if computed[1] != expected:
        raise VerificationFailed(f"{path!r} was not transferred correctly: its SHA-256 on the server is another")
