# SPDX-License-Identifier: Apache-2.0
"""Airflow's REST API (v2), as far as the system tests need it, on Airflow 3.0 to 3.3."""

from __future__ import annotations

import json
import secrets
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

# On SQLite, a request that finds the database locked for too long fails with 500, and has changed nothing. It is
# repeated for so long after its first failure.
REPEAT_SECONDS = 30.0
PAUSE_SECONDS = 0.5

CONFLICT = 409

RUN_ENDED = frozenset({"success", "failed"})
TASK_ENDED = RUN_ENDED | {"skipped", "upstream_failed", "removed"}


@dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """One task of one DAG run, as it was when it was asked for."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    state: str | None
    try_number: int
    pid: int | None
    started: datetime | None
    ended: datetime | None
    hostname: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it is in a state that it stays in by itself."""
        return self.state in TASK_ENDED

    def running_seconds(self, now: float) -> float:
        """
        Tell for how long this try has run, or ran.

        :param now: the time, in seconds of the epoch
        """
        if self.started is None:
            return 0.0
        return (self.ended.timestamp() if self.ended else now) - self.started.timestamp()


@dataclass(frozen=True)
class TaskLog:
    """
    The log of one try of a task.

    :param records: its lines, each as the API gives it
    """

    records: tuple[Mapping[str, Any], ...]

    @cached_property
    def text(self) -> str:
        """What Airflow's web page shows: of an exception its chain, but neither its notes nor a group's parts."""
        lines = []
        for record in self.records:
            lines.append(str(record.get("event", "")))
            lines += [f"{part['exc_type']}: {part['exc_value']}" for part in record.get("error_detail") or ()]
            lines += [f"{key}={value}" for key, value in record.items() if key not in {"event", "error_detail"}]
        return "\n".join(lines)

    @property
    def frames(self) -> list[str]:
        """The frames of all exceptions shown, as ``file:line name``."""
        return [
            f"{frame['filename']}:{frame['lineno']} {frame['name']}"
            for record in self.records
            for part in record.get("error_detail") or ()
            for frame in part["frames"]
        ]


