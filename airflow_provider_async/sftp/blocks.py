# SPDX-License-Identifier: Apache-2.0
"""
Large files, in blocks.

Each block on its way is one lease of the pool. So the blocks of one file spread over connections by themselves, one
file starves no other, and memory stays within the pool's limit, however many files and however large.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable
    from types import TracebackType

    import asyncssh

    from airflow_provider_async.sftp.operations import Operations
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["MAX_BLOCK_BYTES", "WINDOW_BYTES", "BlockFile"]

#: No request carries more, whatever the server allows.
MAX_BLOCK_BYTES = 256 * 1024

#: What is on its way for one file at most, as far as the pool's limit allows: enough for 400 MiB/s at 40 ms. What was
#: written of a file has no holes but in its last ``WINDOW_BYTES``.
WINDOW_BYTES = 16 * 1024 * 1024

#: Less is on its way where the server is near: what waits anywhere has left the processor's caches when its turn comes.
_LEAST_WINDOW_BYTES = 1024 * 1024
_WINDOW_BYTES_A_SECOND = 1600 * 1024 * 1024


class BlockFile:
    """
    One remote file that is read or written in blocks, over whatever sessions have room: ``async with BlockFile(...)``.

    It is opened on each session where a block of it is asked for. When a connection is lost, its blocks are asked for
    again over another.

    :param operations: of the open pool.
    :param path: the file's path.
    :param mode: as for Python's own ``open``; with ``r+b`` the file must exist and keeps its contents.
    """

    def __init__(self, operations: Operations, path: str, mode: Literal["rb", "r+b"]) -> None:
        self._operations = operations
        self._path = path
        self._mode = mode
        self._opened: dict[SFTPSession, asyncio.Task[asyncssh.SFTPClientFile]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._mode == "rb" or exc is not None:
            for session, opening in self._opened.items():
                _close_when_open(session, opening)
        else:
            await self._close_written()

    async def stat(self) -> asyncssh.SFTPAttrs:
        """
        Return the attributes of the open file.

        :raises asyncssh.SFTPError: if the file is missing or must not be opened.
        """

        async def stat(session: SFTPSession) -> asyncssh.SFTPAttrs:
            file = await self._file(session)
            return await session.answer(file.stat(), f"tell the size of {self._path!r}")

        return await self._operations.retried(stat)

    async def blocks(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """
        Read a part of the file, several blocks at once, and yield them in order.

        A block that is shorter than asked for is the last one: the file ends there.

        :param start: the first byte's offset.
        :param end: the offset behind the last byte.
        """
        reading: deque[asyncio.Task[bytes]] = deque()
        slots = self._operations.blocks
        size, window = await self._plan()
        try:
            while start < end or reading:
                # Behind a block that others leave no room for, those that are here already must not wait.
                while start < end and len(reading) < window and not (reading and slots.locked()):
                    await slots.acquire()
                    length = min(size, end - start)
                    reading.append(asyncio.get_running_loop().create_task(self._read(start, length)))
                    start += length
                yield await reading[0]
                reading.popleft()
                slots.release()
        finally:
            await _cancel(reading, slots)

    async def write_blocks(
        self, start: int, source: AsyncIterable[bytes], on_written: Callable[[int], object] = lambda _: None
    ) -> int:
        """
        Write blocks one behind the other, several at once.

        :param start: where the first byte goes.
        :param source: the blocks, of :meth:`block_bytes` at most.
        :param on_written: told the size of each block that the server has.
        :return: the offset behind the last byte.
        """
        writing: deque[asyncio.Task[int]] = deque()
        slots = self._operations.blocks
        _, window = await self._plan()

        async def finish_first() -> None:
            on_written(await writing[0])
            writing.popleft()
            slots.release()

        try:
            async for block in source:
                while len(writing) >= window or (writing and slots.locked()):
                    await finish_first()
                await slots.acquire()
                writing.append(asyncio.get_running_loop().create_task(self._write(start, block)))
                start += len(block)
            while writing:
                await finish_first()
        finally:
            await _cancel(writing, slots)
        return start

    async def block_bytes(self) -> int:
        """Return how much one request may carry, as far as the server tells."""
        return (await self._plan())[0]

    async def _plan(self) -> tuple[int, int]:
        """Return the bytes of a block, and how many blocks are to be on their way."""

        async def ask(session: SFTPSession) -> tuple[int, int]:
            limits = session.client.limits
            size = min(limits.max_read_len if self._mode == "rb" else limits.max_write_len, MAX_BLOCK_BYTES)
            on_the_way = int(session.round_trip_seconds * _WINDOW_BYTES_A_SECOND)
            return size, min(max(on_the_way, _LEAST_WINDOW_BYTES), WINDOW_BYTES) // size

        return await self._operations.retried(ask)

    async def _read(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        while length:
            part = await self._operations.retried(partial(self._read_once, offset=offset, length=length))
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _read_once(self, session: SFTPSession, *, offset: int, length: int) -> bytes:
        file = await self._file(session)
        data: bytes = await session.answer(file.read(length, offset), f"read {self._path!r}")
        return data

    async def _write(self, offset: int, block: bytes) -> int:
        async def write(session: SFTPSession) -> int:
            file = await self._file(session)
            return await session.answer(file.write(block, offset), f"write {self._path!r}")

        return await self._operations.retried(write)

    async def _file(self, session: SFTPSession) -> asyncssh.SFTPClientFile:
        opening = self._opened.get(session)
        if opening is None:
            opening = asyncio.get_running_loop().create_task(session.open(self._path, self._mode))
            self._opened[session] = opening
        try:
            # Others wait for it too: who is cancelled leaves it alone.
            return await asyncio.shield(opening)
        except Exception:
            if self._opened.get(session) is opening:
                del self._opened[session]
            raise

    async def _close_written(self) -> None:
        closings = [session.close_file(await opening) for session, opening in self._opened.items()]
        results = await asyncio.gather(*closings, return_exceptions=True)
        for session, error in zip(self._opened, results, strict=True):
            # What was written over a connection that is gone has been acknowledged, or written again.
            if isinstance(error, BaseException) and not session.connection.is_closed():
                raise error


def _close_when_open(session: SFTPSession, opening: asyncio.Task[asyncssh.SFTPClientFile]) -> None:
    def close(opened: asyncio.Task[asyncssh.SFTPClientFile]) -> None:
        if not opened.cancelled() and opened.exception() is None:
            session.close_later(opened.result())

    opening.add_done_callback(close)


async def _cancel(tasks: deque[asyncio.Task[bytes]] | deque[asyncio.Task[int]], slots: asyncio.Semaphore) -> None:
    """Cancel the blocks that nobody waits for any more, and give back their slots when they have ended."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.gather(*tasks, return_exceptions=True)
    for _ in tasks:
        slots.release()
