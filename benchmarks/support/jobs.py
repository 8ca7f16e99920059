# SPDX-License-Identifier: Apache-2.0
"""What a client is told to do, and how programs and clients in Python are made to do it."""

from __future__ import annotations

import getpass
import json
import os
import shlex
import shutil
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from benchmarks.support.run import run_client, run_command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.support.server import Server


@dataclass(frozen=True, kw_only=True)
class Job:
    """
    One piece of work.

    :param port: of the server, or of a line to it.
    :param source: a folder: the server's, or the local one for an upload.
    :param target: a folder: the local one, or the server's for an upload; empty for work into memory.
    :param connections: how many connections a pool has.
    :param transfers: how many files a program moves at once.
    """

    port: int
    key_file: str
    host_key: str
    source: str
    target: str = ""
    connections: int = 2
    transfers: int = 8


@dataclass(frozen=True)
class Done:
    """
    What came of it.

    :param seconds: how long it took.
    :param files: how many files it handled, where the client can tell.
    :param bytes: how much it handled, where the client can tell.
    :param growth_mib: by how much its memory grew, at the most, from the interpreter with the library loaded.
    """

    seconds: float
    files: int | None = None
    bytes: int | None = None
    growth_mib: float | None = None


def python_client(name: str) -> Callable[[Server, Job], Done]:
    """Return what runs a function of ``benchmarks.support.clients`` in a process of its own."""

    def run(server: Server, job: Job) -> Done:
        connection = server.airflow_connection(job.port)
        work = json.dumps(asdict(job))
        done = run_client("clients", name, work, folder=server.folder, AIRFLOW_CONN_BENCH=connection)
        return Done(**json.loads(done))

    return run


def program(command: Callable[[Job], str]) -> Callable[[Server, Job], Done]:
    """Return what runs a line of shell, which may print how many bytes there were."""

    def run(_: Server, job: Job) -> Done:
        environment = dict(os.environ, RCLONE_CONFIG="")
        began = time.perf_counter()
        output = run_command(["bash", "-o", "pipefail", "-c", command(job)], environment)
        seconds = time.perf_counter() - began
        return Done(seconds, bytes=int(output) if output.strip() else None)

    return run


def _ssh_options(job: Job) -> str:
    options = ("BatchMode=yes", "IdentitiesOnly=yes", "LogLevel=ERROR", "StrictHostKeyChecking=no")
    named = " ".join(f"-o {option}" for option in (*options, "UserKnownHostsFile=/dev/null"))
    return f"-F none -i {job.key_file} {named}"


def _tar(job: Job) -> str:
    packing = shlex.quote(f"tar -C {job.source} -cf - .")
    return f"ssh {_ssh_options(job)} -p {job.port} 127.0.0.1 {packing}"


def tar_thrown_away(job: Job) -> str:
    return f"{_tar(job)} | wc -c"


def tar_to_disk(job: Job) -> str:
    return f"{_tar(job)} | tar -C {job.target} -xf -"


def _rclone(job: Job, source: str, target: str) -> str:
    # Without checksums: it would start a program on the server for each file.
    settings = f"--sftp-disable-hashcheck --sftp-shell-type none --sftp-chunk-size 255k --checkers {job.transfers}"
    return f"rclone copy -q {settings} --transfers {job.transfers} {source} {target}"


def _rclone_remote(job: Job) -> str:
    return f":sftp,host=127.0.0.1,port={job.port},user={getpass.getuser()},key_file={job.key_file}:"


def rclone_download(job: Job) -> str:
    return _rclone(job, f"{_rclone_remote(job)}{job.source}", job.target)


def rclone_upload(job: Job) -> str:
    return _rclone(job, job.source, f"{_rclone_remote(job)}{job.target}")


def openssh_sftp(job: Job, *, options: str = "") -> str:
    batch = shlex.quote(f"get {job.source}/* {job.target}/")
    return f"echo {batch} | sftp -q -b - {options} {_ssh_options(job)} -P {job.port} 127.0.0.1 > {os.devnull}"


def openssh_sftp_tuned(job: Job) -> str:
    return openssh_sftp(job, options="-c aes128-gcm@openssh.com -B 261120")


def lftp_mirror(job: Job) -> str:
    commands = (
        f'set sftp:connect-program "ssh -a -x {_ssh_options(job)}"',
        f"open -u {getpass.getuser()}, sftp://127.0.0.1:{job.port}",
        f"mirror -P 8 {job.source} {job.target}",
    )
    return f"lftp --norc -c {shlex.quote('; '.join(commands))} > {os.devnull}"


def missing_programs() -> list[str]:
    """Tell which of the programs are not installed."""
    return [name for name in ("ssh", "sftp", "tar", "rclone", "lftp") if shutil.which(name) is None]


def remove(folder: Path) -> None:
    """Remove what a client has written, and let the disk come to rest."""
    shutil.rmtree(folder, ignore_errors=True)
    os.sync()
