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


@asynccontextmanager
async def dovecot_auth(path: Path) -> AsyncIterator[None]:
    """Answer at a socket."""
    server = await asyncio.start_unix_server(_serve, path)
    path.chmod(0o666)
    try:
        yield
    finally:
        server.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    def say(*lines: str) -> None:
        writer.write("".join(f"{line}\n" for line in lines).encode())

    say(
        "VERSION\t1\t1", *(f"MECH\t{mechanism}" for mechanism in _MECHANISMS), "SPID\t1", "CUID\t1", "COOKIE\t0", "DONE"
    )
    mechanisms: dict[str, str] = {}
    users: dict[str, bytes] = {}
    try:
        while line := (await reader.readline()).decode().rstrip("\n"):
            word, *fields = line.split("\t")
            if word == "AUTH":
                mechanisms[fields[0]] = fields[1]
            elif word != "CONT":
                continue
            number, mechanism = fields[0], mechanisms[fields[0]]
            given = next((field[5:] for field in fields if field.startswith("resp=")), None)
            if word == "CONT":
                given = fields[1] if len(fields) > 1 else ""
            response = None if given is None else base64.b64decode(given)
            if mechanism == "LOGIN" and number not in users:
                if response is None:
                    say(f"CONT\t{number}\t{base64.b64encode(b'Username:').decode()}")
                else:
                    users[number] = response
                    say(f"CONT\t{number}\t{base64.b64encode(b'Password:').decode()}")
            elif response is None:
                say(f"CONT\t{number}\t{base64.b64encode(_CHALLENGE if mechanism == 'CRAM-MD5' else b'').decode()}")
            elif _is_right(mechanism, response, users.pop(number, b"")):
                say(f"OK\t{number}\tuser={USER}")
            else:
                say(f"FAIL\t{number}\tuser={USER}")
    except ConnectionError:
        pass
    finally:
        writer.close()


def _is_right(mechanism: str, response: bytes, user: bytes) -> bool:
    if mechanism == "PLAIN":
        return response.split(b"\0")[1:] == [USER.encode(), PASSWORD.encode()]
    if mechanism == "LOGIN":
        return (user, response) == (USER.encode(), PASSWORD.encode())
    if mechanism == "CRAM-MD5":
        digest = hmac.new(PASSWORD.encode(), _CHALLENGE, "md5").hexdigest()
        return response == f"{USER} {digest}".encode()
    return response == f"user={USER}\x01auth=Bearer {PASSWORD}\x01\x01".encode()
