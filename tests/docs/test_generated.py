# SPDX-License-Identifier: Apache-2.0
"""What the documentation says of options and of versions is what there is."""

from __future__ import annotations

import configparser
import re
from typing import Any, cast

import pytest

from airflow_provider_async.get_provider_info import get_provider_info
from scripts.environments import RELEASES, ROOT, VERSIONS
from tests.docs.pages import DOCS, blocks, find, pages

pytest.importorskip("docutils", reason="the tools for the documentation are not installed")

from docs import generated


def options() -> dict[str, dict[str, Any]]:
    config = cast("dict[str, dict[str, Any]]", get_provider_info()["config"])
    return {section: described["options"] for section, described in config.items()}


def test_each_option_is_described() -> None:
    text = generated.configuration()

    for section, described in options().items():
        for name, option in described.items():
            assert f"``[{section}] {name}``\n    {option['description']}" in text
            assert f"``AIRFLOW__{section.upper()}__{name.upper()}``" in text


def test_each_version_that_is_tested_has_a_row() -> None:
    text = generated.compatibility()

    assert re.findall(r"\* - ([\d.]+)", text) == [
        generated.lowest_airflow(),
        *VERSIONS,
    ]
    assert generated.smoke_versions() <= set(RELEASES)
    assert text.count("a part") == len(generated.smoke_versions() - {"stack"}) > 0


def test_what_is_said_of_versions_is_what_the_distribution_says() -> None:
    pythons = {python for release in RELEASES.values() for python in release.pythons}
    pyproject = (ROOT / "pyproject.toml").read_text()
    classifiers = set(re.findall(r'"Programming Language :: Python :: (3\.\d+)"', pyproject))
    ordered = sorted(pythons, key=lambda python: int(python.partition(".")[2]))

    newest = max(VERSIONS).rpartition(".")[0]
    said = f"Airflow {generated.lowest_airflow()} to {newest}, Python {ordered[0]} to {ordered[-1]}, Linux."
    assert classifiers == pythons
    assert said in find("compatibility").read_text()
    assert f"Airflow {generated.lowest_airflow()} to {newest}" in find("README.md").read_text()


def test_each_option_that_a_page_sets_exists() -> None:
    for page in pages():
        for block in blocks(page):
            if block.language == "ini":
                parser = configparser.ConfigParser()
                parser.read_string(block.text)
                for section in options().keys() & set(parser.sections()):
                    assert set(parser.options(section)) <= options()[section].keys()


def test_each_option_that_a_page_names_exists() -> None:
    for page in [*DOCS.rglob("*.rst"), find("README.md")]:
        for name in re.findall(r"``\[async\] (\w+)``", page.read_text()):
            assert name in options()["async"]
