# SPDX-License-Identifier: Apache-2.0
"""Types of what callers give."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_provider_async.http.response import Response

__all__ = ["Check", "Params", "Scalar"]

Scalar: TypeAlias = "str | int | float | bool | None"

#: What is added to a query: ``None`` is left out, and ``True`` is ``true``.
Params: TypeAlias = "Mapping[str, Scalar] | Iterable[tuple[str, Scalar]]"

#: Given an answer of success, raises what is wrong with it.
Check: TypeAlias = "Callable[[Response], object]"
