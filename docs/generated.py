# SPDX-License-Identifier: Apache-2.0
"""Tables of the documentation that are made of what the code says, so that they cannot be old."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

from airflow_provider_async.get_provider_info import get_provider_info
from scripts.environments import RELEASES, ROOT, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sphinx.application import Sphinx

SMOKE = re.compile(r"^\t@\$\(ENVIRONMENTS\) system-test ([\d. ]+) --", re.MULTILINE)


def configuration() -> str:
    """Return the section of each configuration section that the provider info has, in reStructuredText."""
    lines: list[str] = []
    sections = cast("dict[str, dict[str, Any]]", get_provider_info()["config"])
    for section, described in sections.items():
        for name, option in described["options"].items():
            variable = f"AIRFLOW__{section.upper()}__{name.upper()}"
            default = f"by default {code(option['default'])}"
            example = f", for example {code(option['example'])}" if option["example"] else ""
            lines += [
                f"``[{section}] {name}``",
                f"    {option['description']}",
                "",
                f"    A {option['type']}, {default}{example}. Since {option['version_added']}.",
                f"    In the environment: ``{variable}``.",
                "",
            ]
    return "\n".join(lines)


def code(value: str) -> str:
    """Return a value as code; nothing is said to be nothing."""
    return f"``{value}``" if value else "empty"


def compatibility() -> str:
    """Return a table of the versions that are tested, in reStructuredText."""
    smoke = smoke_versions()
    rows: list[tuple[str, ...]] = []
    for version in ("lowest", *VERSIONS):
        pythons = sorted(RELEASES[version].pythons, key=lambda python: int(python.partition(".")[2]))
        if version == "lowest":
            rows.append((lowest_airflow(), ", ".join(pythons), "with the lower bound of each dependency", "", ""))
        else:
            rows.append((version, ", ".join(pythons), "yes", "yes", "a part" if version in smoke else ""))
    rows.sort(key=by_version)
    return table(("Airflow", "Python", "Unit tests", "Whole DAGs", "DAGs before each merge"), rows)


def by_version(row: tuple[str, ...]) -> list[int]:
    """Return what rows are sorted by."""
    return [int(part) for part in row[0].split(".")]


def smoke_versions() -> set[str]:
    """Return the versions whose system tests run before each merge, as the Makefile has them."""
    return {version for found in SMOKE.findall((ROOT / "Makefile").read_text()) for version in found.split()}


def lowest_airflow() -> str:
    """Return the lower bound of Airflow in ``pyproject.toml``."""
    found = re.search(r'"apache-airflow>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert found is not None  # noqa: S101 - a mistake of ours
    return found[1]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in reStructuredText."""
    lines = [".. list-table::", "    :header-rows: 1", ""]
    for row in (head, *rows):
        lines += [f"    {'* -' if number == 0 else '  -'} {cell}".rstrip() for number, cell in enumerate(row)]
    return "\n".join([*lines, ""])


def directive(make: Callable[[], str]) -> type[Directive]:
    """Make a directive that stands for what a function returns."""

    class Generated(Directive):
        def run(self) -> list[nodes.Node]:
            container = nodes.Element()
            lines = StringList(make().splitlines(), source=Path(__file__).name)
            self.state.nested_parse(lines, self.content_offset, container)
            return container.children

    return Generated


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the directives ``provider-configuration`` and ``tested-versions``."""
    app.add_directive("provider-configuration", directive(configuration))
    app.add_directive("tested-versions", directive(compatibility))
    return {"parallel_read_safe": True}
