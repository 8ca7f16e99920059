# SPDX-License-Identifier: Apache-2.0
"""``python -m airflow_provider_async.example_dags.demo``; an old Python, too, has to understand this file."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_async.example_dags.demo.scenario import Options

__all__ = ["find_obstacle", "main"]

_OLDEST_PYTHON = (3, 11)
_DISTRIBUTIONS = ("apache-airflow", "apache-airflow-providers-async", "apache-airflow-providers-sftp", "asyncssh")
_LAST_PORT = 65535


def main() -> int:
    """
    Do what the command line says.

    :return: the exit status.
    """
    obstacle = find_obstacle()
    if obstacle is not None:
        print(f"demo: {obstacle}", file=sys.stderr)  # noqa: T201 - the demo's output
        return 1
    from airflow_provider_async.example_dags.demo.run import run
    from airflow_provider_async.example_dags.demo.scenario import Options

    arguments = _parser(Options()).parse_args()
    options = Options(
        port=arguments.port,
        files=arguments.files,
        sample=arguments.sample,
        kept_sample=arguments.kept_sample,
    )
    return run(options, verbose=arguments.verbose)


def find_obstacle() -> str | None:
    """
    Tell why the demo cannot run here.

    :return: a sentence for the user, or ``None``.
    """
    if sys.version_info < _OLDEST_PYTHON:
        return "Python {}.{} or newer is needed, this is {}.{}: choose another with `make PYTHON=... demo`.".format(
            *_OLDEST_PYTHON, *sys.version_info[:2]
        )
    from importlib.metadata import PackageNotFoundError, version

    for distribution in _DISTRIBUTIONS:
        try:
            version(distribution)
        except PackageNotFoundError:
            return (
                f"{distribution} is not installed for this Python: `make demo` installs all that is needed into .venv."
            )
    return None


def _parser(defaults: Options) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="demo",
        description="Load files from an SFTP server of the demo's own into a database: an example DAG, run by Airflow.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--port", type=_port, default=defaults.port, help="the server's; 0 for a free one")
    for option, count, explanation in (
        ("--files", defaults.files, "how many there are"),
        ("--sample", defaults.sample, "how many of them SFTPHook loads"),
        ("--kept-sample", defaults.kept_sample, "how many of them SFTPHook loads while it keeps its connection"),
    ):
        parser.add_argument(option, type=_count, default=count, metavar="N", help=explanation)
    parser.add_argument("--verbose", action="store_true", help="show Airflow's log")
    return parser


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= _LAST_PORT:
        raise ValueError
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    try:
        status = main()
    except KeyboardInterrupt:
        # Before anything was started, or after everything has ended.
        status = 130
    sys.exit(status)
