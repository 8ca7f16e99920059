# SPDX-License-Identifier: Apache-2.0
"""What is in the wheel and in the source distribution, to the file and to the byte."""

from __future__ import annotations

import email
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING

import pytest

from scripts.environments import ROOT

from .conftest import build

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Distributions

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(600)]

VERSION_INFO = "apache_airflow_providers_async-{}.dist-info"
WRITTEN_BY_THE_BUILD = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "licenses/NOTICE"}

#: What the source distribution has beside its folders.
TOP = {
    ".gitignore",
    "CHANGELOG.rst",
    "CONTRIBUTING.rst",
    "LICENSE",
    "Makefile",
    "NOTICE",
    "PKG-INFO",
    "README.md",
    "SECURITY.md",
    "pyproject.toml",
}
FOLDERS = ("airflow_provider_async", "benchmarks", "docs", "scripts", "system_tests", "tests")


def tracked(*folders: str) -> set[str]:
    """Return the files of folders that belong to the repository: nothing that a run has left there."""
    listed = subprocess.run(["git", "ls-files", "--", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


def version_of(wheel: Path) -> str:
    return wheel.name.split("-")[1]


def test_the_wheel_has_the_package_a_bridge_for_airflow_and_its_description(distributions: Distributions) -> None:
    with zipfile.ZipFile(distributions.wheel) as archive:
        names = archive.namelist()

    info = VERSION_INFO.format(version_of(distributions.wheel))
    described = {f"{info}/{name}" for name in WRITTEN_BY_THE_BUILD}
    package = tracked("airflow_provider_async") - {"airflow_provider_async/_airflow_bridge.py"}
    assert sorted(names) == sorted(package | {"airflow/providers/async_bridge.py"} | described)
    assert "airflow_provider_async/py.typed" in names


def test_the_source_distribution_has_what_builds_tests_and_describes_it(distributions: Distributions) -> None:
    with tarfile.open(distributions.source) as archive:
        names = [name.partition("/")[2] for name in archive.getnames()]

    assert sorted(names) == sorted(tracked(*FOLDERS) | TOP)


def test_two_builds_are_the_same_to_the_byte(distributions: Distributions, tmp_path: Path) -> None:
    again = build(tmp_path)

    assert again.wheel.read_bytes() == distributions.wheel.read_bytes()
    assert again.source.read_bytes() == distributions.source.read_bytes()


def test_the_description_says_what_it_is_and_what_it_needs(distributions: Distributions) -> None:
    with zipfile.ZipFile(distributions.wheel) as archive:
        info = VERSION_INFO.format(version_of(distributions.wheel))
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))

    assert metadata["Name"] == "apache-airflow-providers-async"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "apache-airflow>=3.0.3" in metadata.get_all("Requires-Dist", [])
