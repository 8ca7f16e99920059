# SPDX-License-Identifier: Apache-2.0
"""One session: what is done in its background, and what must not be left half done."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
from typing import TYPE_CHECKING

import asyncssh
import pytest

from airflow_provider_async.sftp import SFTPClientPool, session
from airflow_provider_async.sftp.session import settle
from tests.servers.sftp import FolderServer, asyncssh_server, until, write_files

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_file_that_cannot_be_closed_in_the_background_is_logged(
    remote: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Stubborn(FolderServer):
        def close(self, file_obj: object) -> None:
            super().close(file_obj)
            raise asyncssh.SFTPFailure("the disk says no")

    def warnings() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    write_files(remote, 3)
    async with asyncssh_server(remote, Stubborn) as server, SFTPClientPool(connection=server.connection()) as pool:
        assert len([file async for file in pool.read_many(["00000.xml", "00001.xml", "00002.xml"])]) == 3
        await until(lambda: len(warnings()) == 3)

    assert warnings() == ["sftp_test: a file could not be closed: the disk says no"] * 3


def test_what_files_are_opened_with_says_nothing_of_them() -> None:
    attributes, usual = session._NO_ATTRIBUTES, asyncssh.SFTPAttrs()

    assert str(attributes) == ""
    assert attributes.encode(3) == usual.encode(3)
    names = [name for name, value in inspect.getmembers(usual) if name[0] != "_" and not callable(value)]
    assert "size" in names
    assert [getattr(attributes, name) for name in names] == [getattr(usual, name) for name in names]


# What must not be left half done.


class Work:
    """Ends when it is told to."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        self.ended = False
        self._error = error

    async def __call__(self) -> int:
        self.began.set()
        await self.may_end.wait()
        self.ended = True
        if self._error is not None:
            raise self._error
        return 17


async def test_what_is_settled_gives_its_result_or_its_error() -> None:
    work = Work()
    work.may_end.set()
    assert await settle(work()) == 17

    work = Work(error=KeyError("x"))
    work.may_end.set()
    with pytest.raises(KeyError, match="x"):
        await settle(work())


@pytest.mark.parametrize("error", [None, KeyError("nobody looks at it")])
async def test_a_cancellation_waits_for_what_is_being_settled(error: Exception | None) -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
    work = Work(error=error)
    settling = asyncio.create_task(settle(work()))
    await work.began.wait()

    settling.cancel()
    await asyncio.sleep(0)
    assert not settling.done()
    work.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await settling

    assert work.ended
    del settling
    gc.collect()
    assert reported == []


async def test_a_cancellation_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
    monkeypatch.setattr(session, "SETTLE_SECONDS", 0)
    work = Work(error=KeyError("nobody looks at it"))
    settling = asyncio.create_task(settle(work()))
    await work.began.wait()

    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    assert work.ended is False

    # It goes on by itself.
    work.may_end.set()
    await until(lambda: work.ended)
    gc.collect()
    assert reported == []
