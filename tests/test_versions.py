# SPDX-License-Identifier: Apache-2.0
"""Where versions of Airflow are told apart."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import airflow_provider_async

PACKAGE = Path(airflow_provider_async.__file__).parent
COMPAT = PACKAGE / "runtime" / "compat.py"
DEMO = PACKAGE / "example_dags" / "demo"  # prints versions, and works on one
VERSION_MODULES = {"airflow.version", "importlib.metadata", "packaging.version"}
IMPORT_ERRORS = {"AttributeError", "ImportError", "ModuleNotFoundError"}


def imported(node: ast.AST) -> set[str]:
    """Name what a statement imports: ``import a.b`` is a.b, ``from a import b`` is a and a.b."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        return {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return set()


def tells_versions_apart(node: ast.AST) -> bool:
    """Find a version that is read, or an import of Airflow's that may fail."""
    if imported(node) & {"airflow.__version__", *VERSION_MODULES}:
        return True
    if isinstance(node, ast.Attribute) and node.attr == "__version__":
        return True
    if isinstance(node, ast.Try) and node.handlers:
        caught = {name.id for handler in node.handlers for name in ast.walk(handler) if isinstance(name, ast.Name)}
        modules = {name for statement in node.body for name in imported(statement)}
        return bool(caught & IMPORT_ERRORS) and any(name.partition(".")[0] == "airflow" for name in modules)
    return False


@pytest.mark.parametrize(
    "source",
    [
        "import airflow\nif airflow.__version__ > '3.1': pass",
        "from airflow import __version__",
        "try:\n    from airflow.sdk import x\nexcept ImportError:\n    x = None",
        "from packaging.version import Version",
    ],
)
def test_a_branch_on_a_version_is_recognised(source: str) -> None:
    assert any(tells_versions_apart(node) for node in ast.walk(ast.parse(source)))


def test_versions_of_airflow_are_told_apart_in_compat_alone() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"  # type: ignore[attr-defined]
        for path in sorted(PACKAGE.rglob("*.py"))
        if path != COMPAT and DEMO not in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if tells_versions_apart(node)
    ]

    assert found == []
