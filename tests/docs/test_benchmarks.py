# SPDX-License-Identifier: Apache-2.0
"""The page about benchmarks has each script, and each limit of those that compare with peers."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, find

PAGE = find("benchmarks").read_text()
SCRIPTS = sorted(path.name for path in (ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_has_its_place(script: str) -> None:
    assert f"``python benchmarks/{script}``" in PAGE


@pytest.mark.parametrize("script", ["sftp.py", "rest.py"])
def test_each_limit_stands_beside_what_was_measured(script: str) -> None:
    claims = re.findall(r"at_(least|most)=([\d.]+)", (ROOT / "benchmarks" / script).read_text())
    ratios = {("≥" if kind == "least" else "≤", limit) for kind, limit in claims if float(limit) != 60}

    assert ratios
    assert ratios <= set(re.findall(r"      - (≥|≤) ([\d.]+)(?: MiB)?$", PAGE, re.MULTILINE))


def test_what_was_missed_is_said() -> None:
    assert PAGE.count("      - missed") >= 4
