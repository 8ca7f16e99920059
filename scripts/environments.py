# SPDX-License-Identifier: Apache-2.0
"""
Environments with each supported version of Airflow, and test runs in them.

Started by the Makefile with the interpreter of ``.venv``, whose uv it uses; it needs the standard library alone.

* ``environments.py test`` runs the tests on every version of Airflow with every Python that it allows.
* ``environments.py system-test`` runs the system tests, on one Python per version of Airflow.

Versions may be named (``test 3.0.6 lowest``); what follows ``--`` goes to pytest.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venvs"


class NotInstalled(Exception):
    """A program is not installed here; the message names it."""


@dataclass(frozen=True)
class Release:
    """
    A version of Airflow that is tested.

    :param requirement: what is installed beside this package
    :param resolved_on: nothing published later is installed, so that an old Airflow gets the packages of its day
    :param pythons: the versions of Python to test it with, the first that is installed for system tests
    :param resolution: uv's strategy; ``lowest-direct`` installs the lower bounds of pyproject.toml
    :param groups: dependency groups of pyproject.toml that are installed as well
    """

    requirement: str
    resolved_on: str | None = None
    pythons: tuple[str, ...] = ("3.12", "3.11", "3.13")
    resolution: str = "highest"
    groups: tuple[str, ...] = ()

    def install(self, interpreter: Path, *what: str) -> None:
        """
        Install this Airflow and more into an environment.

        :param interpreter: the environment's
        :param what: arguments of ``uv pip install``
        """
        command = [*pip_install(interpreter), "--resolution", self.resolution]
        if self.resolved_on is not None:
            command += ["--exclude-newer", self.resolved_on]
        groups = [argument for group in self.groups for argument in ("--group", group)]
        subprocess.run([*command, self.requirement, *what, *groups], cwd=ROOT, check=True)


RELEASES = {
    "3.0.6": Release("apache-airflow==3.0.6", "2025-09-20", pythons=("3.12", "3.11")),
    "3.1.8": Release("apache-airflow==3.1.8", "2026-03-20"),
    "3.2.2": Release("apache-airflow==3.2.2", "2026-06-06"),
    "3.3.2": Release("apache-airflow==3.3.2"),
    "lowest": Release("apache-airflow", "2025-09-20", pythons=("3.11",), resolution="lowest-direct"),
    "stack": Release("apache-airflow==3.3.2", groups=("stack",)),
}
VERSIONS = [version for version in RELEASES if version not in {"lowest", "stack"}]


def uv() -> str:
    """
    Find uv, beside this interpreter first.

    :raises NotInstalled: when there is none
    """
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    found = shutil.which("uv", path=path)
    if found is None:
        raise NotInstalled("uv is not installed: `make install` makes the environment that has it")
    return found


def pip_install(interpreter: Path) -> list[str]:
    """Begin a command that installs into an environment."""
    return [uv(), "pip", "install", "--quiet", "--python", str(interpreter)]


@functools.cache
def find_python(version: str) -> str:
    """
    Find an interpreter: the one that runs this, one on PATH or one of pyenv's.

    :param version: such as ``3.12``
    :raises NotInstalled: when there is none that starts
    """
    name = f"python{version}"
    folders = [Path(sys.base_prefix) / "bin"]
    folders += [Path(folder) for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders += [folder / "bin" for folder in (pyenv / "versions").glob(f"{version}.*")]
    for program in (folder / name for folder in folders):
        if not program.is_file():
            continue
        # pyenv puts a shim on PATH for each version, switched on or not: only a start tells.
        command = [str(program), "-c", "import sys; print(sys.executable)"]
        started = subprocess.run(command, capture_output=True, text=True, check=False)
        if started.returncode == 0:
            return started.stdout.strip()
    raise NotInstalled(f"{name} is not installed")


def find_python_for(version: str) -> str:
    """
    Find the first interpreter for a version of Airflow.

    :param version: a key of :data:`RELEASES`
    :raises NotInstalled: when there is none
    """
    for python in RELEASES[version].pythons:
        with contextlib.suppress(NotInstalled):
            return find_python(python)
    raise NotInstalled(f"no Python for Airflow {version} is installed: {', '.join(RELEASES[version].pythons)}")


def make_environment(version: str, python: str) -> Path:
    """
    Make an environment with a version of Airflow, this package (editable) and the test tools, or find it made.

    :param version: a key of :data:`RELEASES`
    :param python: such as ``3.12``
    :raises NotInstalled: when that Python is not installed
    :return: the environment's interpreter
    """
    release = RELEASES[version]
    base = find_python(python)
    folder = ENVIRONMENTS / f"airflow-{version}-python{python}"
    interpreter = folder / "bin" / "python"
    # The bridge is installed as a copy: an editable install does not follow its changes.
    contents = [ROOT / "pyproject.toml", ROOT / "airflow_provider_async" / "_airflow_bridge.py"]
    digest = hashlib.sha256(repr((release, base, [path.read_text() for path in contents])).encode()).hexdigest()
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != digest:
        print(f"making {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
        subprocess.run([uv(), "venv", "--quiet", "--clear", "--python", base, folder], check=True)
        release.install(interpreter, "--editable", ".[uvloop]")
        # The tests rely on the test tools of today, whatever the Airflow.
        subprocess.run([*pip_install(interpreter), "--group", "test"], cwd=ROOT, check=True)
        stamp.write_text(digest)
    return interpreter


def run_pytest(version: str, interpreter: Path, arguments: list[str]) -> tuple[bool, str]:
    """
    Run pytest in an environment.

    :return: whether it passed, and a line for the summary
    """
    started = time.monotonic()
    environment = os.environ | {"AIRFLOW_VERSION": version}
    command = [str(interpreter), "-m", "pytest", *arguments]
    code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
    result = "passed" if code == 0 else f"FAILED, pytest's exit code {code}"
    return code == 0, f"{result}, {time.monotonic() - started:.0f} s"


def run(versions: list[str], arguments: list[str], *, every_python: bool) -> bool:
    """
    Run pytest on versions of Airflow, and print a summary that names what was skipped.

    :param every_python: run on each Python that the release names and this machine has, or on the first of them
    :return: whether each version ran at least once and every run passed
    """
    summary: list[tuple[str, str, str]] = []
    good = True
    for version in versions:
        ran = False
        for python in RELEASES[version].pythons:
            if ran and not every_python:
                break
            try:
                interpreter = make_environment(version, python)
            except NotInstalled as error:
                summary.append((version, python, f"skipped: {error}"))
                continue
            except subprocess.CalledProcessError:
                summary.append((version, python, "FAILED, the environment could not be made"))
                good = False
                continue
            print(f"\n=== Airflow {version}, Python {python}", flush=True)
            passed, line = run_pytest(version, interpreter, arguments)
            summary.append((version, python, line))
            good &= passed
            ran = True
        good &= ran
    print()
    for version, python, line in summary:
        print(f"Airflow {version:8}Python {python:6}{line}")
    return good


def main(arguments: list[str]) -> int:
    """
    Do what the command line asks for.

    :return: an exit code
    """
    split = arguments.index("--") if "--" in arguments else len(arguments)
    own, for_pytest = arguments[:split], arguments[split + 1 :]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["test", "system-test"])
    parser.add_argument("versions", nargs="*", metavar="version", help=", ".join(RELEASES))
    options = parser.parse_args(own)
    versions = options.versions or VERSIONS
    unknown = [version for version in versions if version not in RELEASES]
    if unknown:
        parser.error(f"unknown version {', '.join(unknown)}: there are {', '.join(RELEASES)}")
    try:
        uv()
    except NotInstalled as error:
        print(error, file=sys.stderr)
        return 1
    if options.command == "test":
        return 0 if run(versions, for_pytest, every_python=True) else 1
    return 0 if run(versions, ["system_tests", *for_pytest], every_python=False) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
