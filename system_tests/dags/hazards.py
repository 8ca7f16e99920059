# SPDX-License-Identifier: Apache-2.0
"""Every hazard as a task: a DAG under ``@task.async_python``, and one under core's ``@task`` where that is able to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow import __version__
from airflow.sdk import DAG, Asset, Param, task

from system_tests.hazards import CORE, HAZARDS, OURS, Hazard, parse_version
from system_tests.hazards.features import GREETING
from system_tests.hazards.kit import on_failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import XComArg

VERSION = parse_version(__version__)


def add_task(hazard: Hazard, flavour: str, others: Mapping[str, Any]) -> XComArg:
    """
    Make a task of a hazard.

    :param hazard: what to make a task of
    :param flavour: under which decorator
    :param others: the tasks made so far by name, those that it comes after among them
    :return: the task
    """
    decorator: Any = task if flavour == CORE else task.async_python
    function = decorator(
        task_id=hazard.name,
        outlets=[Asset(name) for name in hazard.outlets],
        inlets=[Asset(name) for name in hazard.inlets],
        # What has to run a second time starts first, so that the run is not kept waiting for it.
        priority_weight=hazard.tries,
        **hazard.arguments,
    )(hazard.body)
    made: XComArg = (
        function.partial(**hazard.call).expand(**hazard.expand) if hazard.expand else function(**hazard.call)
    )
    before = [others[name] for name in hazard.after]
    if hazard.role == "setup":
        made.as_setup()
    if hazard.role == "teardown":
        made.as_teardown(setups=[other for name, other in others.items() if HAZARDS[name].role == "setup"])
    if before:
        before >> made
    return made


def make_dag(flavour: str) -> DAG:
    """
    Make a DAG of all hazards that make sense here.

    :param flavour: the decorator of its tasks
    """
    with DAG(
        f"hazards_{flavour}",
        schedule=None,
        params={"greeting": Param(GREETING)},
        default_args={"on_failure_callback": on_failure},
    ) as dag:
        made: dict[str, XComArg] = {}
        for hazard in HAZARDS.values():
            if hazard.runs_on(VERSION, flavour):
                made[hazard.name] = add_task(hazard, flavour, made)
    return dag


hazards_async_python = make_dag(OURS)
if any(hazard.runs_on(VERSION, CORE) for hazard in HAZARDS.values()):
    hazards_core = make_dag(CORE)
