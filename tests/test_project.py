# SPDX-License-Identifier: Apache-2.0
"""What the files for contributors name is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def load(path: str) -> Any:  # noqa: ANN401 - YAML
    return yaml.safe_load((ROOT / path).read_text())


def test_the_workflow_runs_what_has_to_pass_before_a_merge() -> None:
    steps = load(".github/workflows/ci.yml")["jobs"]["ci"]["steps"]

    assert steps[-1] == {"run": ".ci/run"}
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_what_has_to_pass_before_a_merge_are_targets() -> None:
    named = re.findall(r"^make ([a-z-]+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)

    assert {"test", "lint", "types", "docs", "dist"} <= set(named) <= TARGETS


def test_contributing_names_targets() -> None:
    named = re.findall(r"``make ([a-z-]+(?: [a-z-]+)*)``", (ROOT / "CONTRIBUTING.rst").read_text())

    assert {"test", "dist", "audit"} <= {target for targets in named for target in targets.split()} <= TARGETS


def test_hooks_need_no_network() -> None:
    (repository,) = load(".pre-commit-config.yaml")["repos"]

    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        program, argument, *_ = hook["entry"].split()
        assert program == ".venv/bin/ruff" or argument in TARGETS


def test_each_form_for_an_issue_asks_for_something() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))

    assert [form.stem for form in forms] == ["bug", "config", "feature"]
    for form in forms:
        if form.stem != "config":
            fields = load(str(form.relative_to(ROOT)))["body"]
            assert any(field.get("validations", {}).get("required") for field in fields)
