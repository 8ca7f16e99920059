# SPDX-License-Identifier: Apache-2.0
"""What the garbage collector need not look at while a task runs."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["sparing_what_is_loaded"]


@contextmanager
def sparing_what_is_loaded() -> Iterator[None]:
    """
    Have the garbage collector leave alone, in this block, what exists by now.

    Airflow and what it loads are hundreds of thousands of objects, none of which is garbage. To go through them takes a
    tenth of a second, again and again where a task makes many objects: a third of what a page of JSON costs.
    """
    if gc.get_freeze_count():
        # Somebody has seen to that, and does not want it undone.
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
