# SPDX-License-Identifier: Apache-2.0
"""One DAG run of all hazards: does to each what is to be done to it, and ends those that hang."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from system_tests.hazards import HAZARDS, SIGNALS, Action, Hazard
from system_tests.support.client import RUN_ENDED, TaskLog
from system_tests.support.outcomes import Mark, Observation, Outcome, judge, read_marks
from system_tests.support.processes import is_in

if TYPE_CHECKING:
    from pathlib import Path

    from system_tests.support.airflow import Airflow
    from system_tests.support.client import TaskInstance

RUN_SECONDS = 600
# Asking for all tasks costs the API server up to half a second of computing.
TURN_SECONDS = 1.0
# After a task's process has gone, Airflow itself may take this long to notice.
NOTICE_SECONDS = 10


@dataclass
class _Watched:
    """A hazard while its run goes on."""

    hazard: Hazard
    seen: Observation = field(default_factory=Observation)
    instances: list[TaskInstance] = field(default_factory=list)
    acted_at: float | None = None
    killed_at: float | None = None
    pids: set[int] = field(default_factory=set)


class HazardRun:
    """
    One DAG run of all hazards, from its start to its end.

    :param airflow: where
    :param flavour: under which decorator
    :param marks: the folder that tasks make their marks in
    """

    def __init__(self, airflow: Airflow, flavour: str, marks: Path) -> None:
        self._airflow = airflow
        self._client = airflow.client
        self._dag_id = f"hazards_{flavour}"
        self._run_id = ""
        self._marks = marks
        self._watched: dict[str, _Watched] = {}

    def run(self) -> dict[str, Outcome]:
        """
        Start it, and see to it until all has ended.

        :raises TimeoutError: if that takes too long, whatever is done to end it
        :return: what became of each hazard, by its name
        """
        self._run_id = self._client.trigger(self._dag_id)
        try:
            self._airflow.wait_for(
                f"The end of {self._dag_id}", self._turn, timeout_seconds=RUN_SECONDS, interval_seconds=TURN_SECONDS
            )
        except TimeoutError as error:
            for name, watched in self._watched.items():
                error.add_note(f"{name}: {', '.join(str(task.state) for task in watched.instances)}")
            raise
        return {name: self._conclude(watched) for name, watched in self._watched.items()}

    def _turn(self) -> bool:
        ended = self._client.run_state(self._dag_id, self._run_id) in RUN_ENDED
        by_name: dict[str, list[TaskInstance]] = {}
        for instance in self._client.task_instances(self._dag_id, self._run_id):
            by_name.setdefault(instance.task_id, []).append(instance)
        quiet = True
        for name, instances in by_name.items():
            watched = self._watched.setdefault(name, _Watched(HAZARDS[name]))
            watched.instances = instances
            quiet &= self._look_after(watched)
        return ended and quiet

    def _look_after(self, watched: _Watched) -> bool:
        """Do what is due, and tell whether nothing is left to be waited for."""
        hazard, now = watched.hazard, time.time()
        marks = self._marks_of(hazard)
        watched.pids |= {mark.pid for mark in marks} | {task.pid for task in watched.instances if task.pid}
        ready = next((mark for mark in marks if mark.name == "ready"), None)
        if hazard.action is not None and ready is not None and watched.acted_at is None:
            watched.acted_at = time.time()
            self._act(hazard.action, ready, watched.instances[0])
        is_gone = self._is_gone(watched, now)
        if all(task.has_ended for task in watched.instances):
            return is_gone
        self._end_if_it_hangs(watched, now)
        if is_gone:
            self._end_if_it_never_restarts(watched, now)
        return False

    def _act(self, action: Action, ready: Mark, task: TaskInstance) -> None:
        with contextlib.suppress(ProcessLookupError):
            match action:
                case Action.SIGNAL:
                    os.kill(ready.pid, signal.SIGTERM)
                case Action.SIGNAL_TWICE:
                    os.kill(ready.pid, signal.SIGTERM)
                    time.sleep(0.5)
                    os.kill(ready.pid, signal.SIGTERM)
                case Action.SIGNAL_SUPERVISOR:
                    os.kill(ready.parent_pid, signal.SIGTERM)
                case Action.MARK_FAILED:
                    self._client.mark(task, "failed")
                case Action.CLEAR:
                    self._client.clear(task)

    def _end_if_it_hangs(self, watched: _Watched, now: float) -> None:
        running = [task for task in watched.instances if task.state == "running"]
        late = [task for task in running if task.running_seconds(now) > watched.hazard.within_seconds]
        if not late:
            return
        watched.seen.hung = True
        if watched.killed_at is None:
            watched.killed_at = now
            self._kill(watched)
        elif now - watched.killed_at > NOTICE_SECONDS:
            watched.killed_at = None
            self._give_up(late)

    def _end_if_it_never_restarts(self, watched: _Watched, now: float) -> None:
        restarting = [task for task in watched.instances if task.state == "restarting"]
        if restarting and watched.acted_at is not None and now - watched.acted_at > 2 * NOTICE_SECONDS:
            watched.seen.states.add("restarting")
            self._give_up(restarting)

    def _give_up(self, tasks: list[TaskInstance]) -> None:
        for task in tasks:
            # SQLite may be busy: the next round will do.
            with contextlib.suppress(RuntimeError):
                self._client.mark(task, "failed")

    def _is_gone(self, watched: _Watched, now: float) -> bool:
        """Tell whether its processes have ended, and end them if they should have."""
        if not any(self._is_alive(pid) for pid in watched.pids):
            return True
        if not all(task.has_ended or task.state == "restarting" for task in watched.instances):
            return False
        ends = [task.ended.timestamp() for task in watched.instances if task.ended]
        since = max([*ends, watched.acted_at or 0.0])
        if now - since > watched.hazard.gone_within_seconds:
            watched.seen.lingered = True
            self._kill(watched)
        return False

    def _kill(self, watched: _Watched) -> None:
        for pid in watched.pids:
            if self._is_alive(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _is_alive(self, pid: int) -> bool:
        try:
            # The number may belong to another process by now.
            return is_in(psutil.Process(pid), self._airflow.home)
        except psutil.Error:
            return False

    def _tries(self, task: TaskInstance) -> list[TaskInstance]:
        return [task] if task.try_number == 1 else self._client.tries(task)

    def _marks_of(self, hazard: Hazard) -> list[Mark]:
        return read_marks(self._marks / self._dag_id / self._run_id / hazard.name)

    def _conclude(self, watched: _Watched) -> Outcome:
        seen = watched.seen
        seen.states = seen.states or {str(task.state) for task in watched.instances}
        seen.tries = max(task.try_number for task in watched.instances)
        marks = self._marks_of(watched.hazard)
        seen.marks = {mark.name for mark in marks}
        if watched.acted_at is not None and watched.hazard.action in SIGNALS:
            seen.stop_seconds = max(mark.time for mark in marks if mark.try_number == 1) - watched.acted_at
        tries = [each for task in watched.instances if task.started for each in self._tries(task)]
        seen.seconds = max((each.running_seconds(time.time()) for each in tries), default=0.0)
        records = [record for each in tries for record in self._client.log(each).records]
        return judge(watched.hazard, seen, TaskLog(tuple(records)))
