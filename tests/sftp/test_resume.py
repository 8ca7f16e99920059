# SPDX-License-Identifier: Apache-2.0
"""Work on many files that goes on where an earlier try stopped, against OpenSSH's server."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_async.core.keys import key_of
from airflow_provider_async.core.resume import resumable
from airflow_provider_async.errors import CheckpointError, UnsafePath
from airflow_provider_async.sftp.files import RemoteEntry, remote_key, version_key
from airflow_provider_async.sftp.local import LocalFile
from tests.servers.sftp import write_files
from tests.sftp.transfers import contents

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator

    from airflow_provider_async.core.amap import AsyncMap
    from airflow_provider_async.sftp import SFTPClientPool
    from airflow_provider_async.sftp.local import LocalPath
    from tests.servers.sftp import Sshd


T = TypeVar("T")
R = TypeVar("R")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where checkpoints are kept."""
    return tmp_path / "kept"


@asynccontextmanager
async def failing_try(kept: Path) -> AsyncIterator[None]:
    """Be a try that fails at the end."""
    with suppress(ZeroDivisionError):
        async with resumable(kept):
            yield
            raise ZeroDivisionError


async def stop_after(work: AsyncMap[T, R], count: int, kept: Path) -> None:
    """Be a try that acknowledges as many files and fails with the next."""
    async with failing_try(kept), work:
        async for _ in work:
            count -= 1
            if count < 0:
                return


def rewrite(path: str, *, seconds: int = 0) -> None:
    """Give a file another size, or another time."""
    status = Path(path).stat()
    if not seconds:
        Path(path).write_bytes(b"another size")
    os.utime(path, (status.st_atime, status.st_mtime + seconds))


def is_there(path: str | Path) -> bool:
    return Path(path).exists()


# Reading.


async def test_reading_that_failed_in_the_middle_goes_on(pool: SFTPClientPool, sshd: Sshd, kept: Path) -> None:
    paths = write_files(sshd.files, 20)
    await stop_after(pool.read_many(await pool.glob(f"{sshd.files}/*"), ordered=True, resume="load"), 7, kept)

    async with resumable(kept, attempt=2):
        files = pool.read_many(await pool.glob(f"{sshd.files}/*"), resume="load")
        found = [file.path async for file in files]

    assert sorted(found) == paths[7:]
    assert (files.progress.done, files.progress.resumed, files.progress.total) == (20, 7, 20)
    assert not is_there(kept)


async def test_a_file_that_was_changed_is_read_again(pool: SFTPClientPool, sshd: Sshd, kept: Path) -> None:
    paths = write_files(sshd.files, 5)
    await stop_after(pool.read_many(await pool.glob(f"{sshd.files}/*"), ordered=True, resume="load"), 4, kept)
    rewrite(paths[0])
    rewrite(paths[1], seconds=1)

    async with resumable(kept, attempt=2):
        found = [file.path async for file in pool.read_many(pool.walk(str(sshd.files)), resume="load")]

    assert sorted(found) == [paths[0], paths[1], paths[4]]


async def test_plain_paths_are_the_same_whatever_becomes_of_their_files(
    pool: SFTPClientPool, sshd: Sshd, kept: Path
) -> None:
    paths = write_files(sshd.files, 4)
    await stop_after(pool.read_many(map(PurePosixPath, paths), ordered=True, resume="load"), 2, kept)
    rewrite(paths[0], seconds=1)

    async with resumable(kept, attempt=2):
        found = [file.path async for file in pool.read_many(paths, resume="load")]

    assert sorted(found) == paths[2:]


async def test_a_batch_of_files_is_acknowledged_as_a_whole(pool: SFTPClientPool, sshd: Sshd, kept: Path) -> None:
    paths = write_files(sshd.files, 9)
    batches = pool.read_many(paths, ordered=True, resume="load").batches(4)
    async with failing_try(kept):
        await anext(batches)
        await anext(batches)

    async with resumable(kept, attempt=2):
        found = [file.path async for file in pool.read_many(paths, resume="load")]

    assert sorted(found) == paths[4:]


