# SPDX-License-Identifier: Apache-2.0
"""No code in the documentation goes without a test: Python runs, commands exist, and logs are what is logged."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import DOCS, ROOT, Block, blocks, find, literal_blocks, pages

if TYPE_CHECKING:
    from pathlib import Path

#: What is checked here, or by the tests of its page.
LANGUAGES = {"python", "console", "ini", "none"}

TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def pages_that_tests_run() -> set[Path]:
    """Find the pages that a test takes all examples of: each call of ``run`` and ``examples`` names its page."""
    named = {"README.md", "index"}  # by a parametrised test
    for test in (ROOT / "tests" / "docs").glob("test_*.py"):
        for node in ast.walk(ast.parse(test.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"run", "examples"}:
                named |= {str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return {find(page) for page in named}


@pytest.mark.parametrize("path", pages(), ids=name_of)
def test_the_python_of_a_page_runs_in_a_test(path: Path) -> None:
    has_python = any(block.language == "python" for block in blocks(path))

    assert not has_python or path in pages_that_tests_run()


@pytest.mark.parametrize("path", pages(), ids=name_of)
def test_each_piece_of_code_says_what_it_is(path: Path) -> None:
    assert {block.language for block in blocks(path)} <= LANGUAGES
    assert literal_blocks(path) == []


def commands() -> list[str]:
    shown = [block for path in pages() for block in blocks(path) if block.language == "console"]
    typed = [line.removeprefix("$ ") for block in shown for line in block.text.splitlines() if line.startswith("$ ")]
    inline = re.findall(r"``?((?:python|pip|make) [^`]+)``?", "\n".join(path.read_text() for path in pages()))
    return sorted({*typed, *inline})


@pytest.mark.parametrize("command", commands())
def test_a_command_does_what_there_is(command: str) -> None:
    """A command is looked up; the demo, the tests and the benchmarks take minutes."""
    words = [word for word in shlex.split(command, comments=True) if "=" not in word or word.startswith("-")]
    match words:
        case ["make", *targets]:
            assert set(targets) <= TARGETS
        case ["python", "-m", module, *_]:
            assert find_spec(module) is not None
        case ["python", script, *_]:
            assert (ROOT / script).is_file()
        case ["pip", "install", what]:
            assert set(re.findall(r"\[(.*)\]", what)) <= EXTRAS
        case [program, *_]:
            assert program in {"airflow", "export", "git", "mkdir", "ssh-keyscan", "ssh-keygen", "cd"}


def test_an_example_without_a_test_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.rst"
    page.write_text(
        "* In a list:\n\n  .. code-block:: python\n      :caption: one\n\n      a = 1\n\n      b = 2\n\nText\n\n"
        ".. code-block:: console\n\n    $ make demo\n"
    )

    assert blocks(page) == [Block("page", "python", "a = 1\n\nb = 2\n"), Block("page", "console", "$ make demo\n")]
    assert page not in pages_that_tests_run()


def test_every_page_is_looked_at() -> None:
    assert {DOCS / "index.rst", DOCS / "guides" / "sftp.rst", ROOT / "README.md"} <= set(pages())
