# SPDX-License-Identifier: Apache-2.0
"""An Airflow as it is in production: PostgreSQL, Redis and Celery workers on several hosts, or another executor."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from system_tests.support.airflow import DATABASE, MIGRATE_SECONDS, START_SECONDS, Airflow
from system_tests.support.services import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from system_tests.support.processes import Component
    from system_tests.support.services import Postgres

_TEMPLATE = "migrated"

#: What Celery logs when a worker takes tasks.
_READY = " ready."

SLOTS = 4
WORKERS = ("worker-1", "worker-2")

CELERY = "CeleryExecutor"
LOCAL = "LocalExecutor"
EDGE = "airflow.providers.edge3.executors.EdgeExecutor"

LARGE_XCOM_BYTES = 65536

HEARTBEAT_SECONDS = 30
"""
After so long without a sign of life, the scheduler takes a task for dead, and has it tried again.

That is longer than any outage in the tests but that of the API server, which takes some time to start.
"""

ARGUMENT_LENGTH = 80
"""Of arguments that are longer, Airflow keeps a note alone that they are."""

SETTINGS = {
    "AIRFLOW__CELERY__WORKER_PREFETCH_MULTIPLIER": "1",
    "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": str(LARGE_XCOM_BYTES),
    "AIRFLOW__CORE__HOSTNAME_CALLABLE": "system_tests.support.hosts.component",
    "AIRFLOW__CORE__MAX_TEMPLATED_FIELD_LENGTH": str(ARGUMENT_LENGTH),
    "AIRFLOW__CORE__PARALLELISM": str(SLOTS),
    "AIRFLOW__CORE__XCOM_BACKEND": "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_SECONDS),
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
    # What was in the broker when it was killed is queued again.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "2",
}


EDGE_SETTINGS = {
    "AIRFLOW__EDGE__API_ENABLED": "True",
    "AIRFLOW__EDGE__HEARTBEAT_INTERVAL": "5",
    "AIRFLOW__EDGE__JOB_POLL_INTERVAL": "1",
}


@dataclass(frozen=True)
class Stack:
    """
    A running Airflow and what it stands on.

    :param metadata: the name of its database
    :param warehouse: the name of the database that tasks load into
    :param redis: the broker of its workers, if they are Celery's
    :param xcoms: the folder of large results
    """

    airflow: Airflow
    postgres: Postgres
    metadata: str
    warehouse: str
    redis: Redis | None
    xcoms: Path

    @property
    def warehouse_url(self) -> str:
        """What SQLAlchemy connects to, to see what tasks have loaded."""
        return self.postgres.url(self.warehouse)

    @property
    def workers(self) -> list[Component]:
        """The workers that are processes of their own."""
        return [self.airflow.components[name] for name in WORKERS if name in self.airflow.components]


@contextmanager
def running_stack(
    dags: Path, postgres: Postgres, *, executor: str = CELERY, settings: Mapping[str, str] | None = None
) -> Iterator[Stack]:
    """
    Run a stack, and remove all of it at the end but the databases.

    With :data:`CELERY` there are two workers of two slots each; with :data:`LOCAL`, the scheduler has four; the workers
    of :data:`EDGE` are for the tests to start. There is no triggerer.

    :param dags: the folder of DAG files
    :param postgres: it runs
    :param executor: the name of Airflow's executor
    :param settings: more environment variables, which win over those set here
    :raises NotInstalled: when Redis is needed and not installed
    """
    number = len(postgres.databases)
    metadata, warehouse = f"airflow_{number}", f"warehouse_{number}"
    with ExitStack() as stack:
        xcoms = Path(stack.enter_context(TemporaryDirectory(prefix="xcoms-")))
        own = SETTINGS | {
            DATABASE: postgres.url(metadata),
            "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": xcoms.as_uri(),
            "AIRFLOW__CORE__EXECUTOR": executor,
        }
        workers = {}
        redis = None
        if executor == EDGE:
            own |= EDGE_SETTINGS
        if executor == CELERY:
            redis = stack.enter_context(Redis())
            own |= {
                "AIRFLOW__CELERY__BROKER_URL": redis.url,
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{postgres.url(metadata)}",
            }
            workers = {name: _worker(name) for name in WORKERS}
        airflow = Airflow(dags, settings=own | dict(settings or {}), workers=workers, migrated=True)
        stack.callback(airflow.stop)
        if _TEMPLATE not in postgres.databases:
            postgres.create(_TEMPLATE)
            template = {DATABASE: postgres.url(_TEMPLATE)}
            airflow.run_command("db", "migrate", timeout_seconds=MIGRATE_SECONDS, settings=template)
        postgres.create(metadata, template=_TEMPLATE)
        postgres.create(warehouse)
        stack.enter_context(airflow)
        made = Stack(airflow, postgres, metadata, warehouse, redis, xcoms)
        wait_for_workers(made)
        yield made


def wait_for_workers(stack: Stack) -> None:
    """
    Wait until Celery's workers take tasks.

    :param stack: theirs
    :raises TimeoutError: if they do not in time
    """
    stack.airflow.wait_for(
        "The workers",
        lambda: all(_READY in worker.log_tail(1000) for worker in stack.workers),
        timeout_seconds=START_SECONDS,
    )


def _worker(name: str) -> list[str]:
    slots = str(SLOTS // len(WORKERS))
    options = ["--skip-serve-logs", "--without-gossip", "--without-mingle"]
    return ["celery", "worker", "--concurrency", slots, "--celery-hostname", f"{name}@%h", *options]