async def test_files_can_be_acknowledged_by_hand(pool: SFTPClientPool, sshd: Sshd, kept: Path) -> None:
    paths = write_files(sshd.files, 6)
    (sshd.files / "00002.xml").rename(sshd.files / "away")
    async with failing_try(kept):
        async for outcome in pool.read_many(paths, resume="load", ack="manual").outcomes():
            if outcome.item in paths[:2]:
                outcome.ack()
    (sshd.files / "away").rename(sshd.files / "00002.xml")

    async with resumable(kept, attempt=2):
        found = [file.path async for file in pool.read_many(paths, resume="load")]

    assert sorted(found) == paths[2:]


async def test_the_same_file_twice_is_an_error_that_names_it(pool: SFTPClientPool, sshd: Sshd, kept: Path) -> None:
    (path,) = write_files(sshd.files, 1)
    async with resumable(kept):
        with pytest.raises(CheckpointError, match=r"two items have the key .*00000\.xml"):
            [file async for file in pool.read_many([path, path], resume="load")]


async def test_without_a_name_to_resume_by_there_is_nothing_to_acknowledge(pool: SFTPClientPool) -> None:
    with pytest.raises(ValueError, match="ack and results are for resume"):
        pool.read_many(["/a"], ack="manual")
    with pytest.raises(ValueError, match="resume must be a name of letters"):
        pool.read_many(["/a"], resume="a/b")


# Looking, removing, moving.


async def test_looking_goes_on(pool: SFTPClientPool, sshd: Sshd, kept: Path) -> None:
    paths = write_files(sshd.files, 6)
    await stop_after(pool.stat_many(paths, ordered=True, resume="look"), 4, kept)

    async with resumable(kept, attempt=2):
        found = [entry.path async for entry in pool.stat_many(paths, resume="look")]

    assert sorted(found) == paths[4:]


@pytest.mark.parametrize("missing", ["error", "ignore"])
async def test_removing_goes_on_with_the_names_that_are_left(
    pool: SFTPClientPool, sshd: Sshd, kept: Path, missing: str
) -> None:
    paths = write_files(sshd.files, 6)
    # One at a time: the fourth is removed, and not acknowledged.
    await stop_after(pool.remove_many(paths, limit=1, ordered=True, resume="remove"), 3, kept)
    gone = [path for path in paths if not is_there(path)]
    assert paths[:4] == gone[:4]

    async with resumable(kept, attempt=2):
        again = pool.remove_many(paths, missing=missing, resume="remove")  # type: ignore[arg-type]
        if missing == "error":
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                [path async for path in again]
        else:
            assert sorted([path async for path in again]) == paths[3:]
            assert again.progress.resumed == 3
            # The server may have removed one more when nobody waited for its answer any more.
            assert again.progress.skipped >= len(gone) - 3

    # A new list has no names that are gone, acknowledged or not.
    async with resumable(kept, attempt=3):
        [path async for path in pool.remove_many(await pool.glob(f"{sshd.files}/*"), resume="remove")]
    assert contents(sshd.files) == {}


@pytest.mark.parametrize("existing", ["overwrite", "skip", "error"])
async def test_moving_goes_on_though_some_were_moved_and_not_acknowledged(
    pool: SFTPClientPool, sshd: Sshd, kept: Path, existing: str
) -> None:
    (sshd.files / "in").mkdir()
    paths = write_files(sshd.files / "in", 8)
    before = contents(sshd.files / "in")
    archive = str(sshd.files / "archive")
    await stop_after(pool.move_many(paths, archive, limit=1, ordered=True, resume="move"), 3, kept)
    moved = len(contents(sshd.files / "archive"))
    assert moved > 3

    async with resumable(kept, attempt=2):
        again = pool.move_many(paths, archive, existing=existing, missing="ignore", resume="move")  # type: ignore[arg-type]
        files = [file async for file in again]

    assert sorted(file.path for file in files) == paths[3:]
    # The server may have moved one more when nobody waited for its answer any more.
    assert again.progress.skipped == sum(file.skipped for file in files) >= moved - 3
    assert contents(sshd.files / "archive") == before
    assert contents(sshd.files / "in") == {}


