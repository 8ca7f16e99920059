# SPDX-License-Identifier: Apache-2.0
"""How one file on this side becomes a remote file."""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
from collections.abc import AsyncIterable, Collection
from contextlib import aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import asyncssh

from airflow_provider_async.errors import PoolError, VerificationFailed
from airflow_provider_async.sftp.blocks import MAX_BLOCK_BYTES, WINDOW_BYTES, BlockFile
from airflow_provider_async.sftp.changes import rename, replace
from airflow_provider_async.sftp.files import TargetNames, TransferredFile, version_key
from airflow_provider_async.sftp.folders import Folders
from airflow_provider_async.sftp.local import State, already_exists, check_options, is_same
from airflow_provider_async.sftp.object_storage import is_storage, open_source
from airflow_provider_async.sftp.parts import LARGE_BYTES, digest_of, is_hopeless, part_name, temporary_name
from airflow_provider_async.sftp.session import SETTLE_SECONDS, is_lost, settle
from airflow_provider_async.sftp.verify import check_sha256

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import PurePath

    from airflow_provider_async.core.keys import Key
    from airflow_provider_async.core.progress import Tally
    from airflow_provider_async.sftp.local import Existing, LocalPath, Source, Verify
    from airflow_provider_async.sftp.operations import Operations
    from airflow_provider_async.sftp.session import SFTPSession

__all__ = ["Upload"]

#: What an upload left behind on a connection that was lost is removed over another within this time, or stays.
_DISCARD_SECONDS = 5.0

#: How servers say that they don't let one set the time of a file: not worth an upload.
_REFUSALS = (asyncssh.SFTPOpUnsupported, asyncssh.SFTPPermissionDenied, asyncssh.SFTPFailure)


class _Seen(NamedTuple):
    """A file on this side as it was a moment ago; without a state if there was none to be had."""

    path: LocalPath
    source: Source | None = None
    state: State | None = None


