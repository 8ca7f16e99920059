# SPDX-License-Identifier: Apache-2.0
"""What was measured on each version of Airflow, kept in files from one run of the tests to the next."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from system_tests.hazards import parse_version
from system_tests.support.outcomes import Shortcoming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from system_tests.support.outcomes import Outcome

FOLDER = Path(__file__).resolve().parent.parent.parent / "build" / "system-tests"


@dataclass(frozen=True)
class Result:
    """What became of a hazard in one run, without its log."""

    seconds: float
    shortcomings: list[Shortcoming]


@dataclass
class Results:
    """
    What was measured on one version of Airflow.

    :param version: Airflow's
    :param python: Python's
    :param runs: by flavour, for each run the results by the hazards' names
    """

    version: str
    python: str = platform.python_version()
    runs: dict[str, list[dict[str, Result]]] = field(default_factory=dict)

    @classmethod
    def load_all(cls, folder: Path = FOLDER) -> dict[str, Results]:
        """
        Read what was measured on all versions.

        :param folder: where it was kept
        :return: by version, ascending
        """
        found = [cls._load(path) for path in folder.glob("*.json")]
        return {results.version: results for results in sorted(found, key=lambda each: parse_version(each.version))}

    @classmethod
    def _load(cls, path: Path) -> Results:
        kept = json.loads(path.read_text())
        runs = {
            flavour: [{name: _read(result) for name, result in run.items()} for run in kept_runs]
            for flavour, kept_runs in kept["runs"].items()
        }
        return cls(kept["version"], kept["python"], runs)

    def add(self, flavour: str, outcomes: Mapping[str, Outcome]) -> None:
        """
        Add a run.

        :param flavour: the decorator
        :param outcomes: what became of each hazard, by name
        """
        results = {name: Result(outcome.seconds, outcome.shortcomings) for name, outcome in outcomes.items()}
        self.runs.setdefault(flavour, []).append(results)

    def save(self, folder: Path = FOLDER) -> None:
        """
        Keep what was measured, and of flavours that were not run this time what was measured before.

        :param folder: where
        """
        path = folder / f"{self.version}.json"
        before = self._load(path).runs if path.exists() else {}
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(replace(self, runs=before | self.runs)), indent=1))


def _read(result: Mapping[str, object]) -> Result:
    shortcomings = result["shortcomings"]
    assert isinstance(shortcomings, list)
    return Result(float(str(result["seconds"])), [Shortcoming(**each) for each in shortcomings])