async def test_a_file_that_is_missing_is_not_moved(pool: SFTPClientPool, sshd: Sshd) -> None:
    with pytest.raises(asyncssh.SFTPNoSuchFile):
        [file async for file in pool.move_many([f"{sshd.files}/a"], f"{sshd.files}/archive")]
    with pytest.raises(ValueError, match="missing must be 'error' or 'ignore', not 'skip'"):
        pool.move_many(["/a"], "/archive", missing="skip")  # type: ignore[arg-type]
    # There, and yet in the way of nothing but itself: that is no missing file.
    (path,) = write_files(sshd.files, 1)
    with pytest.raises(FileExistsError):
        [file async for file in pool.move_many([path], str(sshd.files), existing="error", missing="ignore")]


# Downloads.


async def test_the_download_of_a_tree_goes_on(pool: SFTPClientPool, sshd: Sshd, local: Path, kept: Path) -> None:
    for folder in ("a", "a/b", "c"):
        (sshd.files / folder).mkdir()
        write_files(sshd.files / folder, 5)
    await stop_after(pool.download_many(str(sshd.files), local, resume="copy"), 6, kept)
    (sshd.files / "c" / "new").write_bytes(b"came later")

    async with resumable(kept, attempt=2):
        files = pool.download_many(str(sshd.files), local, resume="copy")
        found = [file.path async for file in files]

    assert contents(local) == contents(sshd.files)
    assert (files.progress.resumed, len(found)) == (6, 10)
    assert files.progress.bytes == 9 * 3500 + len(b"came later")


async def test_names_stay_taken_by_files_that_are_left_out(
    pool: SFTPClientPool, sshd: Sshd, local: Path, kept: Path
) -> None:
    for folder in ("a", "b"):
        (sshd.files / folder).mkdir()
        (sshd.files / folder / "same").write_text(folder)
    paths = [f"{sshd.files}/a/same", f"{sshd.files}/b/same"]
    with pytest.raises(UnsafePath, match="would both become 'same'"):
        async with resumable(kept):
            [file async for file in pool.download_many(paths, local, limit=1, ordered=True, resume="copy")]

    async with resumable(kept, attempt=2):
        files = pool.download_many(paths, local, resume="copy")
        (outcome,) = [outcome async for outcome in files.outcomes()]
        assert isinstance(outcome.error, UnsafePath)
        assert files.progress.resumed == 1
        files = pool.download_many(reversed(paths), local, limit=1, ordered=True, resume="copy")
        assert [type(outcome.error) async for outcome in files.outcomes()] == [type(None), UnsafePath]
        assert files.progress.resumed == 0


# Uploads.


async def test_uploads_go_on_and_changed_files_are_sent_again(
    pool: SFTPClientPool, sshd: Sshd, local: Path, kept: Path
) -> None:
    paths = write_files(local, 8)
    await stop_after(pool.upload_many(paths, str(sshd.files), ordered=True, resume="send"), 5, kept)
    rewrite(paths[0])
    rewrite(paths[1], seconds=-1)

    async with resumable(kept, attempt=2):
        files = pool.upload_many(map(Path, paths), str(sshd.files), resume="send")
        found = [str(file.local_path) async for file in files]

    assert sorted(found) == [paths[0], paths[1], *paths[5:]]
    assert files.progress.resumed == 3
    assert contents(sshd.files) == contents(local)


