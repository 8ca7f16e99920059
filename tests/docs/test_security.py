# SPDX-License-Identifier: Apache-2.0
"""The page about security names tests that there are."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, find

PAGE = find("security").read_text()
NAMED = sorted(set(re.findall(r"``(\w+/test_\w+\.py)::(test_\w+)``", PAGE)))


def test_each_test_is_named_in_full() -> None:
    assert len(NAMED) > 30
    assert len(re.findall(r"::test_\w+", PAGE)) == len(re.findall(r"``\w+/test_\w+\.py::test_\w+``", PAGE))


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)
