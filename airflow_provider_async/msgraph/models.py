# SPDX-License-Identifier: Apache-2.0
"""Models of msgraph-sdk, made of decoded JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from kiota_abstractions.serialization import Parsable

    from airflow_provider_async.core.values import JSON

__all__ = ["model_reader", "rows_reader"]

T = TypeVar("T", bound="Parsable")


def model_reader(model: type[T]) -> Callable[[JSON], T]:
    """
    Return what makes models of decoded JSON.

    :param model: of msgraph-sdk, such as ``User``; what ``@odata.type`` names may be one derived from it.
    """
    from kiota_serialization_json.json_parse_node import JsonParseNode

    if not hasattr(model, "create_from_discriminator_value"):
        raise TypeError(f"as_model must be a model of msgraph-sdk, such as User, not {model!r}")

    def read(value: JSON) -> T:
        # A model is its own factory, with a static method that kiota types as one of an instance.
        return cast("T", JsonParseNode(value).get_object_value(model))  # type: ignore[arg-type]

    return read


def rows_reader(model: type[T]) -> Callable[[JSON], list[T]]:
    """Return what makes models of a page's rows."""
    from airflow_provider_async.http.rows import rows_at

    read = model_reader(model)

    def read_rows(body: JSON) -> list[T]:
        return [read(row) for row in rows_at(body, "value")]

    read_rows.__qualname__ = f"rows of {model.__qualname__}"
    return read_rows
