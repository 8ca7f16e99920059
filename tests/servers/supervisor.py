# SPDX-License-Identifier: Apache-2.0
"""A supervisor at the other end of a task's socket, which answers late, or not at all, and notices disorder."""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from typing import Self

_HEADER_BYTES = 4
_LONGEST_BYTES = 1_000_000


class Supervisor:
    """
    Speaks core's protocol: frames of four bytes of length and a MessagePack array of an id and a body.

    What it is asked for has a name (a Variable's key, a Connection's id). A request whose name is in
    ``held`` is answered when that event is set.
    """

    def __init__(self) -> None:
        self.task_side, self._socket = socket.socketpair()
        self.held: dict[str, threading.Event] = {}
        self.arrived: dict[str, threading.Event] = {}
        self.kept: dict[str, Any] = {}
        self.asked: list[str] = []
        self.disorder: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go()
        for event in self.held.values():
            event.set()
        self._thread.join(5)
        self.task_side.close()

    def hold(self, name: str) -> threading.Event:
        """Answer no request for this name before the returned event is set; ``arrived[name]`` says that it is here."""
        self.arrived[name] = threading.Event()
        self.held[name] = threading.Event()
        return self.held[name]

    def go(self) -> None:
        """Be gone, as if the process had died."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Write bytes that may be no whole frame."""
        self._socket.sendall(data)

    def _serve(self) -> None:
        with suppress(OSError, ValueError):  # closed meanwhile
            while (header := self._read(_HEADER_BYTES)) is not None:
                length = int.from_bytes(header, "big")
                if length > _LONGEST_BYTES:
                    self.disorder.append(f"a frame of {length} bytes")
                    return
                payload = self._read(length)
                if payload is None:
                    return
                try:
                    number, body, *_ = msgspec.msgpack.decode(payload)
                except (msgspec.DecodeError, ValueError) as error:
                    self.disorder.append(f"a frame that is none: {error}")
                    return
                self._answer(number, body)

    def _read(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            chunk = self._socket.recv(size - len(data))
            if not chunk:
                return None
            data += chunk
        return data

    def _answer(self, number: int, body: dict[str, Any]) -> None:
        name = body.get("key") or body.get("conn_id") or body["type"]
        self.asked.append(name)
        if name in self.held:
            self.arrived[name].set()
            self.held[name].wait()
        if select.select([self._socket], [], [], 0)[0] and self._socket.recv(1, socket.MSG_PEEK):
            self.disorder.append(f"something was sent before the answer about {name}")
        if body["type"] == "ResendLoggingFD":
            self._send_descriptor(number)
        elif name.startswith("failing"):
            self.send(_frame(number, None, {"type": "ErrorResponse", "error": "API_SERVER_ERROR", "detail": {}}))
        else:
            self.send(_frame(number, self._result(body, name)))

    def _result(self, body: dict[str, Any], name: str) -> dict[str, Any] | None:
        if name.startswith("missing"):
            kind = "CONNECTION" if "conn_id" in body else "VARIABLE"
            return {"type": "ErrorResponse", "error": f"{kind}_NOT_FOUND", "detail": {"name": name}}
        match body["type"]:
            case "GetVariable":
                return {"type": "VariableResult", "key": name, "value": self.kept.get(name, f"value of {name}")}
            case "GetConnection":
                fields = dict.fromkeys(("schema", "login", "password", "port", "extra"))
                return {"type": "ConnectionResult", "conn_id": name, "conn_type": "http", "host": name, **fields}
            case "PutVariable":
                self.kept[name] = body["value"]
            case "SetTaskStateStore":
                self.kept[name] = body["value"]
            case "GetTaskStateStore" if name in self.kept:
                return {"type": "TaskStateStoreResult", "value": self.kept[name]}
            case "GetTaskStateStore":
                return {"type": "ErrorResponse", "error": "TASK_STORE_NOT_FOUND", "detail": {"key": name}}
        return {"type": "OKResponse", "ok": True}

    def _send_descriptor(self, number: int) -> None:
        reading, writing = os.pipe()
        socket.send_fds(self._socket, [_frame(number, {"type": "SentFDs", "fds": [writing]})], [writing])
        os.close(reading)
        os.close(writing)


def _frame(number: int, body: dict[str, Any] | None, error: dict[str, Any] | None = None) -> bytes:
    payload = msgspec.msgpack.encode([number, body] if error is None else [number, None, error])
    return len(payload).to_bytes(_HEADER_BYTES, "big") + payload
