# SPDX-License-Identifier: Apache-2.0
"""Where the checkpoints and the cursors of a task are kept: under a path, in its state store, or in Variables."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from airflow_provider_async.core.stores import FileStore, ThreadedStore
from airflow_provider_async.runtime import compat

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CURSOR_PREFIX",
    "KEY_PREFIX",
    "PathStore",
    "StateStore",
    "TaskInstanceName",
    "TaskName",
    "VariableStore",
    "find_cursor_store",
    "find_store",
]

#: What all keys of checkpoints begin with, in the state store and of Variables.
KEY_PREFIX = "async_checkpoint."

#: What the keys of cursors begin with: they stay when a run is over, and no command removes them.
CURSOR_PREFIX = "async_cursor."

#: A folder below the path. No DAG's folder has a dot in its name.
_CURSOR_FOLDER = ".cursors"

#: File systems allow 255 bytes.
_SEGMENT_LENGTH = 200


class TaskInstanceName(NamedTuple):
    """What tells a task instance from others, whatever its try."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int

    def segments(self) -> list[str]:
        """Return its parts, each of which is one segment of a path in any file system."""
        return [_segment(str(part)) for part in self]


class TaskName(NamedTuple):
    """What tells a task from others, whatever its run."""

    dag_id: str
    task_id: str
    map_index: int

    def segments(self) -> list[str]:
        """Return its parts, each of which is one segment of a path in any file system."""
        return [_segment(str(part)) for part in self]


def _segment(text: str) -> str:
    # A lone dot, or two, would lead elsewhere.
    quoted = quote(text, safe="").replace(".", "%2E")
    return quoted if len(quoted) <= _SEGMENT_LENGTH else f"{quoted[: _SEGMENT_LENGTH - 17]}-{_hash(text)}"


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def find_store(name: TaskInstanceName, context: Mapping[str, Any]) -> ThreadedStore:
    """
    Choose where checkpoints are kept: ``[async] checkpoint_path``, the state store, or Variables before Airflow 3.3.

    :param name: whose checkpoints
    :param context: the task's context
    :return: a store for this task instance alone
    """
    from airflow.configuration import conf

    path = conf.get("async", "checkpoint_path", fallback="")
    if path:
        return _store_below(path, name.segments())
    if compat.has_state_store(context):
        return StateStore(compat.state_store(context))
    return VariableStore(name)


def find_cursor_store(name: TaskName) -> ThreadedStore:
    """
    Choose where cursors are kept: ``[async] checkpoint_path``, or Variables. A state store ends with its run.

    :param name: whose cursors
    :return: a store for this task alone, whatever its run
    """
    from airflow.configuration import conf

    path = conf.get("async", "checkpoint_path", fallback="")
    return _store_below(path, [_CURSOR_FOLDER, *name.segments()]) if path else VariableStore(name)


def _store_below(path: str, segments: list[str]) -> ThreadedStore:
    if "://" not in path or path.startswith("file://"):
        top = Path(path.removeprefix("file://")).absolute()
        return FileStore(top.joinpath(*segments), below=top)
    return PathStore(path, segments)


class PathStore(ThreadedStore):
    """
    Keeps values in objects below a path.

    :param path: of an ``ObjectStoragePath``
    :param segments: names of folders below it
    """

    def __init__(self, path: str, segments: list[str]) -> None:
        super().__init__()
        self._path = path
        self._segments = segments
        self._folder: Any = None

    def read(self, key: str) -> str | None:
        """Read an object."""
        try:
            text: str = (self._find_folder() / key).read_text()
        except FileNotFoundError:
            return None
        return text

    def write(self, key: str, value: str) -> None:
        """Write an object, with the folders that lead to it where there are such."""
        folder = self._find_folder()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / key).write_text(value)

    def remove(self, key: str) -> None:
        """Remove an object."""
        (self._find_folder() / key).unlink(missing_ok=True)

    def _find_folder(self) -> Any:  # noqa: ANN401 - an ObjectStoragePath
        if self._folder is None:
            from airflow.sdk import ObjectStoragePath

            self._folder = ObjectStoragePath(self._path).joinpath(*self._segments)
        return self._folder


class StateStore(ThreadedStore):
    """
    Keeps values in a task's state store, which Airflow has from 3.3 on.

    :param store: the task's own
    """

    def __init__(self, store: compat.StateStore) -> None:
        super().__init__()
        self._store = store

    def read(self, key: str) -> str | None:
        """Ask for a value."""
        value = self._store.get(KEY_PREFIX + key)
        # Somebody else's value of another type is as good as a torn one.
        return value if value is None or isinstance(value, str) else str(value)

    def write(self, key: str, value: str) -> None:
        """Have a value kept."""
        self._store.set(KEY_PREFIX + key, value)

    def remove(self, key: str) -> None:
        """Have a value removed."""
        self._store.delete(KEY_PREFIX + key)


class VariableStore(ThreadedStore):
    """
    Keeps values in Variables, whose keys are hashes.

    With a name such as "token" in its key, Airflow would take the value for a secret and mask it wherever it appears.

    :param name: whose values
    """

    def __init__(self, name: TaskInstanceName | TaskName) -> None:
        super().__init__()
        prefix = KEY_PREFIX if isinstance(name, TaskInstanceName) else CURSOR_PREFIX
        self._prefix = f"{prefix}{_hash(*map(str, name))}."
        self._name = name

    def read(self, key: str) -> str | None:
        """Ask for a value."""
        return compat.read_variable(self._key(key))

    def write(self, key: str, value: str) -> None:
        """Have a value kept, with a description that says whose it is and of when."""
        compat.write_variable(self._key(key), value, f"{describe(self._name, key)} Written on {datetime.now(UTC):%F}.")

    def remove(self, key: str) -> None:
        """Have a value removed."""
        compat.delete_variable(self._key(key))

    def _key(self, key: str) -> str:
        return self._prefix + _hash(key)


def describe(name: TaskInstanceName | TaskName, key: str) -> str:
    """
    Say whose value a Variable has.

    :param name: the task instance's, or the task's
    :param key: the value's
    """
    run = f" in run {name.run_id}" if isinstance(name, TaskInstanceName) else ""
    mapped = "" if name.map_index < 0 else f", map index {name.map_index}"
    return f"{key} of task {name.task_id}{run} of DAG {name.dag_id}{mapped}."
