# SPDX-License-Identifier: Apache-2.0
"""The pool when something goes wrong: refused logins, lost connections, missing files, cancellations."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async.core.retry import Retry
from airflow_provider_async.errors import IteratorClosed, PoolConnectError, PoolTimeout, UnsafePath
from airflow_provider_async.sftp import SFTPClientPool
from tests.servers.sftp import FolderServer, asyncssh_server, until, write_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.servers.sftp import Key, Proxy, Sshd

SOON = Retry(initial_seconds=0.01, max_seconds=0.05)


def begin_login(sshd: Sshd) -> socket.socket:
    """Connect and say nothing, as soon as the server has forgotten everybody else who did."""
    while True:
        connection = socket.create_connection(("127.0.0.1", sshd.port), timeout=10)
        if connection.recv(4) == b"SSH-":
            return connection
        connection.close()


# Logins.


async def test_a_refused_login_is_tried_once_however_many_wait(tmp_path: Path) -> None:
    async with asyncssh_server(tmp_path) as server:
        connection = dataclasses.replace(server.connection(), password="wrong")
        async with SFTPClientPool(connection=connection, pool_size=1) as pool:
            results = await asyncio.gather(*(pool.listdir("/") for _ in range(20)), return_exceptions=True)
            results.append((await asyncio.gather(pool.listdir("/"), return_exceptions=True))[0])

    assert {type(result) for result in results} == {PoolConnectError}
    causes = {type(result.__cause__) for result in results if isinstance(result, BaseException)}
    assert causes == {asyncssh.PermissionDenied}
    assert server.attempts == [("alice", "wrong")]


async def test_a_refused_host_key_is_not_tried_again(sshd: Sshd, keys: dict[str, Key]) -> None:
    async with SFTPClientPool(connection=sshd.connection(host_key=keys["stranger"].public)) as pool:
        with pytest.raises(PoolConnectError, match="does not have the key in extra host_key"):
            await pool.listdir("/")

        assert pool.statistics().connect_errors == 1


async def test_a_server_that_is_not_there_is_waited_for(sshd: Sshd) -> None:
    sshd.stop()
    async with SFTPClientPool(connection=sshd.connection(), retry=SOON) as pool:
        listing = asyncio.ensure_future(pool.listdir(str(sshd.files)))
        await until(lambda: pool.statistics().connect_errors > 1)

        sshd.start()

        assert await listing == []


async def test_a_server_that_is_not_there_is_waited_for_no_longer_than_allowed(sshd: Sshd) -> None:
    sshd.stop()
    async with SFTPClientPool(connection=sshd.connection(), retry=SOON, acquire_timeout=0.2) as pool:
        with pytest.raises(PoolTimeout, match=r"SFTPClientPool\('sftp_default'\)") as raised:
            await pool.listdir()

    assert isinstance(raised.value.__cause__, ConnectionRefusedError)


async def test_a_server_with_too_many_logins_under_way_is_tried_again(make_sshd: Callable[..., Sshd]) -> None:
    sshd = make_sshd(options="MaxStartups 1:100:1")
    with begin_login(sshd) as unfinished:
        async with SFTPClientPool(connection=sshd.connection(), retry=SOON) as pool:
            listing = asyncio.ensure_future(pool.listdir(str(sshd.files)))
            await until(lambda: pool.statistics().connect_errors > 0)

            unfinished.close()

            assert await listing == []


# Status errors.


async def test_a_missing_file_ends_the_iteration_with_its_name_and_keeps_the_connection(sshd: Sshd) -> None:
    paths = write_files(sshd.files, 5)
    async with SFTPClientPool(connection=sshd.connection(), pool_size=1) as pool:
        with pytest.raises(asyncssh.SFTPNoSuchFile) as raised:
            async for _ in pool.read_many([*paths[:2], "/gone.xml", *paths[2:]]):
                pass
        assert any("'/gone.xml'" in note for note in raised.value.__notes__)

        assert len([file async for file in pool.read_many(paths)]) == 5

        assert pool.statistics().connects == 1
    assert sshd.logins == 1


async def test_a_file_that_vanishes_after_the_listing_is_one_outcome_of_many(sshd: Sshd) -> None:
    write_files(sshd.files, 5)
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        paths = await pool.glob(f"{sshd.files}/*.xml")
        (sshd.files / "00003.xml").unlink()

        outcomes = [outcome async for outcome in pool.read_many(paths).outcomes()]

    assert {outcome.item: type(outcome.error) for outcome in outcomes if outcome.error} == {
        paths[3]: asyncssh.SFTPNoSuchFile
    }
    assert len([outcome for outcome in outcomes if outcome.value]) == 4


async def test_one_file_that_must_not_be_read_is_one_outcome_of_many(tmp_path: Path) -> None:
    class Strict(FolderServer):
        def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
            if path.endswith(b"00001.xml"):
                raise asyncssh.SFTPPermissionDenied("not for you")
            return super().open(path, pflags, attrs)

    write_files(tmp_path, 4)
    async with asyncssh_server(tmp_path, Strict) as server, SFTPClientPool(connection=server.connection()) as pool:
        outcomes = [outcome async for outcome in pool.read_many(await pool.glob("/*.xml")).outcomes()]
        connects = pool.statistics().connects

    assert {outcome.item: str(outcome.error) for outcome in outcomes if outcome.error} == {"/00001.xml": "not for you"}
    assert len(outcomes) == 4
    assert server.sessions == connects


async def test_a_status_error_is_tried_again_if_the_policy_says_so(sshd: Sshd) -> None:
    path = sshd.files / "late.xml"
    seen = []

    def appears(error: BaseException) -> bool:
        seen.append(error)
        path.write_bytes(b"<late/>")
        return isinstance(error, asyncssh.SFTPNoSuchFile)

    retry = Retry(initial_seconds=0.01, is_transient=appears)
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        assert [file.data async for file in pool.read_many([str(path)], retry=retry)] == [b"<late/>"]

    assert seen


# Lost connections.


async def test_a_server_that_restarts_between_leases_is_not_noticed(sshd: Sshd) -> None:
    async with SFTPClientPool(connection=sshd.connection(), pool_size=2) as pool:
        async with pool._pool.lease() as session:
            await session.client.stat(str(sshd.files))
        sshd.stop()
        sshd.start()
        await until(lambda: not session.is_usable())

        async with pool.get_sftp_client() as client:
            await client.stat(str(sshd.files))

    assert sshd.logins == 2


async def test_a_connection_that_is_cut_while_files_are_read_is_made_up_for(sshd: Sshd, proxy: Proxy) -> None:
    paths = write_files(sshd.files, 100, size=60_001)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        proxy.cut_after(down=2_000_000)
        files = {file.path: len(file.data) async for file in pool.read_many(paths, retry=SOON)}
        connects = pool.statistics().connects

    assert files == dict.fromkeys(paths, 60_001)
    assert proxy.cuts == 1
    assert connects > 1


async def test_a_connection_that_is_cut_while_a_folder_is_listed_is_made_up_for(sshd: Sshd, proxy: Proxy) -> None:
    write_files(sshd.files, 1000, size=0)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), retry=SOON) as pool:
        await pool.listdir("/")
        proxy.cut_after(down=20_000)

        assert len(await pool.listdir(str(sshd.files))) == 1000


async def test_a_lost_connection_is_an_error_of_its_own_for_each_file(sshd: Sshd, proxy: Proxy) -> None:
    paths = write_files(sshd.files, 20, size=200_001)
    once = Retry(attempts=1)
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), pool_size=1, retry=SOON) as pool:
        await pool.listdir("/")
        proxy.cut_after(down=300_000)
        outcomes = [outcome async for outcome in pool.read_many(paths, retry=once).outcomes()]

    errors = [outcome.error for outcome in outcomes if outcome.error]
    assert len(errors) > 1
    assert {type(error) for error in errors} == {asyncssh.SFTPConnectionLost}
    assert len({id(error) for error in errors}) == len(errors)
    assert all(len(error.__notes__) == 1 for error in errors)
    assert len([outcome for outcome in outcomes if outcome.value]) + len(errors) == 20


async def test_a_connection_that_is_lost_in_a_lease_is_replaced(sshd: Sshd, proxy: Proxy) -> None:
    async with SFTPClientPool(connection=sshd.connection(port=proxy.port), pool_size=1) as pool:
        async with pool.get_sftp_client() as client:
            proxy.cut()
            with pytest.raises((asyncssh.Error, OSError)):
                await client.stat("/")
        async with pool.get_sftp_client() as client:
            await client.stat("/")

        assert pool.statistics().connects == 2


async def test_an_error_of_the_callers_own_keeps_the_connection(sshd: Sshd) -> None:
    async with SFTPClientPool(connection=sshd.connection(), pool_size=1) as pool:
        for error in (ValueError("mine"), ConnectionResetError("my database's")):
            with pytest.raises(type(error)):
                async with pool.get_sftp_client():
                    raise error
        await pool.listdir("/")

        assert pool.statistics().connects == 1


# Cancellation.


@pytest.fixture
async def stalling(tmp_path: Path) -> AsyncIterator[tuple[SFTPClientPool, asyncio.Event, asyncio.Event]]:
    """A pool on one connection, an event set when /slow.xml is being read, and one that lets it go on."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    class Stalling(FolderServer):
        async def read(self, file_obj: object, offset: int, size: int) -> bytes:
            data = super().read(file_obj, offset, size)
            assert isinstance(data, bytes)
            if data == b"<slow/>":
                asked.set()
                await go_on.wait()
            return data

    write_files(tmp_path, 10)
    (tmp_path / "slow.xml").write_bytes(b"<slow/>")
    async with (
        asyncssh_server(tmp_path, Stalling) as server,
        SFTPClientPool(connection=server.connection(), pool_size=1, close_timeout=0.2) as pool,
    ):
        yield pool, asked, go_on
        go_on.set()


