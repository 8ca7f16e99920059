# SPDX-License-Identifier: Apache-2.0
"""The garbage collector leaves alone what a task has not made."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from airflow_provider_async.runtime.garbage import sparing_what_is_loaded
from airflow_provider_async.runtime.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Iterator


class Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


async def count_frozen() -> int:
    return gc.get_freeze_count()


def test_what_is_loaded_is_left_alone_while_a_task_runs_and_no_longer() -> None:
    runner: Runner[int] = Runner()
    assert runner.run(count_frozen) > 1000
    assert gc.get_freeze_count() == 0


def test_what_a_task_makes_is_collected() -> None:
    with sparing_what_is_loaded():
        gone = weakref.ref(Cycle())
        gc.collect()
        assert gone() is None


def test_it_is_undone_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), sparing_what_is_loaded():
        raise ZeroDivisionError
    assert gc.get_freeze_count() == 0


def test_what_somebody_else_has_spared_stays_so() -> None:
    gc.freeze()
    before = gc.get_freeze_count()
    with sparing_what_is_loaded():
        assert gc.get_freeze_count() == before
    assert gc.get_freeze_count() == before
