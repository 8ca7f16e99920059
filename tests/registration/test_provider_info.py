# SPDX-License-Identifier: Apache-2.0
"""What Airflow is told about the package."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import distribution, entry_points
from importlib.resources import files

import jsonschema

import airflow_provider_async
from airflow_provider_async import _airflow_bridge, decorators
from airflow_provider_async.get_provider_info import get_provider_info

DISTRIBUTION = "apache-airflow-providers-async"


def test_the_provider_info_fits_the_schema_of_airflow() -> None:
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())

    jsonschema.validate(get_provider_info(), schema)


def test_the_package_name_is_the_name_of_the_distribution() -> None:
    assert get_provider_info()["package-name"] == DISTRIBUTION
    assert distribution(DISTRIBUTION).name == DISTRIBUTION


def test_the_entry_point_leads_to_the_provider_info() -> None:
    (entry_point,) = (
        found
        for found in entry_points(group="apache_airflow_provider")
        if found.dist is not None and found.dist.name == DISTRIBUTION
    )

    assert entry_point.load() is get_provider_info


def test_the_version_of_the_distribution_is_the_version_of_the_package() -> None:
    assert distribution(DISTRIBUTION).version == airflow_provider_async.__version__


def test_the_bridge_leads_to_the_decorator() -> None:
    info = get_provider_info()
    assert isinstance(info["task-decorators"], list)
    (registered,) = info["task-decorators"]
    module, _, name = registered["class-name"].rpartition(".")

    assert getattr(import_module(module), name) is decorators.async_python_task
    assert _airflow_bridge.async_python_task is decorators.async_python_task