async def test_cancelling_one_read_harms_no_other(
    stalling: tuple[SFTPClientPool, asyncio.Event, asyncio.Event],
) -> None:
    pool, asked, go_on = stalling

    async def read(*paths: str) -> list[bytes]:
        return [file.data.strip() async for file in pool.read_many(paths, ordered=True)]

    slow = asyncio.ensure_future(read("/slow.xml"))
    await asked.wait()
    # The server answers in order, so these wait behind the slow one, on the same session.
    others = asyncio.ensure_future(read("/00000.xml", "/00001.xml", "/00002.xml"))
    await until(lambda: pool.statistics().leased == 4)

    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert pool.statistics().leased == 3
    go_on.set()

    assert await others == [b"<row>0</row>", b"<row>1</row>", b"<row>2</row>"]
    assert pool.statistics().connects == 1


async def test_a_session_with_many_cancelled_leases_is_replaced(sshd: Sshd) -> None:
    async def cancelled(pool: SFTPClientPool) -> None:
        async with pool.get_sftp_client():
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)

    async with SFTPClientPool(connection=sshd.connection(), pool_size=1) as pool:
        await pool.listdir("/")
        await asyncio.gather(*(cancelled(pool) for _ in range(100)), return_exceptions=True)
        await pool.listdir("/")

        assert pool.statistics().connects == 2


