# SPDX-License-Identifier: Apache-2.0
"""SFTP servers: OpenSSH's own, asyncssh's (for passwords and for misbehaviour), and a proxy that cuts connections."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import getpass
import os
import signal
import socket
import subprocess
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import psutil

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

START_SECONDS = 20


@dataclass(frozen=True)
class Fields:
    """What is read of an Airflow Connection."""

    host: str | None
    port: int | None = None
    login: str | None = None
    password: str | None = None
    extra_dejson: Mapping[str, object] = field(default_factory=dict)
    conn_id: str = "sftp_test"


@dataclass(frozen=True)
class Key:
    """A pair of keys in a folder, the private one in a file."""

    file: Path
    passphrase: str | None = None

    @property
    def text(self) -> str:
        return self.file.read_text()

    @property
    def public(self) -> str:
        """Type and data, without a comment."""
        return " ".join(self.file.with_suffix(".pub").read_text().split()[:2])


def make_key(folder: Path, name: str, *, kind: str = "ed25519", passphrase: str | None = None) -> Key:
    """Have OpenSSH make a pair of keys."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase or "", "-C", "", "-f", str(folder / name)]
    subprocess.run(command, check=True)
    return Key(folder / name, passphrase)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Sshd:
    """
    OpenSSH's server on a free port of the loopback, for the user that runs the tests and one key.

    :param program: the path of sshd.
    :param folder: for its configuration, its log and ``files``, which the tests use.
    :param options: lines of sshd_config that come before the usual ones.
    """

    def __init__(self, program: str, folder: Path, *, host_key: Key, user_key: Key, options: str = "") -> None:
        self._program = program
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.host_key = host_key
        self.user_key = user_key
        self.port = free_port()
        self.files = folder / "files"
        self.files.mkdir()
        authorized = folder / "authorized_keys"
        authorized.write_text(f"{user_key.public}\n")
        (folder / "sshd_config").write_text(
            f"""{options}
            Port {self.port}
            ListenAddress 127.0.0.1
            HostKey {host_key.file}
            AuthorizedKeysFile {authorized}
            StrictModes no
            UsePAM no
            UseDNS no
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            PermitRootLogin prohibit-password
            PidFile none
            LogLevel VERBOSE
            Subsystem sftp internal-sftp
            """
        )

    @property
    def logins(self) -> int:
        """How many logins were accepted since the beginning."""
        return self._log.read_text().count("Accepted publickey")

    @property
    def sessions(self) -> int:
        """How many connections it serves. One that is lost may still be written from for a moment."""
        assert self._process is not None
        return len(psutil.Process(self._process.pid).children())

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    def start(self) -> None:
        if os.geteuid() == 0:
            # A service manager would have made it.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        command = [self._program, "-D", "-f", str(self._folder / "sshd_config"), "-E", str(self._log)]
        self._process = subprocess.Popen(command)
        # For a test run that ends without its teardowns.
        atexit.register(self.stop)
        give_up_at = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                if self._process.poll() is not None or time.monotonic() > give_up_at:
                    raise AssertionError(f"sshd did not start: {self._log.read_text()}") from None
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """End the server and all of its sessions at once, as a crash would."""
        atexit.unregister(self.stop)
        if self._process is not None:
            sessions = list(_descendants(self._process.pid))
            self._process.kill()
            self._process.wait()
            self._process = None
            for pid in sessions:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def connection(self, *, port: int | None = None, **extras: object) -> Fields:
        """Return a Connection that works, unless the extras say otherwise; ``None`` leaves one out."""
        usual: dict[str, object] = {"key_file": str(self.user_key.file), "host_key": self.host_key.public}
        given = {name: value for name, value in (usual | extras).items() if value is not None}
        return Fields("127.0.0.1", port or self.port, getpass.getuser(), extra_dejson=given)


def _descendants(pid: int) -> Iterator[int]:
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    above = {pid}
    while below := {child for child, parent in parents.items() if parent in above} - above:
        yield from below
        above |= below


