# SPDX-License-Identifier: Apache-2.0
"""What a task's log shows of stacks and errors: the user's frames, not those of asyncio and of this runtime."""

from __future__ import annotations

import asyncio
import concurrent.futures
import selectors
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_HERE = Path(__file__).parent
_MACHINERY = (
    f"{Path(asyncio.__file__).parent}/",
    f"{Path(concurrent.futures.__file__).parent}/",
    selectors.__file__,
    f"{_HERE}/",
    str(_HERE.parent / "operators.py"),
)
_RUNNER = str(_HERE / "runner.py")
_DEBUGGERS = frozenset({"bdb", "pdb", "pydevd", "_pydevd_bundle"})


def _is_machinery(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_MACHINERY)


def trim(error: BaseException) -> None:
    """
    Take the frames of asyncio and of this runtime out of an error's traceback.

    The same is done to its causes, its contexts and, if it is a group, to its parts. A traceback that
    has no other frames keeps the innermost one.

    :param error: the error; changed in place
    """
    for each in _related(error):
        each.__traceback__ = _trimmed(each.__traceback__)


def _related(error: BaseException) -> Iterator[BaseException]:
    """Walk over an error, its causes, its contexts, and the parts of all those that are groups."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        current = todo.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        todo += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            todo += current.exceptions


def _trimmed(start: TracebackType | None) -> TracebackType | None:
    entries = list(_entries(start))
    trimmed: TracebackType | None = None
    for entry in reversed([e for e in entries if not _is_machinery(e.tb_frame)] or entries[-1:]):
        # New links: the old ones may be shared with another error's traceback.
        trimmed = TracebackType(trimmed, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return trimmed


def _entries(entry: TracebackType | None) -> Iterator[TracebackType]:
    while entry is not None:
        yield entry
        entry = entry.tb_next


def hidden_text(error: BaseException) -> str | None:
    """
    Format an error of which Airflow's log view would not show everything.

    The view of Airflow 3.0 to 3.3 shows neither the parts of a group nor notes.

    :param error: the error
    :return: its traceback as text, with all parts and notes, or None if the view shows it all
    """
    if not any(isinstance(each, BaseExceptionGroup) or getattr(each, "__notes__", None) for each in _related(error)):
        return None
    lines = traceback.TracebackException.from_exception(error, max_group_width=sys.maxsize).format()
    return "".join(lines).rstrip()


_IMPORT = "<frozen importlib._bootstrap>"


def format_blocking_stack(frame: FrameType | None) -> str | None:
    """
    Format where a thread stands that runs an event loop.

    :param frame: the thread's innermost frame
    :return: its stack inwards of the event loop, or None if the loop itself stands there, a debugger holds it, or it
        imports a module, which is done once
    """
    stack: list[tuple[FrameType, int]] = []
    while frame is not None and not _runs_loop(frame):
        if str(frame.f_globals.get("__name__")).partition(".")[0] in _DEBUGGERS:
            return None
        if frame.f_code.co_filename == _IMPORT:
            return None
        if not _is_machinery(frame):
            stack.append((frame, frame.f_lineno))
        frame = frame.f_back
    if frame is None or not stack:
        return None
    return "".join(traceback.StackSummary.extract(reversed(stack)).format()).rstrip()


def _runs_loop(frame: FrameType) -> bool:
    # uvloop has no frames of its own: there it is the runner's.
    return frame.f_code.co_filename.startswith(_MACHINERY[0]) or frame.f_code.co_filename == _RUNNER


def where(task: asyncio.Future[Any]) -> str:
    """
    Say where a task waits.

    :param task: the task
    :return: ``file:line in function`` of the innermost coroutine that is not asyncio's
    """
    awaited: object = task.get_coro() if isinstance(task, asyncio.Task) else None
    frames: list[FrameType] = []
    while awaited is not None:
        kind = next((k for k in ("cr", "gi", "ag") if hasattr(awaited, f"{k}_frame")), None)
        frame = getattr(awaited, f"{kind}_frame", None)
        if frame is None:
            break
        frames.append(frame)
        awaited = getattr(awaited, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")
    return _innermost(frames)


def where_thread(ident: int | None) -> str | None:
    """
    Say where a thread stands.

    :param ident: the thread's identifier
    :return: ``file:line in function`` of the innermost frame, or None if it is gone or an executor's idle one
    """
    frame = sys._current_frames().get(ident or 0)  # noqa: SLF001 - documented, and there is no other way
    if frame is None or (_is_machinery(frame) and frame.f_code.co_name == "_worker"):
        return None
    return _place(frame)


def _innermost(frames: list[FrameType]) -> str:
    users = [frame for frame in frames if not _is_machinery(frame)] or frames
    return _place(users[-1]) if users else "an unknown place"


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