class AirflowClient:
    """
    Talks to an API server whose simple auth manager takes everybody for an admin.

    Every request may be sent twice, and is sent again for :data:`REPEAT_SECONDS` when the server fails.

    :param base_url: such as ``http://127.0.0.1:8080``
    :param transport: what sends requests, in place of the network
    :param clock: the time in seconds, from any beginning
    :param sleep: waits for so many seconds
    """

    def __init__(
        self,
        base_url: str,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=120, trust_env=False, transport=transport)
        self._clock = clock
        self._sleep = sleep
        # Two changes at once may lock each other out in the server, see SERVER_LOCK_SECONDS in airflow.py.
        self._one_change_at_a_time = threading.Lock()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    # --- the deployment -----------------------------------------------------------------------------------------------

    def is_up(self) -> bool:
        """Whether the server answers at all."""
        try:
            return self._http.get("/api/v2/version").is_success
        except httpx.TransportError:
            return False

    def log_in(self) -> None:
        """Get the token that all other calls send."""
        token = _checked(self._send("GET", "/auth/token"))["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def health(self) -> dict[str, str | None]:
        """Ask for the status of each component: ``healthy``, ``unhealthy`` or None when there is none."""
        answer = self._get("/monitor/health")
        return {name: part["status"] for name, part in answer.items() if part is not None}

    def warm_up(self) -> None:
        """Have the server build what tasks talk to: the first task would pay several seconds for it."""
        _checked(self._send("GET", "/execution/health"))

    def dag_ids(self, **which: str) -> set[str]:
        """
        Ask for the DAGs that were found.

        :param which: what the API selects them by, such as ``tags``
        """
        return {dag["dag_id"] for dag in self._get("/dags", limit=100, **which)["dags"]}

    def import_errors(self) -> str:
        """Ask for the tracebacks of DAG files that could not be imported."""
        errors = self._get("/importErrors")["import_errors"]
        return "\n".join(f"{error['filename']}:\n{error['stack_trace']}" for error in errors)

    def create_connections(self, connections: Collection[Mapping[str, object]]) -> None:
        """
        Write Connections into Airflow's database.

        :param connections: each with at least ``connection_id`` and ``conn_type``
        """
        self._create_many("/connections", connections)

    def create_variables(self, variables: Mapping[str, str]) -> None:
        """
        Write Variables into Airflow's database.

        :param variables: their values by key
        """
        self._create_many("/variables", [{"key": key, "value": value} for key, value in variables.items()])

    def _create_many(self, path: str, entities: Collection[Mapping[str, object]]) -> None:
        action = {"action": "create", "entities": list(entities), "action_on_existence": "overwrite"}
        answer = _checked(self._send("PATCH", f"/api/v2{path}", json={"actions": [action]}))
        if errors := answer["create"]["errors"]:
            raise RuntimeError(f"PATCH {path}: {errors}")

    # --- DAG runs -----------------------------------------------------------------------------------------------------

    def trigger(self, dag_id: str, conf: Mapping[str, object] | None = None) -> str:
        """
        Start a DAG run.

        :param dag_id: the DAG's id
        :param conf: what the run is given
        :return: the run's id
        """
        # An id of our own: a request that is repeated starts no second run.
        run_id = f"system-test-{secrets.token_hex(6)}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})}
        answer = self._send("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)
        if answer.status_code != CONFLICT:
            _checked(answer)
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        """
        Ask for the state of a DAG run.

        :param dag_id: the DAG's id
        :param run_id: the run's id
        """
        return str(self._get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def run_states(self, dag_id: str) -> list[str]:
        """
        Ask for the states of all runs of a DAG.

        :param dag_id: the DAG's id
        """
        return [str(run["state"]) for run in self._get(f"/dags/{dag_id}/dagRuns", limit=100)["dag_runs"]]

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """
        Ask for all tasks of a DAG run.

        :param dag_id: the DAG's id
        :param run_id: the run's id
        """
        found: list[TaskInstance] = []
        while True:
            # The server's own limit of a page is 100.
            page = self._get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100, offset=len(found))
            found += [_task_instance(entry) for entry in page["task_instances"]]
            if not page["task_instances"] or len(found) >= page["total_entries"]:
                return found

    def tries(self, task: TaskInstance) -> list[TaskInstance]:
        """
        Ask for all tries of a task.

        :param task: which task
        """
        return [_task_instance(entry) for entry in self._get(f"{_path(task)}/tries")["task_instances"]]

    def log(self, task: TaskInstance) -> TaskLog:
        """
        Read the log of one try of a task.

        :param task: which task and try
        """
        path = f"{_path(task, mapped=False)}/logs/{task.try_number}"
        answer = self._get(path, map_index=task.map_index, full_content=True)
        return TaskLog(tuple(entry if isinstance(entry, dict) else {"event": entry} for entry in answer["content"]))

    def returned(self, task: TaskInstance) -> Any:  # noqa: ANN401 - JSON
        """
        Ask for what a task returned.

        :param task: which task
        """
        path = f"{_path(task, mapped=False)}/xcomEntries/return_value"
        value = self._get(path, map_index=task.map_index)["value"]
        # 3.0 gives it as a text of JSON.
        return json.loads(value) if isinstance(value, str) else value

    def mark(self, task: TaskInstance, state: str) -> None:
        """
        Set the state of a task, as users do; a running process is ended at its next heartbeat.

        :param task: which task
        :param state: ``success`` or ``failed``
        """
        _checked(self._send("PATCH", f"/api/v2{_path(task)}", json={"new_state": state}))

    def clear(self, task: TaskInstance) -> None:
        """
        Clear a task, as users do, whatever its state: it is run again.

        :param task: which task; of a mapped one, this instance alone
        """
        which = task.task_id if task.map_index < 0 else [task.task_id, task.map_index]
        body = {"dry_run": False, "dag_run_id": task.run_id, "task_ids": [which], "only_failed": False}
        _checked(self._send("POST", f"/api/v2/dags/{task.dag_id}/clearTaskInstances", json=body))

    def _get(self, path: str, **parameters: str | int) -> Any:  # noqa: ANN401 - JSON
        return _checked(self._send("GET", f"/api/v2{path}", params=parameters))

    def _send(
        self, method: str, path: str, *, params: Mapping[str, str | int] | None = None, json: object = None
    ) -> httpx.Response:
        give_up_at: float | None = None
        while True:
            with nullcontext() if method == "GET" else self._one_change_at_a_time:
                answer = self._http.request(method, path, params=params, json=json)
            if not answer.is_server_error:
                return answer
            now = self._clock()
            give_up_at = now + REPEAT_SECONDS if give_up_at is None else give_up_at
            if now >= give_up_at:
                return answer
            self._sleep(PAUSE_SECONDS)


def _path(task: TaskInstance, *, mapped: bool = True) -> str:
    index = f"/{task.map_index}" if mapped and task.map_index >= 0 else ""
    return f"/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}{index}"


def _task_instance(entry: Mapping[str, Any]) -> TaskInstance:
    return TaskInstance(
        dag_id=entry["dag_id"],
        run_id=entry["dag_run_id"],
        task_id=entry["task_id"],
        map_index=entry["map_index"],
        state=entry["state"],
        try_number=entry["try_number"],
        pid=entry["pid"],
        started=_time(entry["start_date"]),
        ended=_time(entry["end_date"]),
        hostname=entry["hostname"],
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _checked(answer: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    if not answer.is_success:
        request = answer.request
        raise RuntimeError(f"{request.method} {request.url}: {answer.status_code} {answer.text[:2000]}")
    return answer.json()
