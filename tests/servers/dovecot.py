# SPDX-License-Identifier: Apache-2.0
"""What Postfix asks whether a login is right: Dovecot's protocol of authentication, for one user."""

from __future__ import annotations

import asyncio
import base64
import hmac
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["PASSWORD", "USER", "dovecot_auth"]

USER = "alice"
PASSWORD = "sesame"

_CHALLENGE = b"<1.2@postfix.example>"
_MECHANISMS = ("PLAIN\tplaintext", "LOGIN\tplaintext", "CRAM-MD5\tdictionary\tactive", "XOAUTH2")
_HELLO = ("VERSION\t1\t1", *(f"MECH\t{name}" for name in _MECHANISMS), "SPID\t1", "CUID\t1", "COOKIE\t0", "DONE")


@asynccontextmanager
async def dovecot_auth(path: Path) -> AsyncIterator[None]:
    """Answer at a socket."""
    server = await asyncio.start_unix_server(_serve, path)
    await asyncio.to_thread(path.chmod, 0o666)
    try:
        yield
    finally:
        server.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    logins = _Logins()
    writer.write("".join(f"{line}\n" for line in _HELLO).encode())
    try:
        while line := (await reader.readline()).decode().rstrip("\n"):
            word, *fields = line.split("\t")
            if word in ("AUTH", "CONT"):
                writer.write(f"{logins.answer(word, fields)}\n".encode())
    except ConnectionError:
        pass
    finally:
        writer.close()


class _Logins:
    """The logins on one connection, by number."""

    def __init__(self) -> None:
        self._mechanisms: dict[str, str] = {}
        self._users: dict[str, bytes] = {}

    def answer(self, word: str, fields: list[str]) -> str:
        number = fields[0]
        if word == "AUTH":
            self._mechanisms[number] = fields[1]
            given = next((field[5:] for field in fields if field.startswith("resp=")), None)
        else:
            given = fields[1] if len(fields) > 1 else ""
        mechanism = self._mechanisms[number]
        if given is None:
            first = {"LOGIN": b"Username:", "CRAM-MD5": _CHALLENGE}.get(mechanism, b"")
            return f"CONT\t{number}\t{base64.b64encode(first).decode()}"
        response = base64.b64decode(given)
        if mechanism == "LOGIN" and number not in self._users:
            self._users[number] = response
            return f"CONT\t{number}\t{base64.b64encode(b'Password:').decode()}"
        is_right = _is_right(mechanism, response, self._users.pop(number, b""))
        return f"{'OK' if is_right else 'FAIL'}\t{number}\tuser={USER}"


def _is_right(mechanism: str, response: bytes, user: bytes) -> bool:
    if mechanism == "PLAIN":
        return response.split(b"\0")[1:] == [USER.encode(), PASSWORD.encode()]
    if mechanism == "LOGIN":
        return (user, response) == (USER.encode(), PASSWORD.encode())
    if mechanism == "CRAM-MD5":
        digest = hmac.new(PASSWORD.encode(), _CHALLENGE, "md5").hexdigest()
        return response == f"{USER} {digest}".encode()
    return response == f"user={USER}\x01auth=Bearer {PASSWORD}\x01\x01".encode()