class FolderServer(asyncssh.SFTPServer):
    """asyncssh's SFTP server, with one folder as its root; tests make it misbehave in a subclass."""

    root: Path

    def __init__(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        super().__init__(chan, chroot=os.fsencode(self.root))


@dataclass
class AsyncsshServer:
    """
    asyncssh's server while it runs.

    :param attempts: user and password of each login that was tried.
    """

    port: int
    host_key: str
    attempts: list[tuple[str, str]] = field(default_factory=list)
    sessions: int = 0

    def connection(self, **extras: object) -> Fields:
        """Return a Connection that works, unless the extras say otherwise; ``None`` leaves one out."""
        usual: dict[str, object] = {"host_key": self.host_key, "look_for_keys": False}
        given = {name: value for name, value in (usual | extras).items() if value is not None}
        return Fields("127.0.0.1", self.port, "alice", "right", given)


@asynccontextmanager
async def asyncssh_server(
    root: Path, behaviour: type[FolderServer] | None = FolderServer
) -> AsyncIterator[AsyncsshServer]:
    """
    Run asyncssh's server for user alice with password right.

    :param root: what it serves.
    :param behaviour: its SFTP server; ``None`` if it offers none.
    """
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    server = AsyncsshServer(0, " ".join(host_key.export_public_key().decode().split()[:2]))

    class Login(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            server.attempts.append((username, password))
            return (username, password) == ("alice", "right")

    def sftp(chan: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        assert behaviour is not None
        server.sessions += 1
        served: type[FolderServer] = type("Served", (behaviour,), {"root": root})
        return served(chan)

    acceptor = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Login, server_host_keys=[host_key], sftp_factory=sftp if behaviour else None
    )
    server.port = acceptor.get_port()
    async with acceptor:
        yield server


class Proxy:
    """
    Passes bytes between clients and a server, and cuts them off on demand.

    :param port: where the server listens.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._budget = {"down": float("inf"), "up": float("inf")}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.cuts = 0
        self.port = 0
        self.most_connections = 0

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return -(-len(self._pumps) // 2)

    def cut_after(self, *, down: float = float("inf"), up: float = float("inf")) -> None:
        """Cut everything, once, when so many more bytes have come from the server or from a client."""
        self._budget = {"down": down, "up": up}

    def cut(self) -> None:
        """Reset all connections. New ones are accepted."""
        self.cuts += 1
        self._budget = {"down": float("inf"), "up": float("inf")}
        for writer in self._writers:
            writer.transport.abort()

    def cut_one(self, chance: random.Random) -> bool:
        """
        Reset a connection, whichever it is, from any thread.

        :return: whether there was one
        """
        open_now = [writer for writer in tuple(self._writers) if not writer.transport.is_closing()]
        if not open_now or self._loop is None:
            return False
        self.cuts += 1
        self._loop.call_soon_threadsafe(chance.choice(open_now).transport.abort)
        return True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        self._loop = asyncio.get_running_loop()
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            self.cut()
            if self._pumps:
                await asyncio.wait(self._pumps)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.transport.abort()
            return
        if writer.transport.is_closing():
            # Cut meanwhile.
            to_server[1].transport.abort()
            return
        self._writers.add(to_server[1])
        for direction, source, target in (("up", reader, to_server[1]), ("down", to_server[0], writer)):
            pump = asyncio.create_task(self._pump(direction, source, target))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)
        self.most_connections = max(self.most_connections, self.connections)

    async def _pump(self, direction: str, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                self._budget[direction] -= len(data)
                if self._budget[direction] < 0:
                    self.cut()
                    return
                target.write(data)
                await target.drain()
        self._writers.discard(target)
        target.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what nothing tells of, such as a file that grows."""
    while not condition():  # noqa: ASYNC110 - see above
        await asyncio.sleep(0.002)


def write_files(folder: Path, count: int, *, size: int = 3500) -> list[str]:
    """Write files 00000.xml and so on, whose bytes tell them apart, and return their paths."""
    paths = []
    for number in range(count):
        path = folder / f"{number:05}.xml"
        path.write_bytes(f"<row>{number}</row>".encode().ljust(size))
        paths.append(str(path))
    return paths