async def test_the_upload_of_a_tree_goes_on(pool: SFTPClientPool, sshd: Sshd, local: Path, kept: Path) -> None:
    for folder in ("a", "b"):
        (local / folder).mkdir()
        write_files(local / folder, 5)
    await stop_after(pool.upload_many(local, f"{sshd.files}/copy", ordered=True, resume="send"), 6, kept)

    async with resumable(kept, attempt=2):
        files = pool.upload_many(local, f"{sshd.files}/copy", resume="send")
        assert len([file async for file in files]) == 4

    assert contents(sshd.files / "copy") == contents(local)
    assert (files.progress.total, files.progress.resumed) == (10, 6)


async def test_a_local_file_is_looked_at_once(
    pool: SFTPClientPool, sshd: Sshd, local: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    look = LocalFile.look

    def note(file: LocalFile) -> object:
        looked.append(str(file.path))
        return look(file)

    monkeypatch.setattr(LocalFile, "look", note)
    paths = write_files(local, 10)
    async with resumable(kept):
        files = pool.upload_many(paths, str(sshd.files), resume="send")
        assert files.progress.total == 10
        [file async for file in files]

    assert sorted(looked) == paths


async def test_what_cannot_be_uploaded_is_the_error_of_its_own_file(
    pool: SFTPClientPool, sshd: Sshd, local: Path, kept: Path
) -> None:
    (path,) = write_files(local, 1)
    paths: list[LocalPath] = [local / "missing", local, "s3://bucket/x", local / "..", path]
    async with resumable(kept):
        files = pool.upload_many(paths, str(sshd.files), ordered=True, resume="send").outcomes()
        errors = [type(outcome.error) async for outcome in files]

    assert errors == [FileNotFoundError, IsADirectoryError, ValueError, IsADirectoryError, type(None)]


async def test_a_source_of_paths_is_closed_when_an_upload_is_left(
    pool: SFTPClientPool, sshd: Sshd, local: Path, kept: Path
) -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        try:
            for path in write_files(local, 300):
                yield path
        finally:
            closed.set()

    async with resumable(kept), pool.upload_many(source(), str(sshd.files), limit=2, resume="send") as files:
        async for _ in files:
            break

    assert closed.is_set()


async def test_a_source_of_paths_need_not_be_a_generator(
    pool: SFTPClientPool, sshd: Sshd, local: Path, kept: Path
) -> None:
    paths = write_files(local, 3)

    class Source:
        def __init__(self) -> None:
            self._left = iter(paths)

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> str:
            for path in self._left:
                return path
            raise StopAsyncIteration

    source: AsyncIterable[str] = Source()
    async with resumable(kept):
        assert len([file async for file in pool.upload_many(source, str(sshd.files), resume="send")]) == 3


# Keys.


@pytest.mark.parametrize(
    ("size", "modified", "parts"),
    [
        (3, 1.9, ["/a", "3", "1"]),
        (3, None, ["/a", "3", ""]),
        (None, 1, ["/a", "", "1"]),
        (None, None, ["/a", "", ""]),
        (0, 0, ["/a", "0", "0"]),
    ],
)
def test_an_entry_has_what_is_known_of_it_in_its_key(
    size: int | None, modified: float | None, parts: list[str]
) -> None:
    entry = RemoteEntry("/a", "file", size, modified)

    assert entry.resume_key == key_of(entry) == remote_key(entry)
    assert entry.resume_key.split("\0") == parts
    assert type(key_of(entry)) is str


def test_a_path_is_its_own_key() -> None:
    assert remote_key("/a") == remote_key(PurePosixPath("/a")) == "/a"


@given(st.tuples(*(st.tuples(st.text(), st.integers(), st.floats(-1e12, 1e12)) for _ in range(2))))
def test_versions_share_a_key_only_within_a_second(pair: tuple[tuple[str, int, float], tuple[str, int, float]]) -> None:
    first, second = pair
    is_same = first[:2] == second[:2] and int(first[2]) == int(second[2])

    assert (version_key(*first) == version_key(*second)) == is_same