async def test_leaving_early_leaves_nothing_behind(sshd: Sshd) -> None:
    paths = write_files(sshd.files, 100)
    async with SFTPClientPool(connection=sshd.connection()) as pool:
        async with pool.read_many(paths) as files:
            async for _ in files:
                break

        assert pool.statistics().leased == 0


async def test_closing_the_pool_ends_its_iterators(
    stalling: tuple[SFTPClientPool, asyncio.Event, asyncio.Event],
) -> None:
    pool, asked, _ = stalling
    reading = asyncio.ensure_future(anext(aiter(pool.read_many(["/slow.xml"]))))
    await asked.wait()

    await pool.close()

    with pytest.raises(IteratorClosed):
        await reading
    assert pool.statistics().open == 0


# Names that no honest server sends.


def lists(*names: bytes) -> type[FolderServer]:
    class Evil(FolderServer):
        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            for name in (b".", b"..", *names):
                yield asyncssh.SFTPName(name, attrs=asyncssh.SFTPAttrs(permissions=0o100644))

    return Evil


@pytest.mark.parametrize("name", [b"../passwd", b"/etc/passwd", b"a/b", b"", b"a\0b"])
async def test_a_listing_with_a_name_that_is_none_is_refused(tmp_path: Path, name: bytes) -> None:
    evil = lists(b"fine", name)
    async with asyncssh_server(tmp_path, evil) as server, SFTPClientPool(connection=server.connection()) as pool:
        with pytest.raises(UnsafePath, match="cannot be the name of a file"):
            await pool.listdir("/")
        with pytest.raises(UnsafePath):
            await pool.glob("/*")
        with pytest.raises(UnsafePath):
            async for _ in pool.walk("/"):
                pass


async def test_names_that_only_look_odd_are_names(tmp_path: Path) -> None:
    odd = [b"..x", b"-rf", b"\\..\\x", b"~", b" ", b"new\nline"]
    async with asyncssh_server(tmp_path, lists(*odd)) as server, SFTPClientPool(connection=server.connection()) as pool:
        assert await pool.listdir("/") == sorted(name.decode() for name in odd)


async def test_a_server_that_does_not_tell_what_a_name_is_is_asked(tmp_path: Path) -> None:
    class Silent(FolderServer):
        async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
            async for found in super().scandir(path):
                yield asyncssh.SFTPName(found.filename, attrs=asyncssh.SFTPAttrs())

    (tmp_path / "folder").mkdir()
    write_files(tmp_path / "folder", 2)
    async with asyncssh_server(tmp_path, Silent) as server, SFTPClientPool(connection=server.connection()) as pool:
        assert [entry.path async for entry in pool.walk("/")] == ["/folder/00000.xml", "/folder/00001.xml"]


async def test_a_server_that_sends_less_than_it_is_asked_for_is_asked_again(tmp_path: Path) -> None:
    class Thrifty(FolderServer):
        async def read(self, file_obj: object, offset: int, size: int) -> bytes:
            data = super().read(file_obj, offset, min(size, 4096))
            assert isinstance(data, bytes)
            return data

    write_files(tmp_path, 3, size=10_000)
    async with asyncssh_server(tmp_path, Thrifty) as server, SFTPClientPool(connection=server.connection()) as pool:
        assert [len(file.data) async for file in pool.read_many(await pool.glob("/*.xml"))] == [10_000] * 3
