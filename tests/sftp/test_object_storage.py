# SPDX-License-Identifier: Apache-2.0
"""To and from what Airflow's ObjectStoragePath leads to: an object store, other file systems, local files."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_async.core.progress import Tally
from airflow_provider_async.core.resume import resumable
from airflow_provider_async.errors import FileChanged
from airflow_provider_async.sftp import SFTPClientPool
from airflow_provider_async.sftp.object_storage import StorageFile, is_one_path, local_or_storage, pure_path, walk_tree
from tests.servers.sftp import until, write_files
from tests.sftp.transfers import LARGE, SOON, contents, data_of, download, only_file, upload, write_large

airflow_sdk = pytest.importorskip("airflow.sdk")
memory = pytest.importorskip("fsspec.implementations.memory")
store = pytest.importorskip("airflow.sdk.io.store")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import ObjectStoragePath

    from airflow_provider_async.sftp.local import LocalPath, Verify
    from tests.servers.sftp import Proxy, Sshd


# What UPath itself does under Airflow 3.0 and 3.1, whenever two paths are joined.
pytestmark = pytest.mark.filterwarnings("ignore:in a future version of UPath:PendingDeprecationWarning")


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where large files wait until they are complete."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture(params=["memory", "s3"])
def storage(request: pytest.FixtureRequest) -> Iterator[Callable[[str], ObjectStoragePath]]:
    """Make paths: ``memory`` shows files while they are written; what stands in for ``s3`` here, as S3, does not."""

    class Files(memory.MemoryFileSystem):  # type: ignore[misc, name-defined]
        store: dict[str, Any] = {}  # noqa: RUF012 - fsspec's own has one for the whole process
        pseudo_dirs = [""]  # noqa: RUF012 - the same
        protocol = request.param
        cachable = False

        def put_file(self, lpath: str, rpath: str, **options: object) -> None:
            if request.param == "s3":
                self.pipe_file(rpath, Path(lpath).read_bytes())
            else:
                super().put_file(lpath, rpath, **options)

    store.attach(request.param, fs=Files())
    yield lambda path: airflow_sdk.ObjectStoragePath(f"{request.param}://bucket{path}")
    del store._STORE_CACHE[request.param]


def objects(folder: ObjectStoragePath) -> dict[str, bytes]:
    """Every object below a folder, hidden ones included."""
    root = folder.path.strip("/")
    return {path.lstrip("/")[len(root) + 1 :]: folder.fs.cat_file(path) for path in folder.fs.find(folder.path)}


@pytest.mark.parametrize("verify", ["size", "checksum"])
async def test_files_of_any_size_become_objects_and_files_again(
    pool: SFTPClientPool,
    sshd: Sshd,
    storage: Callable[[str], ObjectStoragePath],
    temporary_folder: Path,
    verify: Verify,
) -> None:
    (sshd.files / "in" / "sub").mkdir(parents=True)
    paths = []
    for size in (0, 3500, 1_000_000, LARGE):
        path = sshd.files / "in" / "sub" / str(size)
        write_large(path, size)
        paths.append(str(path))
    folder, tally = storage("/out"), Tally()

    files = await download(pool, paths, folder, base=sshd.files / "in", tally=tally, verify=verify)

    assert objects(folder) == contents(sshd.files / "in")
    assert files[0].local_path == folder / "sub" / "0"
    assert tally.bytes == sum(file.size for file in files) == sum((3500, 1_000_000, LARGE))
    assert contents(temporary_folder) == {}

    files = await upload(pool, walk_tree(folder), sshd.files / "again", base=pure_path(folder), verify=verify)

    assert contents(sshd.files / "again") == contents(sshd.files / "in")
    assert sorted(str(file.local_path) for file in files) == sorted(str(folder / "sub" / Path(p).name) for p in paths)


async def test_an_object_of_the_same_size_is_skipped(
    pool: SFTPClientPool, sshd: Sshd, storage: Callable[[str], ObjectStoragePath]
) -> None:
    paths = write_files(sshd.files, 2)
    folder = storage("/out")
    folder.fs.pipe_file((folder / "00000.xml").path, b"=" * 3500)
    folder.fs.pipe_file((folder / "00001.xml").path, b"other size")
    tally = Tally()

    files = await download(pool, paths, folder, existing="skip", tally=tally)

    assert [file.skipped for file in files] == [True, False]
    assert tally == Tally(skipped=1, bytes=3500)
    assert objects(folder) == {"00000.xml": b"=" * 3500, "00001.xml": data_of(paths[1])}


async def test_an_object_that_was_uploaded_is_skipped(
    pool: SFTPClientPool, sshd: Sshd, storage: Callable[[str], ObjectStoragePath]
) -> None:
    source = storage("/in") / "x"
    source.fs.pipe_file(source.path, b"data")
    await upload(pool, [source], sshd.files)
    (sshd.files / "x").write_bytes(b"same")
    os.utime(sshd.files / "x", (0, source.fs.modified(source.path).timestamp()))

    (file,) = await upload(pool, [source], sshd.files, existing="skip")

    assert file.skipped
    assert contents(sshd.files) == {"x": b"same"}


@pytest.mark.parametrize("size", [3500, 1_000_000])
async def test_an_existing_object_can_be_an_error(
    pool: SFTPClientPool, sshd: Sshd, storage: Callable[[str], ObjectStoragePath], size: int
) -> None:
    write_large(sshd.files / "x", size)
    folder = storage("/out")
    folder.fs.pipe_file((folder / "x").path, b"old")

    with pytest.raises(FileExistsError):
        await download(pool, [f"{sshd.files}/x"], folder, existing="error")

    assert objects(folder) == {"x": b"old"}


@pytest.mark.parametrize("size", [3500, LARGE])
async def test_a_failed_write_leaves_no_object(  # noqa: PLR0917 - fixtures
    pool: SFTPClientPool,
    sshd: Sshd,
    storage: Callable[[str], ObjectStoragePath],
    temporary_folder: Path,
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = write_large(sshd.files / "x", size)
    folder = storage("/out")
    files = type(folder.fs)
    pipe_file = files.pipe_file

    def half(fs: object, path: str, value: object, **options: object) -> None:
        if folder.protocol == "memory":
            pipe_file(fs, path, b"half")
        raise PermissionError("the store says no")

    with monkeypatch.context() as patched:
        patched.setattr(files, "pipe_file", half)
        patched.setattr(files, "put_file", half)
        with pytest.raises(PermissionError, match="the store says no"):
            await download(pool, [f"{sshd.files}/x"], folder)
    assert objects(folder) == {}

    # What was received of a large file is not received again.
    tally = Tally()
    await download(pool, [f"{sshd.files}/x"], folder, tally=tally)
    assert objects(folder) == {"x": data}
    assert tally.bytes == (0 if size == LARGE else size)
    assert contents(temporary_folder) == {}


async def test_a_write_that_is_cancelled_leaves_a_whole_object_or_none(
    pool: SFTPClientPool,
    sshd: Sshd,
    storage: Callable[[str], ObjectStoragePath],
    temporary_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = write_large(sshd.files / "x")
    folder = storage("/out")
    files = type(folder.fs)
    put_file = files.put_file
    began, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(fs: object, lpath: str, rpath: str, **options: object) -> None:
        began.set()
        go_on.wait(30)
        put_file(fs, lpath, rpath, **options)
        ended.set()

    monkeypatch.setattr(files, "put_file", slow)
    downloading = asyncio.ensure_future(download(pool, [f"{sshd.files}/x"], folder))
    await until(began.is_set)
    downloading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await downloading

    assert objects(folder) == {}
    go_on.set()
    await until(lambda: ended.is_set() and objects(folder) == {"x": data} and not contents(temporary_folder))


async def test_a_large_download_goes_on_in_the_folder_for_temporary_files(
    sshd: Sshd, proxy: Proxy, storage: Callable[[str], ObjectStoragePath], temporary_folder: Path
) -> None:
    data = write_large(sshd.files / "big")
    folder = storage("/out")
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        proxy.cut_after(down=5_000_000)
        with pytest.raises(Exception, match="big"):
            await download(pool, [f"{sshd.files}/big"], folder)
    (kept,) = contents(temporary_folder).values()
    private = only_file(temporary_folder)
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert objects(folder) == {}
    tally = Tally()

    async with SFTPClientPool(connection=sshd.connection(port=proxy.port)) as pool:
        await download(pool, [f"{sshd.files}/big"], folder, tally=tally)

    assert tally.bytes == LARGE - len(kept)
    assert objects(folder) == {"big": data}
    assert contents(temporary_folder) == {}


async def test_a_temporary_folder_that_others_may_use_is_refused(
    pool: SFTPClientPool, sshd: Sshd, storage: Callable[[str], ObjectStoragePath], temporary_folder: Path
) -> None:
    write_large(sshd.files / "big")
    shared = temporary_folder / f"airflow-provider-async-{os.geteuid()}"
    shared.mkdir()
    shared.chmod(0o777)

    with pytest.raises(PermissionError, match="must be a folder that nobody else may use"):
        await download(pool, [f"{sshd.files}/big"], storage("/out"))


async def test_a_tree_of_objects_is_walked_folder_by_folder_in_order(
    storage: Callable[[str], ObjectStoragePath],
) -> None:
    folder = storage("/in")
    for name in ("z", "b/y", "b/c/x", "a/w", ".hidden"):
        folder.fs.pipe_file((folder / name).path, b"")

    found = walk_tree(folder)

    assert hasattr(found, "__aiter__")
    names = [str(path).split("/in/")[1] async for path in found]
    assert names == [".hidden", "z", "a/w", "b/y", "b/c/x"]


async def test_a_folder_of_objects_is_no_file(
    pool: SFTPClientPool, sshd: Sshd, storage: Callable[[str], ObjectStoragePath]
) -> None:
    folder = storage("/in")
    folder.fs.pipe_file((folder / "x").path, b"")

    with pytest.raises(IsADirectoryError):
        await upload(pool, [folder], sshd.files)
    with pytest.raises(FileNotFoundError):
        await upload(pool, [folder / "missing"], sshd.files)


@pytest.mark.parametrize("size", [3500, 1_000_000])
@pytest.mark.parametrize("change", [b"", b"longer than it was" * 100_000])
async def test_an_object_that_changes_while_it_is_read_is_an_error(  # noqa: PLR0917 - fixtures
    pool: SFTPClientPool,
    sshd: Sshd,
    storage: Callable[[str], ObjectStoragePath],
    size: int,
    change: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = storage("/in") / "x"
    source.fs.pipe_file(source.path, b"x" * size)
    state = StorageFile.state

    async def state_and_change(file: StorageFile) -> object:
        found = await state(file)
        source.fs.pipe_file(source.path, change)
        return found

    monkeypatch.setattr(StorageFile, "state", state_and_change)
    with pytest.raises(FileChanged, match="x' was changed while it was transferred"):
        await upload(pool, [source], sshd.files)

    assert contents(sshd.files) == {}


async def test_a_local_path_of_the_form_of_an_object_s_is_a_local_path(
    pool: SFTPClientPool, sshd: Sshd, tmp_path: Path
) -> None:
    paths = write_files(sshd.files, 2)
    folder = airflow_sdk.ObjectStoragePath(f"file://{tmp_path}/local")
    assert local_or_storage(folder) == tmp_path / "local"

    await download(pool, paths, folder)
    assert contents(tmp_path / "local") == contents(sshd.files)

    await upload(pool, walk_tree(folder), sshd.files / "again", base=pure_path(folder))
    assert contents(sshd.files / "again") == contents(tmp_path / "local")


async def test_a_tree_goes_to_storage_and_comes_back_by_its_root_alone(
    pool: SFTPClientPool, sshd: Sshd, storage: Callable[[str], ObjectStoragePath]
) -> None:
    (sshd.files / "in" / "sub").mkdir(parents=True)
    write_files(sshd.files / "in", 2)
    write_files(sshd.files / "in" / "sub", 3)
    folder = storage("/out")

    files = pool.download_many(f"{sshd.files}/in", folder)
    assert {file.local_path async for file in files} == {
        folder / name for name in ("00000.xml", "00001.xml", "sub/00000.xml", "sub/00001.xml", "sub/00002.xml")
    }
    assert (files.progress.done, files.progress.bytes, files.progress.skipped) == (5, 5 * 3500, 0)

    files_up = pool.upload_many(folder, f"{sshd.files}/again")
    assert len([file async for file in files_up]) == 5
    assert (files_up.progress.done, files_up.progress.bytes, files_up.progress.skipped) == (5, 5 * 3500, 0)
    assert contents(sshd.files / "again") == contents(sshd.files / "in")

    files = pool.download_many(f"{sshd.files}/in", folder, existing="skip")
    assert all([file.skipped async for file in files])
    assert (files.progress.done, files.progress.bytes, files.progress.skipped) == (5, 0, 5)


async def test_uploads_of_objects_go_on_and_changed_ones_are_sent_again(
    pool: SFTPClientPool,
    sshd: Sshd,
    storage: Callable[[str], ObjectStoragePath],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = storage("/in")
    for number in range(6):
        folder.fs.pipe_file((folder / f"{number}").path, b"data")
    looked: dict[bool, list[str]] = {True: [], False: []}
    look = StorageFile.look

    def note(file: StorageFile, **options: bool) -> object:
        looked[threading.current_thread() is threading.main_thread()].append(file.path.name)
        return look(file, **options)

    monkeypatch.setattr(StorageFile, "look", note)

    async def fail() -> None:
        async with resumable(tmp_path / "kept"):
            async for file in pool.upload_many(folder, str(sshd.files), limit=1, ordered=True, resume="send"):
                if file.path.endswith("4"):
                    raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    folder.fs.pipe_file((folder / "0").path, b"other data")

    async with resumable(tmp_path / "kept", attempt=2):
        objects: list[LocalPath] = [folder / f"{number}" for number in (1, 0, 4, 5, 7)]
        outcomes = pool.upload_many(objects, str(sshd.files), ordered=True, resume="send").outcomes()
        found = [(outcome.item, type(outcome.error)) async for outcome in outcomes]

    assert found == [
        (folder / "0", type(None)),
        (folder / "4", type(None)),
        (folder / "5", type(None)),
        (folder / "7", FileNotFoundError),
    ]
    assert contents(sshd.files) == {"0": b"other data"} | {f"{number}": b"data" for number in range(1, 6)}
    # Never where it would hold up the event loop, and once for each but the one that is missing.
    assert looked[True] == []
    assert sorted(looked[False][-6:]) == ["0", "1", "4", "5", "7", "7"]


def test_one_path_is_told_from_many(storage: Callable[[str], ObjectStoragePath]) -> None:
    assert all(is_one_path(path) for path in ("x", Path("x"), storage("/x")))
    assert not any(is_one_path(paths) for paths in (["x"], [storage("/x")], iter(())))


def test_airflow_is_not_imported_for_local_paths() -> None:
    program = (
        "import sys\n"
        "from airflow_provider_async.sftp.object_storage import open_source, open_target, walk_tree\n"
        "import airflow_provider_async.sftp.upload, airflow_provider_async.sftp.download\n"
        "open_source('/x'), open_target('/x'), walk_tree('/x')\n"
        "sys.exit(any(name.partition('.')[0] in {'airflow', 'fsspec', 'upath'} for name in sys.modules))\n"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
