# SPDX-License-Identifier: Apache-2.0
"""How a hazard is declared: the body of a task, and what has to become of that task."""

from __future__ import annotations

import enum
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Body = TypeVar("Body", bound="Callable[..., object]")
Version = tuple[int, ...]

OURS = "async_python"
CORE = "core"
# Before, `@task async def` raises TypeError (3.0) or RuntimeError (3.1).
CORE_SINCE: Version = (3, 2)


class Action(enum.Enum):
    """What happens to a task from outside once it has made the mark ``ready``."""

    SIGNAL = "SIGTERM to its process"
    SIGNAL_TWICE = "SIGTERM to its process, and again half a second later"
    SIGNAL_SUPERVISOR = "SIGTERM to its supervisor"
    MARK_FAILED = "marked failed by a user"
    CLEAR = "cleared by a user"


SIGNALS = frozenset({Action.SIGNAL, Action.SIGNAL_TWICE, Action.SIGNAL_SUPERVISOR})


@dataclass(frozen=True, kw_only=True)
class Hazard:
    """
    A task, and what has to become of it.

    :param group: the table that it is shown in
    :param body: the function that is decorated, named like the task; its docstring is its title in the tables
    :param state: the state that the task ends in; that of each of its instances if it is mapped
    :param tries: how many tries it takes
    :param within_seconds: how long each of its tries may run; beyond, it counts as hanging and is ended by force
    :param marks: what it has written down by its end, clean-up above all
    :param no_marks: what it must not have written down
    :param log: regular expressions that the log has lines for
    :param log_once: regular expressions that the log has exactly one line for
    :param log_lacks: regular expressions that the log has nothing for
    :param frames_at_most: how many frames of tracebacks the log shows at most, none of them asyncio's
    :param action: what is done to it while it runs
    :param gone_within_seconds: how long its process may live on after the action, or after the task's end
    :param since: the first Airflow version that it makes sense on
    :param until: the first Airflow version that it no longer makes sense on
    :param core: whether the same body makes sense under core's ``@task``
    :param arguments: of the decorator
    :param call: keyword arguments of the call that makes the task
    :param expand: keyword arguments that it is mapped over
    :param outlets: assets that it updates
    :param inlets: assets that it looks at
    :param after: tasks that it comes after
    :param role: what it is for the tasks around it
    """

    group: str
    body: Callable[..., object]
    state: str = "success"
    tries: int = 1
    within_seconds: float = 30
    marks: tuple[str, ...] = ()
    no_marks: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    log_once: tuple[str, ...] = ()
    log_lacks: tuple[str, ...] = ()
    frames_at_most: int | None = None
    action: Action | None = None
    gone_within_seconds: float = 8
    since: Version = (3, 0)
    until: Version = (4,)
    core: bool = True
    arguments: Mapping[str, Any] = field(default_factory=dict)
    call: Mapping[str, object] = field(default_factory=dict)
    expand: Mapping[str, list[object]] = field(default_factory=dict)
    outlets: tuple[str, ...] = ()
    inlets: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    role: Literal["work", "setup", "teardown"] = "work"

    @property
    def name(self) -> str:
        """The task's id."""
        return self.body.__name__

    @property
    def title(self) -> str:
        """What happens in it, in a few words."""
        return (inspect.getdoc(self.body) or self.name).splitlines()[0]

    def runs_on(self, version: Version, flavour: str) -> bool:
        """
        Whether it is part of a run.

        :param version: Airflow's
        :param flavour: :data:`OURS` or :data:`CORE`
        """
        if flavour == CORE and not (self.core and version >= CORE_SINCE):
            return False
        return self.since <= version < self.until


HAZARDS: dict[str, Hazard] = {}


class Group:
    """
    Declares hazards that belong together.

    :param title: what they have in common
    :param defaults: what :class:`Hazard` has other defaults for here
    """

    def __init__(self, title: str, **defaults: object) -> None:
        self.title = title
        self._defaults = defaults

    def __call__(self, **options: object) -> Callable[[Body], Body]:
        """
        Declare a hazard by its body.

        :param options: those of :class:`Hazard`
        :return: a decorator that leaves the function as it is
        """

        def declare(body: Body) -> Body:
            hazard = Hazard(group=self.title, body=body, **{**self._defaults, **options})  # type: ignore[arg-type]
            HAZARDS[hazard.name] = hazard
            return body

        return declare


def parse_version(text: str) -> Version:
    """
    Make a version comparable.

    :param text: such as ``3.3.2`` or ``3.4.0rc1``
    """
    return tuple(int(part) for part in text.split(".")[:2])
