# SPDX-License-Identifier: Apache-2.0
"""
The table of hazards by version of Airflow, made of what the system tests measured last on each.

``python -m system_tests.hazard_table`` prints a summary; with ``--write`` it also writes the table that the
documentation includes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from system_tests.hazards import CORE, HAZARDS, OURS, Hazard
from system_tests.support.airflow import ROOT
from system_tests.support.results import FOLDER, Results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from system_tests.support.results import Result

INCLUDED = ROOT / "docs" / "guides" / "hazards.rst.inc"
DECORATORS = {CORE: "``@task``", OURS: "``@task.async_python``"}
GOOD = "✓"
ABSENT = "n/a"


@dataclass(frozen=True)
class Column:
    """
    What was measured with one decorator on one version of Airflow.

    :param flavour: the decorator
    :param version: Airflow's
    :param python: Python's
    :param runs: for each run the results by the hazards' names
    """

    flavour: str
    version: str
    python: str
    runs: list[dict[str, Result]]

    def results(self, hazard: Hazard) -> list[Result]:
        """
        Give what became of a hazard, a result for each run that it was part of.

        :param hazard: the hazard
        """
        return [run[hazard.name] for run in self.runs if hazard.name in run]

    def cell(self, hazard: Hazard) -> str:
        """
        Say in a word what became of a hazard.

        :param hazard: the hazard
        """
        results = self.results(hazard)
        if not results:
            return ABSENT
        bad = [result.shortcomings[0].short for result in results if result.shortcomings]
        if not bad:
            return GOOD
        ((worst, _),) = Counter(bad).most_common(1)
        return worst if len(bad) == len(results) else f"{worst} ({len(bad)} of {len(results)} runs)"

    def summary(self) -> str:
        """Count what fell short, in a sentence."""
        names = {name for run in self.runs for name in run if name in HAZARDS}
        bad = sorted(name for name in names if self.cell(HAZARDS[name]) != GOOD)
        seconds = statistics.median(result.seconds for run in self.runs for result in run.values())
        return (
            f"{DECORATORS[self.flavour]} on Airflow {self.version} (Python {self.python}), runs: {len(self.runs)}: "
            f"{len(bad)} of {len(names)} fell short; the median task took {seconds:.1f} s."
        )


def columns() -> list[Column]:
    """Read what was measured, core's decorator first, older versions first."""
    return [
        Column(flavour, results.version, results.python, results.runs[flavour])
        for flavour in (CORE, OURS)
        for results in Results.load_all().values()
        if flavour in results.runs
    ]


def rst(measured: list[Column]) -> Iterator[str]:
    """
    Write the tables, one for each group of hazards.

    :param measured: the columns
    :return: lines
    """
    yield ".. Written by `python -m system_tests.hazard_table --write`."
    yield ""
    for column in measured:
        yield f"* {column.summary()}"
    known = [hazard for hazard in HAZARDS.values() if any(column.results(hazard) for column in measured)]
    for group, hazards in groupby(known, key=lambda hazard: hazard.group):
        yield from ["", f".. list-table:: {group}", "   :header-rows: 1"]
        yield f"   :widths: 40 {' '.join(['10'] * len(measured))}"
        yield ""
        yield "   * - What happens"
        for column in measured:
            yield f"     - {DECORATORS[column.flavour]} {column.version}"
        for hazard in hazards:
            yield f"   * - {hazard.title}"
            for column in measured:
                yield f"     - {column.cell(hazard)}"


def main(arguments: list[str]) -> int:
    """
    Do what the command line asks for.

    :param arguments: those of the command line
    :return: an exit code
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {INCLUDED.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    measured = columns()
    if not measured:
        sys.stderr.write(f"Nothing has been measured: {FOLDER.relative_to(ROOT)} is empty.\n")
        return 1
    for column in measured:
        cells = {hazard.name: column.cell(hazard) for hazard in HAZARDS.values()}
        bad = [f"    {name}: {cell}" for name, cell in cells.items() if cell not in {GOOD, ABSENT}]
        sys.stdout.write("\n".join([column.summary(), *bad, ""]))
    if options.write:
        INCLUDED.parent.mkdir(exist_ok=True)
        INCLUDED.write_text("\n".join([*rst(measured), ""]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
