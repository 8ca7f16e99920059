# SPDX-License-Identifier: Apache-2.0
"""Files that change meanwhile, and checksums: what is wrong does not stay."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async.errors import FileChanged, VerificationFailed
from airflow_provider_async.sftp import SFTPClientPool
from airflow_provider_async.sftp.folders import Folders
from tests.servers.sftp import FolderServer, asyncssh_server, write_files
from tests.sftp.transfers import (
    LARGE,
    SOON,
    contents,
    download,
    upload,
    write_large,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.sftp import Proxy, Sshd


# Downloads.


class Growing(FolderServer):
    """Each reading of a file makes it longer."""

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        with next(self.root.iterdir()).open("ab") as file:
            file.write(b"more")
        return super().read(file_obj, offset, size)  # type: ignore[return-value]


class Shrinking(FolderServer):
    """Each question for the size of an open file finds it empty."""

    def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        return asyncssh.SFTPAttrs(size=0, atime=0, mtime=0)


@pytest.mark.parametrize(("behaviour", "size"), [(Growing, 1_000_000), (Growing, LARGE), (Shrinking, 1000)])
async def test_in_a_download_a_file_that_changes_while_it_is_read_is_an_error(
    tmp_path: Path, local: Path, behaviour: type[FolderServer], size: int
) -> None:
    (tmp_path / "remote").mkdir()
    write_large(tmp_path / "remote" / "x", size)
    async with (
        asyncssh_server(tmp_path / "remote", behaviour) as server,
        SFTPClientPool(connection=server.connection()) as pool,
    ):
        with pytest.raises(FileChanged, match="'/x' was changed while it was read"):
            await download(pool, ["/x"], local)

    assert contents(local) == {}


class Sizeless(FolderServer):
    """Tells no sizes."""

    def fstat(self, file_obj: object) -> asyncssh.SFTPAttrs:
        return asyncssh.SFTPAttrs()


async def test_without_a_size_nothing_is_downloaded(tmp_path: Path, local: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    async with asyncssh_server(tmp_path, Sizeless) as server, SFTPClientPool(connection=server.connection()) as pool:
        with pytest.raises(VerificationFailed, match="the server does not tell the size of '/x'"):
            await download(pool, ["/x"], local)


@pytest.mark.parametrize("size", [0, 3500, LARGE])
async def test_in_a_download_a_checksum_is_compared(pool: SFTPClientPool, sshd: Sshd, local: Path, size: int) -> None:
    data = write_large(sshd.files / "it's \\ a\nname", size)

    await download(pool, [str(sshd.files / "it's \\ a\nname")], local, verify="checksum")

    assert contents(local) == {"it's \\ a\nname": data}


async def test_many_checksums_are_compared_on_few_connections(pool: SFTPClientPool, sshd: Sshd, local: Path) -> None:
    await download(pool, write_files(sshd.files, 40), local, verify="checksum")

    assert contents(local) == contents(sshd.files)


@pytest.mark.parametrize("size", [3500, LARGE])
async def test_in_a_download_another_checksum_leaves_nothing(
    pool: SFTPClientPool, sshd: Sshd, local: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_large(sshd.files / "x", size)
    other = hashlib.sha256(b"something else")
    monkeypatch.setattr(hashlib, "sha256", lambda data=b"": other)
    monkeypatch.setattr(hashlib, "file_digest", lambda file, digest: other)

    with pytest.raises(VerificationFailed, match=r"'.*x' was not transferred correctly"):
        await download(pool, [f"{sshd.files}/x"], local, verify="checksum")

    assert contents(local) == {}


async def test_a_server_that_runs_no_commands_computes_no_checksums(tmp_path: Path, local: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    async with asyncssh_server(tmp_path) as server, SFTPClientPool(connection=server.connection()) as pool:
        with pytest.raises(VerificationFailed, match="the server computes no checksums"):
            await download(pool, ["/x"], local, verify="checksum")

    assert contents(local) == {}


async def test_a_server_for_sftp_alone_computes_no_checksums(make_sshd: object, local: Path) -> None:
    server: Sshd = make_sshd(options="ForceCommand internal-sftp")  # type: ignore[operator]
    async with SFTPClientPool(connection=server.connection()) as pool:
        with pytest.raises(VerificationFailed, match="the server computes no checksums"):
            await download(pool, write_files(server.files, 1), local, verify="checksum")

    assert contents(local) == {}


async def test_a_connection_that_is_lost_during_a_checksum_is_an_error_that_is_tried_again(
    sshd: Sshd, proxy: Proxy, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_files(sshd.files, 1)
    run = asyncssh.SSHClientConnection.run

    async def cut_once(connection: asyncssh.SSHClientConnection, *args: object, **options: object) -> object:
        if not proxy.cuts:
            proxy.cut()
        return await run(connection, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncssh.SSHClientConnection, "run", cut_once)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        await download(pool, paths, local, verify="checksum", retry=SOON)

    assert proxy.cuts == 1
    assert contents(local) == contents(sshd.files)


# Uploads.


@pytest.mark.parametrize("size", [3500, 1_000_000, LARGE])
@pytest.mark.parametrize("change", [b"", b"longer"])
async def test_in_an_upload_a_file_that_changes_while_it_is_read_is_an_error(  # noqa: PLR0917 - fixtures
    pool: SFTPClientPool, sshd: Sshd, local: Path, monkeypatch: pytest.MonkeyPatch, size: int, change: bytes
) -> None:
    path = local / "x"
    write_large(path, size)
    make = Folders.make

    async def make_and_change(folders: Folders, folder: str) -> None:
        await make(folders, folder)
        path.write_bytes(path.read_bytes() + change if change else b"")

    monkeypatch.setattr(Folders, "make", make_and_change)

    with pytest.raises(FileChanged, match=r"'.*x' was changed while it was transferred"):
        await upload(pool, [path], sshd.files)

    assert contents(sshd.files) == {}


@pytest.mark.parametrize("size", [0, 3500, LARGE])
async def test_in_an_upload_a_checksum_is_compared(pool: SFTPClientPool, sshd: Sshd, local: Path, size: int) -> None:
    write_large(local / "it's", size)

    await upload(pool, [local / "it's"], sshd.files, verify="checksum")

    assert contents(sshd.files) == contents(local)


@pytest.mark.parametrize("size", [3500, LARGE])
async def test_in_an_upload_another_checksum_leaves_nothing(
    pool: SFTPClientPool, sshd: Sshd, local: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_large(local / "x", size)
    other = hashlib.sha256(b"something else")
    monkeypatch.setattr(hashlib, "sha256", lambda data=b"": other)
    monkeypatch.setattr(hashlib, "file_digest", lambda file, digest: other)

    with pytest.raises(VerificationFailed, match="was not transferred correctly"):
        await upload(pool, [local / "x"], sshd.files, verify="checksum")

    assert contents(sshd.files) == {}


async def test_a_server_that_loses_bytes_is_found_out(remote: Path, local: Path) -> None:
    class Losing(FolderServer):
        def write(self, file_obj: object, offset: int, data: bytes) -> int:
            super().write(file_obj, offset, data[:-1])
            return len(data)

    write_large(local / "x")
    async with asyncssh_server(remote, Losing) as server, SFTPClientPool(connection=server.connection()) as pool:
        with pytest.raises(VerificationFailed, match="does not have the"):
            await upload(pool, [local / "x"], "/")

    assert contents(remote) == {}
