# SPDX-License-Identifier: Apache-2.0
"""The code in the documentation, and how it is run."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

#: A directive with its options, and everything below it that is indented further.
_RST_BLOCK = re.compile(
    r"^(?P<indent> *)\.\. (?:code-block|code|sourcecode)::[ ]*(?P<language>\S*)\n"
    r"(?P<body>(?:(?P=indent)[ ]+.*\n|[ ]*\n)+)",
    re.MULTILINE,
)
_OPTIONS = re.compile(r"\A(?:[ ]+:[\w-]+:.*\n)*(?:[ ]*\n)?")
_MARKDOWN_BLOCK = re.compile(r"^```(?P<language>\S*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A piece of code in a page."""

    page: str
    language: str
    text: str


def find(page: str) -> Path:
    """
    Find a page.

    :param page: its path below docs/, or below docs/guides/, without an ending; ``README.md`` is one, too.
    """
    candidates = [ROOT / page, DOCS / f"{page}.rst", DOCS / "guides" / f"{page}.rst"]
    return next(path for path in candidates if path.is_file())


def pages() -> list[Path]:
    """Return all pages that may have code in them."""
    return [path for path in sorted(DOCS.rglob("*.rst")) if "_build" not in path.parts] + sorted(ROOT.glob("*.md"))


def blocks(path: Path) -> list[Block]:
    """Return the code of a page, in order."""
    text = path.read_text()
    if path.suffix == ".md":
        return [Block(path.name, found["language"], found["body"]) for found in _MARKDOWN_BLOCK.finditer(text)]
    return [
        Block(path.stem, found["language"], textwrap.dedent(_OPTIONS.sub("", found["body"])).strip("\n") + "\n")
        for found in _RST_BLOCK.finditer(text)
    ]


def literal_blocks(path: Path) -> list[str]:
    """Return where a page has code without a directive that says what it is: ``::`` at the end of a line."""
    if path.suffix == ".md":
        return []
    return [
        line for line in path.read_text().splitlines() if line.endswith("::") and not line.lstrip().startswith("..")
    ]


def examples(page: str) -> Iterator[str]:
    """Give the Python of a page, piece by piece."""
    return (block.text for block in blocks(find(page)) if block.language == "python")


def execute(example: str, page: str, names: dict[str, Any]) -> None:
    """Run an example at the top level, as a module would be."""
    exec(compile(example, page, "exec"), names)


async def run(page: str, names: dict[str, Any]) -> list[Any]:
    """Run the examples of a page one after the other, each with the names of those before it."""
    results = []
    for example in examples(page):
        execute(example, page, names)
        results.append(await names["main"]())
    return results
