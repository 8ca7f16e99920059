# SPDX-License-Identifier: Apache-2.0
"""Remote files that are looked at, removed and moved, also where answers are lost."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import UnsafePath
from airflow_provider_async.sftp import SFTPClientPool
from airflow_provider_async.sftp.files import MovedFile
from airflow_provider_async.sftp.folders import Folders
from tests.servers.sftp import FolderServer, asyncssh_server, write_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.servers.sftp import Sshd

SOON = Retry(initial_seconds=0.01, max_seconds=0.05)
ONCE = Retry(attempts=1)


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write(path: Path, text: str, modified: int = 1_700_000_000) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (modified, modified))
    return str(path)


class Forgetful(FolderServer):
    """Does what it is asked, and hangs up instead of answering: once for each kind of request."""

    forgets: frozenset[str] = frozenset()
    forgot: set[str]

    def forget(self, kind: str) -> None:
        if kind in self.forgets - self.forgot:
            self.forgot.add(kind)
            self.connection.abort()

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        super().mkdir(path, attrs)
        self.forget("mkdir")

    def remove(self, path: bytes) -> None:
        super().remove(path)
        self.forget("remove")

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        super().rename(oldpath, newpath)
        self.forget("rename")

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        super().posix_rename(oldpath, newpath)
        self.forget("posix_rename")


class Plain(Forgetful):
    """Has no posix-rename@openssh.com."""

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("no posix-rename here")


def forgetting(*kinds: str, base: type[Forgetful] = Forgetful) -> type[Forgetful]:
    return type("Server", (base,), {"forgets": frozenset(kinds), "forgot": set()})


@asynccontextmanager
async def pool_of(root: Path, behaviour: type[FolderServer]) -> AsyncIterator[SFTPClientPool]:
    async with asyncssh_server(root, behaviour) as server, SFTPClientPool(connection=server.connection()) as pool:
        yield pool


# Looking.


async def test_what_is_at_a_path_is_told_and_a_link_is_a_link(sshd: Sshd) -> None:
    path = write(sshd.files / "a.xml", "<a/>")
    (sshd.files / "link").symlink_to(path)
    paths = [path, str(sshd.files), f"{sshd.files}/link"]
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        entries = [entry async for entry in pool.stat_many(paths, ordered=True)]
        (missing,) = [outcome async for outcome in pool.stat_many([f"{path}.gone"]).outcomes()]

    assert entries == paths
    assert [entry.kind for entry in entries] == ["file", "folder", "link"]
    assert (entries[0].size, entries[0].modified) == (4, 1_700_000_000)
    assert isinstance(missing.error, asyncssh.SFTPNoSuchFile)


# Removing.


async def test_files_and_links_are_removed_and_what_a_link_leads_to_is_not(sshd: Sshd) -> None:
    paths = write_files(sshd.files, 50)
    (sshd.files / "link").symlink_to(paths[0])
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        removed = [path async for path in pool.remove_many([*paths[1:], f"{sshd.files}/link"])]

    assert sorted(removed) == sorted([*paths[1:], f"{sshd.files}/link"])
    assert [str(path) for path in sshd.files.iterdir()] == paths[:1]


async def test_a_file_that_is_missing_is_an_error_unless_that_is_to_be_ignored(sshd: Sshd) -> None:
    paths = write_files(sshd.files, 3)
    gone = f"{sshd.files}/gone.xml"
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        outcomes = [outcome async for outcome in pool.remove_many([paths[0], gone]).outcomes()]
        assert {outcome.item: type(outcome.error) for outcome in outcomes if outcome.error} == {
            gone: asyncssh.SFTPNoSuchFile
        }

        removing = pool.remove_many([paths[1], gone], missing="ignore")
        assert sorted([path async for path in removing]) == [paths[1], gone]
        assert (removing.progress.done, removing.progress.skipped) == (2, 1)

        with pytest.raises(ValueError, match="'error' or 'ignore'"):
            pool.remove_many(paths, missing="never")  # type: ignore[arg-type]


async def test_a_folder_is_not_removed_and_the_error_names_it(sshd: Sshd) -> None:
    (sshd.files / "in").mkdir()
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        with pytest.raises(IsADirectoryError, match="is a folder") as raised:
            await anext(aiter(pool.remove_many([f"{sshd.files}/in"])))

    assert raised.value.filename == f"{sshd.files}/in"
    assert (sshd.files / "in").is_dir()


async def test_a_file_that_must_not_be_removed_keeps_the_servers_error(tmp_path: Path) -> None:
    class Strict(FolderServer):
        def remove(self, path: bytes) -> None:
            raise asyncssh.SFTPPermissionDenied("not for you")

    write(tmp_path / "a.xml", "a")
    async with pool_of(tmp_path, Strict) as pool:
        with pytest.raises(asyncssh.SFTPPermissionDenied, match="not for you"):
            await anext(aiter(pool.remove_many(["/a.xml"])))


async def test_a_removal_whose_answer_was_lost_is_done(tmp_path: Path) -> None:
    write(tmp_path / "a.xml", "a")
    async with pool_of(tmp_path, forgetting("remove")) as pool:
        removing = pool.remove_many(["/a.xml"], retry=SOON, missing="ignore")
        assert [path async for path in removing] == ["/a.xml"]
        assert removing.progress.skipped == 0

        with pytest.raises(asyncssh.SFTPNoSuchFile):
            await anext(aiter(pool.remove_many(["/a.xml"], retry=SOON)))
    assert contents(tmp_path) == {}


# Moving.


async def test_files_are_moved_into_folders_that_are_made(sshd: Sshd) -> None:
    paths = [write(sshd.files / "in" / name, name) for name in ("a.xml", "x/b.xml", "x/y/c.xml")]
    target = f"{sshd.files}/old/2024"
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        moved = [file async for file in pool.move_many(paths, target, base=f"{sshd.files}/in", ordered=True)]

    assert moved[1] == MovedFile(paths[1], f"{target}/x/b.xml")
    assert contents(sshd.files) == {f"old/2024/{name}": name for name in ("a.xml", "x/b.xml", "x/y/c.xml")}


async def test_files_are_put_side_by_side_and_two_of_one_name_are_refused(sshd: Sshd) -> None:
    paths = [write(sshd.files / name, name) for name in ("x/a.xml", "y/a.xml")]
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        outcomes = [outcome async for outcome in pool.move_many(paths, f"{sshd.files}/old", limit=1).outcomes()]

    assert [type(outcome.error) for outcome in outcomes] == [type(None), UnsafePath]
    assert contents(sshd.files) == {"old/a.xml": "x/a.xml", "y/a.xml": "y/a.xml"}


@pytest.mark.parametrize("behaviour", [forgetting(), forgetting(base=Plain)])
async def test_what_is_there_already_is_replaced_or_skipped_or_an_error(
    tmp_path: Path, behaviour: type[Forgetful]
) -> None:
    names = ("same", "younger", "longer", "new")

    def lay_out() -> list[str]:
        write(tmp_path / "old/same", "1")
        write(tmp_path / "old/younger", "0", modified=1_700_000_001)
        write(tmp_path / "old/longer", "longer")
        for name in names:
            write(tmp_path / name, "1")
        return [f"/{name}" for name in names]

    async with pool_of(tmp_path, behaviour) as pool:
        moved = [file async for file in pool.move_many(lay_out(), "/old", ordered=True)]
        assert [file.skipped for file in moved] == [False] * 4
        assert contents(tmp_path) == {f"old/{name}": "1" for name in names}

        (tmp_path / "old/new").unlink()
        moving = pool.move_many(lay_out(), "/old", existing="skip", ordered=True)
        assert [file.skipped async for file in moving] == [True, False, False, False]
        assert moving.progress.skipped == 1
        assert contents(tmp_path) == {"same": "1"} | {f"old/{name}": "1" for name in names}

        (tmp_path / "old/new").unlink()
        outcomes = [o async for o in pool.move_many(lay_out(), "/old", existing="error", ordered=True).outcomes()]
        assert [type(outcome.error) for outcome in outcomes] == [FileExistsError] * 3 + [type(None)]
        assert "'/old/same'" in str(outcomes[0].error)
        assert contents(tmp_path)["old/longer"] == "longer"

        with pytest.raises(ValueError, match="existing must be"):
            pool.move_many([], "/old", existing="ask")  # type: ignore[arg-type]


@pytest.mark.parametrize("existing", ["overwrite", "skip", "error"])
async def test_a_file_that_is_missing_is_an_error_and_leaves_the_target_alone(tmp_path: Path, existing: str) -> None:
    write(tmp_path / "old/a.xml", "old")
    async with pool_of(tmp_path, forgetting(base=Plain)) as pool:
        moving = pool.move_many(["/a.xml", "/b.xml"], "/old", existing=existing)  # type: ignore[arg-type]
        errors = {outcome.item: outcome.error async for outcome in moving.outcomes()}

    assert isinstance(errors["/a.xml"], FileExistsError if existing == "error" else asyncssh.SFTPNoSuchFile)
    assert isinstance(errors["/b.xml"], asyncssh.SFTPNoSuchFile)
    assert contents(tmp_path) == {"old/a.xml": "old"}


@pytest.mark.parametrize("behaviour", [forgetting(), forgetting(base=Plain)])
async def test_a_file_that_is_moved_to_where_it_is_stays(tmp_path: Path, behaviour: type[Forgetful]) -> None:
    write(tmp_path / "in/a.xml", "a")
    (tmp_path / "link").symlink_to("in")
    async with pool_of(tmp_path, behaviour) as pool:
        moving = pool.move_many(["/in/a.xml"], "/in/../in/")
        assert [file.skipped async for file in moving] == [True]
        # Through a link, it is another path of the same file: its removal would be its end.
        assert [file.path async for file in pool.move_many(["/in/a.xml"], "/link")] == ["/in/a.xml"]

        with pytest.raises(FileExistsError):
            await anext(aiter(pool.move_many(["/in/a.xml"], "/in", existing="error")))

    assert contents(tmp_path / "in") == {"a.xml": "a"}


async def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "a.xml", "a")
    write(tmp_path / "old/a.xml/b.xml", "b")
    async with pool_of(tmp_path, forgetting(base=Plain)) as pool:
        with pytest.raises(asyncssh.SFTPError):
            await anext(aiter(pool.move_many(["/a.xml"], "/old")))

    assert contents(tmp_path) == {"a.xml": "a", "old/a.xml/b.xml": "b"}


async def test_a_file_that_comes_meanwhile_is_not_replaced_if_that_is_an_error(tmp_path: Path) -> None:
    class Late(FolderServer):
        def rename(self, oldpath: bytes, newpath: bytes) -> None:
            write(tmp_path / "old/a.xml", "old")
            super().rename(oldpath, newpath)

    write(tmp_path / "a.xml", "a")
    async with pool_of(tmp_path, Late) as pool:
        with pytest.raises(FileExistsError):
            await anext(aiter(pool.move_many(["/a.xml"], "/old", existing="error")))

    assert contents(tmp_path) == {"a.xml": "a", "old/a.xml": "old"}


@pytest.mark.parametrize("existing", ["overwrite", "skip", "error"])
@pytest.mark.parametrize("base", [Forgetful, Plain])
async def test_a_move_whose_answer_was_lost_is_done(tmp_path: Path, base: type[Forgetful], existing: str) -> None:
    write(tmp_path / "a.xml", "a")
    async with pool_of(tmp_path, forgetting("mkdir", "rename", "posix_rename", base=base)) as pool:
        moving = pool.move_many(["/a.xml"], "/old", existing=existing, retry=SOON)  # type: ignore[arg-type]
        assert [file async for file in moving] == [MovedFile("/a.xml", "/old/a.xml")]
        assert pool.statistics().connects == 3

    assert contents(tmp_path) == {"old/a.xml": "a"}


async def test_a_connection_that_is_lost_between_removing_and_renaming_loses_no_file(tmp_path: Path) -> None:
    write(tmp_path / "a.xml", "a")
    write(tmp_path / "old/a.xml", "old")
    async with pool_of(tmp_path, forgetting("remove", base=Plain)) as pool:
        with pytest.raises((asyncssh.SFTPConnectionLost, asyncssh.ConnectionLost)):
            await anext(aiter(pool.move_many(["/a.xml"], "/old", retry=ONCE)))
        assert contents(tmp_path) == {"a.xml": "a"}

        assert [file.path async for file in pool.move_many(["/a.xml"], "/old", retry=SOON)] == ["/a.xml"]

    assert contents(tmp_path) == {"old/a.xml": "a"}


async def test_a_cancellation_does_not_come_between_removing_and_renaming(tmp_path: Path) -> None:
    removed, go_on = asyncio.Event(), asyncio.Event()

    class Slow(FolderServer):
        def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
            raise asyncssh.SFTPOpUnsupported("no posix-rename here")

        async def remove(self, path: bytes) -> None:
            FolderServer.remove(self, path)
            removed.set()
            await go_on.wait()

    write(tmp_path / "a.xml", "a")
    write(tmp_path / "old/a.xml", "old")
    async with pool_of(tmp_path, Slow) as pool:
        moving = pool.move_many(["/a.xml"], "/old")
        waiting = asyncio.ensure_future(anext(aiter(moving)))
        await removed.wait()
        waiting.cancel()
        asyncio.get_running_loop().call_later(0.01, go_on.set)
        await moving.aclose()

    assert contents(tmp_path) == {"old/a.xml": "a"}


async def test_a_policy_that_waits_for_a_file_does_not_take_another_for_it(tmp_path: Path) -> None:
    """The status was an answer: nothing may have been done."""
    write(tmp_path / "old/a.xml", "old")
    patient = Retry(
        attempts=2, initial_seconds=0.01, is_transient=lambda error: isinstance(error, asyncssh.SFTPNoSuchFile)
    )
    async with pool_of(tmp_path, FolderServer) as pool:
        for map_ in (pool.move_many(["/a.xml"], "/old", retry=patient), pool.remove_many(["/a.xml"], retry=patient)):
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                await anext(aiter(map_))


# Folders.


async def test_folders_that_are_made_by_many_at_once_are_made_once(sshd: Sshd) -> None:
    paths = write_files(sshd.files, 100, size=10)
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        moved = [file async for file in pool.move_many(paths, f"{sshd.files}/x/y/z/")]

    assert len(moved) == len(list((sshd.files / "x/y/z").iterdir())) == 100


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    write(tmp_path / "file", "")

    class Strict(FolderServer):
        def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
            if b"secret" in path:
                raise asyncssh.SFTPPermissionDenied("not for you")
            super().mkdir(path, attrs)

    async with pool_of(tmp_path, Strict) as pool:
        for folder, culprit in (("/in/secret/x", "/in/secret"), ("/file", "/file")):
            with pytest.raises(asyncssh.SFTPError) as raised:
                await Folders(pool._operations).make(folder)
            assert raised.value.__notes__ == [f"folder {culprit!r}"]

        await Folders(pool._operations).make("new/x/y")
    assert (tmp_path / "new/x/y").is_dir()


async def test_openssh_without_posix_rename_replaces_a_file(make_sshd: Callable[..., Sshd]) -> None:
    sshd = make_sshd(options="ForceCommand internal-sftp -P posix-rename")
    path = write(sshd.files / "a.xml", "a")
    write(sshd.files / "old/a.xml", "old")
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        assert [file.path async for file in pool.move_many([path], f"{sshd.files}/old")] == [path]

    assert contents(sshd.files) == {"old/a.xml": "a"}
