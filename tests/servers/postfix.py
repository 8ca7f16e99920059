# SPDX-License-Identifier: Apache-2.0
"""A real Postfix of one's own, which takes every mail and throws it away; and its generator of faults, smtp-sink."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.servers.dovecot import dovecot_auth
from tests.servers.smtp import Fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["Postfix", "postfix", "smtp_sink"]

_MASTER = Path("/usr/lib/postfix/sbin/master")
_SINK = Path("/usr/sbin/smtp-sink")

_MASTER_CF = """\
{port} inet n - n - - smtpd
{tls_port} inet n - n - - smtpd
    -o smtpd_tls_wrappermode=yes
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 discard
defer unix - - n - 0 discard
trace unix - - n - 0 discard
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

_MAIN_CF = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log/mail
maillog_file_prefixes = {folder}/log
myhostname = postfix.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
default_transport = discard
relay_transport = discard
local_transport = discard
local_recipient_maps =
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_ask_ccert = yes
smtpd_tls_loglevel = 2
smtpd_sasl_auth_enable = {auth}
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/auth
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = {relay}
smtpd_recipient_restrictions = check_recipient_access inline:{{ {{bad@postfix.example = 550 5.1.1 no such user}},
  {{later@postfix.example = 450 4.2.0 come back later}} }}
smtpd_data_restrictions = reject_unauth_pipelining
smtpd_forbid_bare_newline = yes
smtpd_client_connection_count_limit = 0
message_size_limit = 1000000
"""


@dataclass
class Postfix:
    """A server that runs."""

    folder: Path
    port: int
    tls_port: int

    def connection(self) -> Fields:
        return Fields(port=self.port)

    @property
    def log(self) -> str:
        log = self.folder / "log" / "mail"
        return log.read_text() if log.exists() else ""


def _required(path: Path) -> None:
    """Skip a test whose server is not installed, or that only root can start."""
    reason = None
    if not path.exists():
        reason = f"{path} is not installed (Debian: apt-get install postfix)"
    elif os.getuid():
        reason = "only root can start Postfix"
    if reason is not None:
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def _listens(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    async with asyncio.timeout(20):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            if process.poll() is not None:
                raise RuntimeError(f"the server did not start; its log is {log}")
            await asyncio.sleep(0.05)


def certificate(folder: Path, name: str = "127.0.0.1") -> tuple[Path, Path]:
    """Make a certificate that signs itself, and its key."""
    files = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
            "-addext",
            f"subjectAltName=IP:127.0.0.1,DNS:{name}",
            "-out",
            files[0],
            "-keyout",
            files[1],
        ],
        check=True,
        capture_output=True,
    )
    return files


@contextmanager
def _own_folder() -> Iterator[Path]:
    # Daemons of Postfix run as a user of their own, who has to get there: a folder of pytest's is root's alone.
    folder = Path(tempfile.mkdtemp(prefix="postfix-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def postfix(*, auth: bool = False, **settings: str) -> AsyncIterator[Postfix]:
    """
    Let Postfix run.

    :param auth: whether a login is asked for: ``alice``, ``sesame``.
    :param settings: of ``main.cf``.
    """
    _required(_MASTER)
    owner = pwd.getpwnam("postfix")
    with _own_folder() as folder:
        files = certificate(folder)
        server = Postfix(folder, free_port(), free_port())
        for name in ("config", "queue", "data", "log"):
            (folder / name).mkdir()
        os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private"):
            (folder / "queue" / name).mkdir(mode=0o700)
            os.chown(folder / "queue" / name, owner.pw_uid, -1)
        for name in ("maildrop", "public"):
            (folder / "queue" / name).mkdir(mode=0o730)
            shutil.chown(folder / "queue" / name, "postfix", "postdrop")
        (folder / "queue" / "pid").mkdir()
        main = _MAIN_CF.format(
            folder=folder,
            certificate=files[0],
            key=files[1],
            auth="yes" if auth else "no",
            relay="permit_sasl_authenticated, reject" if auth else "permit_mynetworks, reject",
        )
        extra = "".join(f"{name} = {value}\n" for name, value in settings.items())
        (folder / "config" / "main.cf").write_text(main + extra)
        (folder / "config" / "master.cf").write_text(_MASTER_CF.format(port=server.port, tls_port=server.tls_port))
        log = folder / "log" / "mail"
        async with dovecot_auth(folder / "auth"):
            process = _start(_MASTER, "-d", "-c", folder / "config")
            try:
                await _listens(server.port, process, log)
                yield server
            finally:
                _end(process)


@asynccontextmanager
async def smtp_sink(*arguments: str, keeps: bool = True) -> AsyncIterator[Sink]:
    """
    Let smtp-sink run, with its own arguments for what goes wrong.

    :param keeps: whether it keeps mails in files.
    """
    _required(_SINK)
    with _own_folder() as folder:
        shutil.chown(folder, "nobody")
        port = free_port()
        keeping = ("-d", "mail-%M.") if keeps else ()
        process = _start(_SINK, "-u", "nobody", "-R", folder, *keeping, *arguments, f"127.0.0.1:{port}", "256")
        try:
            await _listens(port, process, folder / "log")
            yield Sink(folder, port)
        finally:
            _end(process)


@dataclass
class Sink:
    """A sink that runs."""

    folder: Path
    port: int

    def connection(self) -> Fields:
        return Fields(port=self.port)

    @property
    def mails(self) -> list[str]:
        """What was stored, each with its envelope above it."""
        texts = [path.read_text() for path in sorted(self.folder.iterdir()) if path.name.startswith("mail-")]
        # A file is there from MAIL on, and goes when nothing came of that.
        return [text for text in texts if "Message-ID" in text]


def _start(*command: str | Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