class Upload:
    """
    The uploads of one call into one remote folder.

    A file appears there when it is complete, with the time of modification that it has here, if the server allows that.
    A large one that fails leaves a hidden part beside its final name, and the next attempt, be it in another process,
    goes on from there if the file is still the same.

    :param operations: of the open pool; they are retried.
    :param remote_dir: the remote folder; made if it is missing.
    :param base: the folder on this side whose structure is kept; ``None`` for bare names.
    :param existing: what happens to a file that is there: ``overwrite``; ``skip`` it if it has the same size and the
        same time to the second, and overwrite it otherwise; or ``error``.
    :param verify: ``size``, or ``checksum`` to have the server compute SHA-256 as well, if it runs commands.
    :param tally: counts bytes, and files that were skipped.
    """

    def __init__(
        self,
        operations: Operations,
        remote_dir: str,
        *,
        base: PurePath | None,
        existing: Existing,
        verify: Verify,
        tally: Tally,
    ) -> None:
        check_options(existing, verify)
        self._operations = operations
        self._folder = remote_dir
        self._names = TargetNames(base)
        self._existing = existing
        self._verify = verify
        self._tally = tally
        self._folders = Folders(operations)
        # What was looked at last, for its key, so that it is not looked at again for its upload, which follows.
        self._seen: _Seen | None = None

    def key(self, path: LocalPath) -> Key:
        """Return what ``resume`` goes by: the file as it is now."""
        seen = self._seen
        if seen is None or seen.path is not path:
            seen = self._seen = _look(path)
        if seen.source is None or seen.state is None:
            # Not left out, because of its other key: the upload is going to say why.
            return ("unreadable", str(path))
        key = version_key(str(seen.source.local_path), seen.state.size, seen.state.modified)
        return self._names.claim(seen.source.path, key)

    def look_ahead(
        self, paths: Iterable[LocalPath] | AsyncIterable[LocalPath]
    ) -> Iterable[LocalPath] | AsyncIterable[LocalPath]:
        """Return the same paths, in an iterator that has looked at the objects among them: :meth:`key` can't wait."""
        if isinstance(paths, Collection) and not any(map(is_storage, paths)):
            return paths
        return self._look_at_each(paths)

    async def _look_at_each(self, paths: Iterable[LocalPath] | AsyncIterable[LocalPath]) -> AsyncIterator[LocalPath]:
        source = aiter(paths) if isinstance(paths, AsyncIterable) else _each(paths)
        try:
            async for path in source:
                if is_storage(path):
                    self._seen = await asyncio.to_thread(_look, path)
                yield path
        finally:
            if (close := getattr(source, "aclose", None)) is not None:
                await close()

    async def __call__(self, path: LocalPath) -> TransferredFile:
        """
        Upload one file.

        :raises asyncssh.SFTPError: if the remote file must not be written, or the connection is lost.
        :raises OSError: if the file here cannot be read, or the remote one exists and must not.
        :raises FileChanged: if the file was changed while it was read.
        :raises VerificationFailed: if what arrived differs from it, or could not be compared.
        :raises UnsafePath: if the file would be outside of the remote folder, or replace another one's.
        """
        seen, self._seen = self._seen, None
        if seen is None or seen.path is not path or seen.source is None or seen.state is None:
            source = open_source(path)
            state = await source.state()
        else:
            source, state = seen.source, seen.state
        target = posixpath.join(self._folder, self._names.name(source.path))
        if self._existing != "overwrite":
            found = await self._operations.retried(partial(_find, path=target))
            if found is not None and self._existing == "error":
                raise already_exists(target)
            if found is not None and is_same(state, found):
                self._tally.skipped += 1
                return TransferredFile(target, source.local_path, found.size, skipped=True)
        await self._folders.make(posixpath.dirname(target))
        if state.size <= MAX_BLOCK_BYTES:
            await self._send_small(await source.read(state), state, target)
            self._tally.bytes += state.size
        else:
            await self._send_large(source, state, target)
        return TransferredFile(target, source.local_path, state.size)

    async def _send_small(self, data: bytes, state: State, target: str) -> None:
        # All attempts share a temporary name: what one of them could not remove is overwritten by the next.
        temporary = posixpath.join(posixpath.dirname(target), temporary_name())
        checksum = hashlib.sha256(data).hexdigest() if self._verify == "checksum" else None
        final = _FinalName(temporary, target, state, replace=self._existing != "error")

        async def attempt(session: SFTPSession) -> None:
            if await final.is_taken(session):
                return
            try:
                await _write_small(session, temporary, data, state.modified)
                if checksum is not None:
                    await check_sha256(session, temporary, state.size, checksum)
                await final.take(session)
            except BaseException as error:
                if not is_lost(error):
                    # On the same session, where it comes after an opening that nobody waits for any more.
                    await settle(_remove(session, path=temporary))
                raise

        try:
            await self._operations.retried(attempt)
        except Exception as error:
            if is_lost(error):
                await self._discard(temporary)
            raise

    async def _send_large(self, source: Source, state: State, target: str) -> None:
        stays = state.size > LARGE_BYTES
        name = temporary_name()
        if stays:
            digest = digest_of(source.local_path, state.size, state.modified, state.version)
            name = part_name(posixpath.basename(target), digest)
        part = posixpath.join(posixpath.dirname(target), name)
        final = _FinalName(part, target, state, replace=self._existing != "error")
        try:
            start = await self._operations.retried(partial(_begin, part=part, size=state.size, goes_on=stays))
            async with (
                BlockFile(self._operations, part, "r+b") as file,
                aclosing(source.blocks(start, state, await file.block_bytes())) as blocks,
            ):
                await file.write_blocks(start, blocks, self._count)
            checksum = await source.sha256() if self._verify == "checksum" else None

            async def finish(session: SFTPSession) -> None:
                if await final.is_taken(session):
                    return
                await _check_size(session, part, state.size)
                if checksum is not None:
                    await check_sha256(session, part, state.size, checksum)
                if state.modified is not None:
                    with suppress(*_REFUSALS):
                        await session.answer(
                            session.client.utime(part, (state.modified,) * 2), f"set the time of {part!r}"
                        )
                await final.take(session)

            await self._operations.retried(finish)
        except BaseException as error:
            if not stays or is_hopeless(error):
                await self._discard(part)
            raise

    def _count(self, written_bytes: int) -> None:
        self._tally.bytes += written_bytes

    async def _discard(self, path: str) -> None:
        with suppress(PoolError, asyncssh.Error, OSError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                await settle(self._operations.run(partial(_remove, path=path)))


def _look(path: LocalPath) -> _Seen:
    try:
        source = open_source(path)
        return _Seen(path, source, source.look())
    except Exception:  # noqa: BLE001 - the upload is going to raise it
        return _Seen(path)


async def _each(paths: Iterable[LocalPath]) -> AsyncIterator[LocalPath]:
    for path in paths:
        yield path


class _FinalName:
    """
    Gives a remote file that is complete its final name, once.

    :param path: where it is.
    :param target: where it goes.
    :param state: what it is.
    :param replace: whether another file may be there.
    """

    def __init__(self, path: str, target: str, state: State, *, replace: bool) -> None:
        self._path = path
        self._target = target
        self._state = state
        self._replace = replace
        self._was_asked = False

    async def is_taken(self, session: SFTPSession) -> bool:
        """Tell whether an earlier attempt has succeeded, whose connection was lost before the answer came."""
        if not self._was_asked or await _find(session, path=self._path) is not None:
            return False
        found = await _find(session, path=self._target)
        return found is not None and found.size == self._state.size

    async def take(self, session: SFTPSession) -> None:
        """
        Rename the file.

        :raises FileExistsError: if there is another one which must not be replaced.
        :raises asyncssh.SFTPError: if the server refuses.
        """
        self._was_asked = True
        if self._replace:
            await replace(session, self._path, self._target)
        else:
            await rename(session, self._path, self._target)


async def _write_small(session: SFTPSession, path: str, data: bytes, modified: float | None) -> None:
    """
    Write a whole file.

    All requests but the opening are sent together: a server must keep the order of those for the same file
    (draft-ietf-secsh-filexfer-02, section 6.1).
    """
    file = await session.open(path, "wb")
    loop = asyncio.get_running_loop()
    length = min(session.client.limits.max_write_len, MAX_BLOCK_BYTES)
    sent: list[asyncio.Task[int] | asyncio.Task[None]] = [
        loop.create_task(file.write(data[at : at + length], at)) for at in range(0, len(data), length)
    ]
    if modified is not None:
        sent.append(loop.create_task(_set_time(file, modified)))
    # Some servers tell only now that a disk is full. What is closed twice could be another file by then.
    sent.append(loop.create_task(session.close_file(file)))
    results = await settle(session.answer(asyncio.gather(*sent, return_exceptions=True), f"write {path!r}"))
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def _set_time(file: asyncssh.SFTPClientFile, modified: float) -> None:
    with suppress(*_REFUSALS):
        await file.utime((modified, modified))


async def _begin(session: SFTPSession, *, part: str, size: int, goes_on: bool) -> int:
    """
    Make sure that there is a part.

    :param size: of the source; a longer part is emptied.
    :param goes_on: whether an earlier attempt may have left one.
    :return: where to go on: before what may have holes.
    """
    there = await _find(session, path=part) if goes_on else None
    if there is None:
        # Another attempt that begins at this moment must not be emptied.
        file = await session.open(part, "xb" if goes_on else "wb")
        session.close_later(file)
        return 0
    if there.size > size:
        await session.answer(session.client.truncate(part, 0), f"empty {part!r}")
        return 0
    return max(0, there.size - WINDOW_BYTES)


async def _find(session: SFTPSession, *, path: str) -> State | None:
    try:
        attributes = await session.answer(session.client.stat(path), f"tell the size of {path!r}")
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        return None
    return State(-1 if attributes.size is None else attributes.size, attributes.mtime)


async def _check_size(session: SFTPSession, path: str, size: int) -> None:
    found = await _find(session, path=path)
    if found is None or found.size != size:
        raise VerificationFailed(f"{path!r} does not have the {size} bytes that were sent")


async def _remove(session: SFTPSession, *, path: str) -> None:
    """Remove a file if that can be done soon; its failure is no news after what led here."""
    with suppress(asyncssh.Error, OSError):
        async with asyncio.timeout(SETTLE_SECONDS):
            await session.client.remove(path)
