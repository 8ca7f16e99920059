# SPDX-License-Identifier: Apache-2.0
"""OpenSSH's server on the loopback, and the files that it serves."""

from __future__ import annotations

import contextlib
import filecmp
import getpass
import json
import os
import random
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.servers.sftp import Fields, Key, Sshd, make_key

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 17_000
SIZES = (2_000, 6_000)
BIG_BYTES = 1024**3

#: A tree of so many names: each group has folders, and each folder, the groups' own included, files.
GROUPS = 10
FOLDERS_A_GROUP = 100
FILES_A_FOLDER = 100

#: A peer that connects for each file must not be turned away.
SSHD_OPTIONS = "MaxStartups 200\nLogLevel ERROR"


@dataclass(frozen=True)
class Files:
    """
    A folder of files.

    :param folder: its path, here and on the server.
    :param sizes: bytes by name.
    """

    folder: Path
    sizes: dict[str, int]

    @property
    def total_bytes(self) -> int:
        return sum(self.sizes.values())

    @property
    def paths(self) -> list[str]:
        return [f"{self.folder}/{name}" for name in self.sizes]


def sizes_in(folder: Path) -> dict[str, int]:
    """Tell what lies in a folder, by name."""
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries}


def same_files(files: Files, folder: Path) -> bool:
    """Tell whether a folder has the same files, and nothing else."""
    if sizes_in(folder) != files.sizes:
        return False
    # It would remember files of the same size and time.
    filecmp.clear_cache()
    same, _, _ = filecmp.cmpfiles(files.folder, folder, list(files.sizes), shallow=False)
    return len(same) == len(files.sizes)


def make_files(folder: Path, count: int) -> Files:
    """Write small XML files, the same ones each time."""
    chance = random.Random(SEED)
    text = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789 ", k=1_000_000))
    folder.mkdir()
    sizes = {}
    for number in range(count):
        name, size = f"{number:05}.xml", chance.randint(*SIZES)
        start = chance.randrange(len(text) - size)
        content = f"<order number='{number}'>{text[start : start + size]}"[: size - len("</order>")] + "</order>"
        sizes[name] = (folder / name).write_bytes(content.encode())
    return Files(folder, sizes)


def make_sample(files: Files, count: int) -> Files:
    """Make a folder with the first of the files, for clients that take a folder as a whole."""
    if count >= len(files.sizes):
        return files
    folder = files.folder.with_name(f"{files.folder.name}-{count}")
    sample = Files(folder, dict(list(files.sizes.items())[:count]))
    if not folder.exists():
        folder.mkdir()
        for name in sample.sizes:
            os.link(files.folder / name, folder / name)
    return sample


def make_big_file(folder: Path, size: int) -> Files:
    """Write one file that can't be compressed."""
    folder.mkdir()
    block = random.Random(SEED).randbytes(min(size, 16 * 1024**2))
    with (folder / "big.bin").open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
    return Files(folder, sizes_in(folder))


def make_tree(folder: Path, *, groups: int = GROUPS) -> int:
    """Make a tree of folders with empty files, and return the number of files in each of its groups."""
    for group in range(groups):
        within = folder / f"{group:02}"
        for one in [within, *(within / f"{number:02}" for number in range(FOLDERS_A_GROUP - 1))]:
            one.mkdir(parents=True)
            for number in range(FILES_A_FOLDER):
                os.close(os.open(f"{one}/{number:03}.xml", os.O_CREAT | os.O_WRONLY, 0o644))
    return FOLDERS_A_GROUP * FILES_A_FOLDER


@dataclass(frozen=True)
class Server:
    """
    A running sshd.

    :param folder: where it keeps its own files, and the benchmark what is served.
    :param port: where it listens.
    """

    folder: Path
    port: int
    host_key: Key
    user_key: Key

    def fields(self, port: int) -> Fields:
        """Return what a pool reads of a Connection."""
        extra = {"key_file": str(self.user_key.file), "host_key": self.host_key.public}
        return Fields("127.0.0.1", port, getpass.getuser(), extra_dejson=extra, conn_id="bench")

    def airflow_connection(self, port: int) -> str:
        """Return the value of an ``AIRFLOW_CONN_...`` variable."""
        of = self.fields(port)
        fields = {"conn_type": "sftp", "host": of.host, "port": port, "login": of.login, "extra": of.extra_dejson}
        return json.dumps(fields)


@contextmanager
def serving(folder: Path | None = None) -> Iterator[Server]:
    """
    Run OpenSSH's server, and remove everything at the end.

    :param folder: where to make the temporary folder.
    """
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    program = shutil.which("sshd", path=search)
    if program is None:
        sys.exit("OpenSSH's server (sshd) is not installed.")
    with tempfile.TemporaryDirectory(prefix="sftp-benchmark-", dir=folder) as name, contextlib.ExitStack() as stack:
        base = Path(name)
        (base / "sshd").mkdir()
        host_key, user_key = make_key(base, "host"), make_key(base, "user")
        sshd = Sshd(program, base / "sshd", host_key=host_key, user_key=user_key, options=SSHD_OPTIONS)
        sshd.start()
        stack.callback(sshd.stop)
        yield Server(base, sshd.port, host_key, user_key)
